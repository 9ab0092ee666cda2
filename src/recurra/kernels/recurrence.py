"""The gated loop over time: its definition, and the face that its variants share.

For t = 1 .. T, with the gates of a cell named by letters such as r, z, n:

    x.r = (W x_t + b)_r          u.r = (U (m * h))_r
    s   = equation(x, u, s, p)
    s   = k_t * s_before + (1 - k_t) * s

``m`` is a dropout mask of the recurrent product, the same at every step (Gal and Ghahramani 2016), ``k_t`` the
share of the old state that zoneout keeps (Krueger et al. 2017). Past the end of a row the state stands still.
"""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from recurra import lengths as ragged
from recurra import tree
from recurra.kernels.dispatch import Op

__all__ = [
    "Call",
    "Cell",
    "Weights",
    "advance",
    "keep_some",
    "multiply",
    "named",
    "project",
    "recurrence",
    "split",
]


class Cell(Protocol):
    """What the loop needs to know of a cell."""

    gates: tuple[str, ...]
    state: tuple[str, ...]
    vectors: tuple[str, ...]
    normalized: bool

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        """The elementwise part: gates of W x + b and of U h, the state and the vectors give the new State."""


@dataclass(frozen=True)
class Weights:
    """Parameters of a cell with G gates of H units: products W and U, bias b, elementwise vectors."""

    W: Tensor  # (G*H, F)
    U: Tensor  # (G*H, H)
    b: Tensor  # (G*H,)
    vectors: tuple[Tensor, ...]  # (H,) each
    gains: tuple[Tensor, ...] = ()  # (G*H,) twice: scales of normalised W x and U h, or none


@dataclass(frozen=True)
class Call:
    """One run of the loop over a batch; the value that every variant takes."""

    cell: Cell
    x: Tensor  # (B, T, F), zero in the padding
    state: Any  # the cell's State of (B, H)
    weights: Weights
    lengths: Tensor | None = None  # (B,) on the CPU
    dropout: Tensor | None = None  # (B, H) multiplies h before U
    keep: Any = None  # State of (B, T, H) or (1, 1, 1): the share of the old state kept

    def __str__(self) -> str:
        batch, time, features = self.x.shape
        ragged_ = ", ragged" if self.lengths is not None else ""
        hidden = self.weights.U.shape[1]
        return f"{type(self.cell).__name__}({features} -> {hidden}) on B={batch}, T={time}{ragged_}"


@cache
def _names(fields: tuple[str, ...]) -> Any:
    return namedtuple("Named", fields)


def named(fields: tuple[str, ...], values: Any) -> Any:
    """Values under names: ``named(("r", "z"), (a, b)).r is a``."""
    return _names(fields)(*values)


def _normalize(product: Tensor, gates: int, gain: Tensor) -> Tensor:
    """Layer normalisation of each gate's units by itself (Ba et al. 2016), without a shift: b does that."""
    shaped = product.unflatten(-1, (gates, -1))
    return layer_norm(shaped, shaped.shape[-1:]).flatten(-2) * gain


def project(cell: Cell, x: Tensor, weights: Weights) -> Tensor:
    """W x + b for one step ``(B, F)`` or all steps at once ``(B, T, F)``: the part that is not serial."""
    if not cell.normalized:
        return linear(x, weights.W, weights.b)
    return _normalize(linear(x, weights.W), len(cell.gates), weights.gains[0]) + weights.b


def multiply(cell: Cell, h: Tensor, weights: Weights) -> Tensor:
    """U h for one step ``(B, H)`` -> ``(B, G*H)``: the serial part."""
    product = linear(h, weights.U)
    return _normalize(product, len(cell.gates), weights.gains[1]) if cell.normalized else product


def split(cell: Cell, product: Tensor) -> Any:
    """``(B, G*H)`` as named gates ``(B, H)`` each, views of the same memory."""
    return named(cell.gates, product.chunk(len(cell.gates), -1))


def advance(cell: Cell, projected: Tensor, state: Any, weights: Weights, dropout: Tensor | None) -> Any:
    """One time step: ``projected (B, G*H)`` and the state before give the state after."""
    h = state[0] if dropout is None else state[0] * dropout
    x, u = split(cell, projected), split(cell, multiply(cell, h, weights))
    return cell.equation(x, u, state, named(cell.vectors, weights.vectors))


