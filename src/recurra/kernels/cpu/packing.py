"""The order in which kernels see things: a batch packed by time, and weights as the inner loops read them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra.kernels.cpu import native
from recurra.kernels.cpu.memory import empty_whole

__all__ = ["LANES", "Order", "blocked", "columns", "depth", "forward_stage", "order_of", "padded"]

LANES = 16  # floats in a vector, as in math.h


@dataclass(frozen=True)
class Order:
    """A batch packed by time: step t has the rows that are still alive, together, longest rows first."""

    batch: int
    steps: int  # of the longest row
    total: int  # valid steps of all rows
    offsets: Tensor  # (steps + 1,): where the rows of a step begin
    index: Tensor  # (total,): the row of x (B*T, F) for each packed row
    rows: Tensor  # (B,): the caller's row for each of ours


def order_of(batch: int, time: int, lengths: Tensor | None, backwards: bool) -> Order:
    """The packed order of a batch ``(B, T)``; ``backwards`` reads each row from its last valid step."""
    return _whole(batch, time, backwards) if lengths is None else _ragged(time, lengths, backwards)


@lru_cache(maxsize=64)
def _whole(batch: int, time: int, backwards: bool) -> Order:
    steps, rows = torch.arange(time), torch.arange(batch)
    place = time - 1 - steps if backwards else steps
    index = (place[:, None] + rows * time).flatten()
    return Order(batch, time, batch * time, torch.arange(time + 1) * batch, index, rows)


def _ragged(time: int, lengths: Tensor, backwards: bool) -> Order:
    lengths, rows = lengths.sort(descending=True, stable=True)
    steps = torch.arange(int(lengths[0]))[:, None]
    alive = steps < lengths
    place = rows * time + (lengths - 1 - steps if backwards else steps)
    offsets = pad(alive.sum(1).cumsum(0), (1, 0))
    return Order(len(rows), len(steps), int(offsets[-1]), offsets, place[alive], rows)


def padded(values: Tensor, hidden: int) -> Tensor:
    """``(..., n * H)`` or ``(..., H)`` with each H filled up by zeros to a whole number of vectors, flat again."""
    fill = -hidden % LANES
    if not fill:
        return values.contiguous()
    return pad(values.unflatten(-1, (-1, hidden)), (0, fill)).flatten(-2)


def forward_stage(U: Tensor, hidden: int) -> Tensor:
    """U ``(G*H, H)`` for h U: all gates of a block of units side by side, of a single gate two blocks."""
    gates = U.shape[0] // hidden
    return columns(U, hidden, max(gates, 2))


def columns(weights: Tensor, hidden: int, width: int = 2) -> Tensor:
    """``(G*H, n)`` for a (.., n) times its transpose: ``(vectors / width, n, width, 16)``, vectors (blocks, G)."""
    rows, size = weights.shape
    gates, vectors = rows // hidden, rows // hidden * -(-hidden // LANES)
    out = empty_whole(-(-vectors // width), size, width, LANES)
    native.products("pack_columns")(
        gates=gates, hidden=hidden, columns=size, width=width, to=out, **{"from": weights}
    )
    return out


def depth(weights: Tensor, hidden: int) -> Tensor:
    """``(G*H, n)`` for a (.., blocks, G, 16) times it: ``(n / 32, blocks * G * 16, 32)``."""
    rows, size = weights.shape
    gates, deep = rows // hidden, rows // hidden * -(-hidden // LANES) * LANES
    out = empty_whole(-(-size // (2 * LANES)), deep, 2 * LANES)
    native.products("pack_depth")(gates=gates, hidden=hidden, columns=size, width=2, to=out, **{"from": weights})
    return out


def blocked(values: Tensor, hidden: int) -> Tensor:
    """``(G*H,)`` as ``(blocks, G, 16)``, flat."""
    if values.shape[0] == hidden:  # one gate
        return padded(values, hidden)
    return padded(values, hidden).view(values.shape[0] // hidden, -1, LANES).transpose(0, 1).flatten()
