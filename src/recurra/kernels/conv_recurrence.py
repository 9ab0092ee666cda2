"""The gated loop over time whose products are convolutions: its definition (Shi et al. 2015).

For t = 1 .. T, with the gates of a cell named by letters such as r, z, n:

    x.r = (W * x_t + b)_r          u.r = (U * h)_r          * is a convolution in one or two dimensions
    s   = equation(x, u, s, p)                              elementwise, at each place by itself

Maps keep their size: what lies beyond an edge counts as zero. Past the end of a row the state stands still.
`recurra.kernels` names the variants.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, group_norm

from recurra import lengths as ragged
from recurra import tree
from recurra.kernels.dispatch import Op
from recurra.kernels.recurrence import Cell, Weights, equated, named, split

__all__ = [
    "ConvCall",
    "advance",
    "conv_recurrence",
    "convolve",
    "define",
    "multiply",
    "normalize",
    "project",
    "settled",
    "time_first",
]


@dataclass(frozen=True)
class ConvCall:
    """One run of the loop over a batch; the value that every variant takes.

    Padding in x may hold anything and is never read; padding in y is zero. N stands for the places of a map,
    ``(N,)`` or ``(M, N)``, and K for as many sizes of a kernel.
    """

    cell: Cell
    x: Tensor  # (B, T, C, *N)
    state: Any  # the cell's State of (B, H, *N)
    weights: Weights  # W (X*H, C, *K), U (G*H, H, *K), b (X*H,), vectors (H, ...) that fit (H, *N), gains
    lengths: Tensor | None = None  # (B,) on the CPU

    def __str__(self) -> str:
        (batch, time, channels, *space), hidden = self.x.shape, self.weights.U.shape[1]
        places = "x".join(map(str, space))
        rows = f"B={batch}, T={time}" + (", ragged" if self.lengths is not None else "")
        return f"{type(self.cell).__name__}({channels} -> {hidden} maps of {places}) on {rows}"


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x (B, C, *N)`` by ``weight (G, C, *K)`` with odd K gives ``(B, G, *N)``: zeros beyond the edges."""
    edges = [size // 2 for size in weight.shape[2:]]
    return (conv1d if weight.dim() == 3 else conv2d)(x, weight, bias, padding=edges)


def time_first(x: Tensor) -> Tensor:
    """``x (B, T, C, *N)`` as frames ``(T * B, C, *N)``, a step after the other, channels last in memory."""
    frames = x.transpose(0, 1).movedim(2, -1).contiguous().flatten(0, 1)
    return settled(frames)


def settled(frames: Tensor) -> Tensor:
    """Frames ``(n, *N, C)`` as maps ``(n, C, *N)`` on the same memory, with the strides of channels last.

    Of a single channel any layout is channels last, but torch chooses its convolution by strides, and on processors
    the one for channels first takes up to eighteen times as long there.
    """
    return frames.flatten().view(frames.shape).movedim(-1, 1)


def project(cell: Cell, x: Tensor, weights: Weights) -> Tensor:
    """W * x + b for frames ``(B, C, *N)`` of one step or of all: the part that is not serial."""
    if not cell.normalized:
        return convolve(x, weights.W, weights.b)
    return normalize(convolve(x, weights.W), len(cell.x_gates), weights.gains[0], weights.b)


def normalize(product: Tensor, gates: int, gain: Tensor, shift: Tensor | None = None) -> Tensor:
    """Layer normalisation of each gate by itself, over its maps and their places (Ba et al. 2016)."""
    return group_norm(product, gates, gain, shift)


def multiply(cell: Cell, state: Any, weights: Weights) -> Any:
    """U * h, the serial part, as named gates ``(B, H, *N)``."""
    product = convolve(state[0], weights.U)
    if cell.normalized:
        product = normalize(product, len(cell.u_gates), weights.gains[1])
    return split(cell.u_gates, product, 1)


def advance(cell: Cell, projected: Tensor, state: Any, weights: Weights) -> Any:
    """One time step: ``projected (B, X*H, *N)`` and the state before give the state after."""
    x, u = split(cell.x_gates, projected, 1), multiply(cell, state, weights)
    return equated(cell, cell.equation(x, u, state, named(cell.vectors, weights.vectors)))


def define(call: ConvCall) -> tuple[Tensor, Any]:
    """The definition: y ``(B, T, H, *N)`` and the last state."""
    (batch, time), state = call.x.shape[:2], call.state
    x = ragged.blank(call.x, call.lengths).flatten(0, 1)
    projected = project(call.cell, x, call.weights).unflatten(0, (batch, time))
    if time == 0:
        return state[0].new_zeros(batch, 0, *state[0].shape[1:]) + projected.sum(), state
    alive = None if call.lengths is None else ragged.mask(call.lengths, time, x.device).unbind(1)
    outputs = []
    for t in range(time):
        after = advance(call.cell, projected[:, t], state, call.weights)
        state = after if alive is None else tree.where(alive[t], after, state)
        outputs.append(state[0])
    return ragged.blank(torch.stack(outputs, 1), call.lengths).to(call.x.dtype), state


def _could_be_fast(call: ConvCall) -> bool:
    """Where equations are compiled."""
    return call.x.device.type == "cpu" and call.x.dtype == torch.float32


conv_recurrence: Op[ConvCall] = Op("convolutional recurrence", define, hopes=_could_be_fast)
