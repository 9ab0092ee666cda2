"""A scan whose coefficients come from gates: from x to y in one call, whatever computes it.

    gates = project(x)          a_t, b_t = coefficients(gates, vectors)
    h_t = a_t * h_{t-1} + b_t   y_t = readout(h_t, gates, vectors)

The definition computes the coefficients of all steps by torch, and leaves the rest to `recurra.kernels.scan`. Where
coefficients and readout are elementwise, the same layer is a gated cell without recurrent matrices, which the
compiled loop runs without writing a and b down at all.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra import tree
from recurra.kernels.cpu import fused
from recurra.kernels.dispatch import Op
from recurra.kernels.recurrence import Call, Cell, Weights
from recurra.kernels.scan import ScanCall, scan

__all__ = ["GatedScan", "ScanCell", "extend", "fits_loop", "gated_scan", "recent", "run_loop", "windows"]


class ScanCell(Cell, Protocol):
    """What the loop needs to know of a layer."""

    window: int  # time steps that the projection sees
    hidden_size: int

    def weights(self) -> Weights | str:
        """The parameters if the gates are one product W x + b, else why they are not."""

    def begin(self, state: Any) -> Tensor:
        """The first state (B, H) in the numbers that it is computed in."""

    def see(self, x: Tensor) -> tuple[Any, Any, Tensor, Tensor]:
        """Gates and vectors by name, a and b, of x (B, T + window - 1, F)."""

    def show(self, h: Tensor, gates: Any, vectors: Any) -> Tensor:
        """y (B, T, G) of all states h (B, T, H)."""

    def remember(self, last: Tensor, state: Any) -> dict[str, Tensor]:
        """The last state (B, H) as the layer's state has it, in the type of the state before."""


@dataclass(frozen=True)
class GatedScan:
    """One run of a layer over a batch. Padding in x may hold anything; padding in y is zero."""

    cell: ScanCell
    x: Tensor  # (B, T, F)
    state: Any  # h, and x (B, window - 1, F) where the window is wider than one step
    lengths: Tensor | None = None  # (B,) on the CPU

    def __str__(self) -> str:
        batch, time, features = self.x.shape
        ragged_ = ", ragged" if self.lengths is not None else ""
        return f"{type(self.cell).__name__}({features} -> {self.cell.hidden_size}) on B={batch}, T={time}{ragged_}"


def extend(x: Tensor, state: Any, window: int) -> Tensor:
    """x ``(B, T, F)`` behind the inputs before it: ``(B, T + window - 1, F)``."""
    return x if window == 1 else torch.cat([state.x.to(x.dtype), x], 1)


def windows(x: Tensor, window: int) -> Tensor:
    """All windows of neighbouring steps, the oldest first: ``(B, T + window - 1, F)`` to ``(B, T, window * F)``."""
    time = x.shape[1] - window + 1
    return x if window == 1 else torch.cat([x[:, i : i + time] for i in range(window)], -1)


def recent(extended: Tensor, keep: int, lengths: Tensor | None) -> Tensor:
    """The last ``keep`` valid inputs of each row, of inputs that begin with the ``keep`` ones before them."""
    if lengths is None:
        return extended[:, extended.shape[1] - keep :]
    place = lengths.to(extended.device)[:, None] + torch.arange(keep, device=extended.device)
    return extended.gather(1, place[..., None].expand(-1, -1, extended.shape[2]))


def _after(call: GatedScan, extended: Tensor, last: Tensor) -> Any:
    """The state after the last valid step."""
    values = call.cell.remember(last, call.state)
    if call.cell.window > 1:
        values["x"] = recent(extended, call.cell.window - 1, call.lengths).to(call.state.x.dtype)
    return tree.State(**values)


def define(call: GatedScan) -> tuple[Tensor, Any]:
    """Coefficients of all steps by torch, then a scan."""
    cell, lengths = call.cell, call.lengths
    extended = extend(ragged.blank(call.x, lengths), call.state, cell.window)
    gates, vectors, a, b = cell.see(extended)
    h, last = scan(ScanCall(a, b, cell.begin(call.state), lengths))
    y = cell.show(h, gates, vectors)
    y = y if y is h else ragged.blank(y, lengths)
    return y.to(call.x.dtype), _after(call, extended, last)


def _as_loop(call: GatedScan, weights: Weights) -> Call:
    """The same as a run of the gated loop, whose first state is what the layer puts out."""
    cell, first = call.cell, call.cell.begin(call.state)
    state = tree.State(**{name: first if name == "h" else torch.zeros_like(first) for name in cell.state})
    x = windows(extend(call.x, call.state, cell.window), cell.window)
    return Call(cell, x, state, weights, call.lengths)


def fits_loop(call: GatedScan) -> str:
    """Why the compiled loop cannot run a layer, or ""."""
    weights = call.cell.weights()
    return weights if isinstance(weights, str) else fused.accepts(_as_loop(call, weights))


def run_loop(call: GatedScan) -> tuple[Tensor, Any]:
    """From x to y in the compiled loop of gated cells, coefficients and readout included."""
    weights = call.cell.weights()
    assert isinstance(weights, Weights)  # as `fits_loop` found
    y, last = fused.run(_as_loop(call, weights))
    return y, _after(call, extend(call.x, call.state, call.cell.window), last.h)


# The scan inside warns by itself where it is slow.
gated_scan: Op[GatedScan] = Op("gated scan", define, hopes=lambda call: False)