def keep_some(keep: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Zoneout: ``keep`` is 1 where a unit keeps its value, 0 where it moves on, a share in evaluation."""
    return keep * before + (1 - keep) * after


def define(call: Call, watch: Callable[[Any], None] | None = None) -> tuple[Tensor, Any]:
    """The definition: y ``(B, T, H)`` and the last state. ``watch`` is given the state after every step."""
    x, state = call.x, call.state
    time = x.shape[1]
    if time == 0:
        return x.new_zeros(len(x), 0, call.weights.U.shape[1]), state
    projected = project(call.cell, x, call.weights).unbind(1)
    alive = None
    if call.lengths is not None:
        alive = ragged.mask(call.lengths, time, x.device).unbind(1)
    outputs = []
    for t in range(time):
        after = advance(call.cell, projected[t], state, call.weights, call.dropout)
        if call.keep is not None:
            now = tree.map(lambda k, t=t: k[:, min(t, k.shape[1] - 1)], call.keep)
            after = tree.map(keep_some, now, state, after)
        state = after if alive is None else tree.where(alive[t], after, state)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def _torch_knows(call: Call) -> bool:
    """Whether the cell's own class, not one that it was derived from, says which function of torch it is."""
    return "torch_function" in vars(type(call.cell))


recurrence: Op[Call] = Op("recurrence", define, hopes=_torch_knows)


def _torch_accepts(call: Call) -> str:
    """Torch's functions know three equations, and nothing that changes them."""
    if not _torch_knows(call):
        return "torch has no function for this equation"
    if call.dropout is not None:
        return "torch's functions have no dropout of the recurrent product"
    if call.keep is not None:
        return "torch's functions have no zoneout"
    if 0 in call.x.shape or call.weights.U.shape[1] == 0:
        return "torch's functions do not take empty tensors"
    return ""


@recurrence.variant("torch", _torch_accepts)
def run_torch(call: Call) -> tuple[Tensor, Any]:
    """Torch's own lstm, gru and rnn: oneDNN on the CPU, cuDNN on CUDA.

    Ragged rows are sorted by length and cut where half of them have ended, so that the cost is at most twice
    the sum of the lengths; packing would run step by step instead.
    """
    if call.lengths is None:
        return _torch_segment(call, call.x, call.state, None)
    cuts = _cuts(call.lengths)
    if not cuts:
        return call.x.new_zeros(*call.x.shape[:2], call.weights.U.shape[1]), call.state
    if cuts == [call.x.shape[1]]:
        return _torch_segment(call, call.x, call.state, call.lengths)
    return _torch_sorted(call, call.lengths, cuts)


def _cuts(lengths: Tensor) -> list[int]:
    """Ends of the time segments: each ends where half of the rows that began it have ended."""
    remaining = lengths.sort().values
    cuts, begin = [], 0
    while len(remaining):
        end = int(remaining[(len(remaining) - 1) // 2])
        if end > begin:
            cuts.append(end)
            begin = end
        remaining = remaining[remaining > end]
    return cuts


def _torch_sorted(call: Call, lengths: Tensor, cuts: list[int]) -> tuple[Tensor, Any]:
    order = lengths.argsort(descending=True, stable=True)
    lengths, where = lengths[order], order.to(call.x.device)
    x, state = call.x[where], tree.rows(call.state, where)
    pieces, finished, begin = [], [], 0
    for end in cuts:
        alive = int((lengths > begin).sum())
        finished.append(tree.rows(state, slice(alive, None)))
        state = tree.rows(state, slice(0, alive))
        lengths = lengths[:alive]
        y, state = _torch_segment(call, x[:alive, begin:end], state, (lengths - begin).clamp(max=end - begin))
        pieces.append(torch.nn.functional.pad(y, (0, 0, 0, 0, 0, len(x) - alive)))
        begin = end
    rest = call.x.shape[1] - begin
    if rest:
        pieces.append(pieces[0].new_zeros(len(x), rest, call.weights.U.shape[1]))
    state = tree.map(lambda *parts: torch.cat(parts), state, *reversed(finished))
    back = where.argsort()
    return torch.cat(pieces, 1)[back], tree.rows(state, back)


def _torch_segment(call: Call, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
    weights, full = call.weights, lengths is None or bool((lengths == x.shape[1]).all())
    W = weights.W
    if not full and len(state) > 1:
        x, W = _holding(x, W, lengths, call.cell.gates.index("i"), call.cell.gates.index("f"))
    kind = call.cell.torch_function  # type: ignore[attr-defined]
    flat = [W, weights.U, weights.b, _recurrent_bias(call)]
    start = tuple(leaf.unsqueeze(0).contiguous() for leaf in state)
    function = getattr(torch, kind)
    grad = torch.is_grad_enabled()
    y, *last = function(x, start if len(start) > 1 else start[0], flat, True, 1, 0.0, grad, False, True)
    end = [leaf.squeeze(0) for leaf in last]
    if not full:
        end[0] = ragged.last(y, lengths, state[0])
    return y, type(state)(*end)


def _recurrent_bias(call: Call) -> Tensor:
    """Torch adds a second bias to U h; only the GRU's last gate has one that the first could not replace."""
    b = call.weights.b
    if not call.weights.vectors:
        return torch.zeros_like(b)
    (c,) = call.weights.vectors
    return torch.cat([b.new_zeros(len(b) - len(c)), c])


def _holding(x: Tensor, W: Tensor, lengths: Any, i: int, f: int) -> tuple[Tensor, Tensor]:
    """Make padding hold the cell state, so that its last value needs no packing.

    One more input is 1 in the padding. Its weight closes the input gate and opens the forget gate beyond the
    reach of any other term: sigmoid gives exactly 0 and 1, so c' = 1 c + 0 g = c, in gradients too.
    """
    hidden = len(W) // 4
    large = torch.finfo(W.dtype).max / 4 if W.dtype != torch.float16 else 1e4
    column = W.new_zeros(4, hidden)
    column[i], column[f] = -large, large
    padding = ~ragged.mask(lengths, x.shape[1], x.device)
    return torch.cat([x, padding[..., None].to(x.dtype)], -1), torch.cat([W, column.view(-1, 1)], 1)
