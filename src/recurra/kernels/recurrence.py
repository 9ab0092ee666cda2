"""The gated loop over time: its definition, and the face that its variants share (`recurra.kernels` names them).

For t = 1 .. T, with the gates of a cell named by letters such as r, z, n:

    x.r = (W x_t + b)_r          u.r = (U (m * h))_r          all gates but the late ones
                                 u.n = (U (m * inner(x, u, s, p)))_n          late gates, a second stage
    s   = equation(x, u, s, p)
    s   = k_t * s_before + (1 - k_t) * s

``m`` is a dropout mask of the recurrent product, the same at every step (Gal and Ghahramani 2016), ``k_t`` the
share of the old state that zoneout keeps (Krueger et al. 2017). Past the end of a row the state stands still.
"""

from collections import namedtuple
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.dispatch import Op

__all__ = [
    "Call",
    "Cell",
    "Pair",
    "Weights",
    "advance",
    "equated",
    "forwards",
    "keep_some",
    "multiply",
    "named",
    "project",
    "recurrence",
    "recurrences",
    "split",
    "unroll",
]


class Cell(Protocol):
    """What the loop needs to know of a cell."""

    x_gates: tuple[str, ...]  # rows of W
    u_gates: tuple[str, ...]  # rows of U, the late gates last
    late: tuple[str, ...]  # gates whose U multiplies what `inner` gives
    state: tuple[str, ...]
    vectors: tuple[str, ...]
    normalized: bool

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        """The elementwise part: gates of W x + b and of U h, the state and the vectors give the new State."""

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor | tuple[Tensor, ...]:
        """What U multiplies for the late gates, one for all of them or one for each; u has the early gates."""


@dataclass(frozen=True)
class Weights:
    """Parameters of a cell of H units: products W of X gates and U of G gates, bias b, elementwise vectors."""

    W: Tensor  # (X*H, F)
    U: Tensor  # (G*H, H)
    b: Tensor  # (X*H,)
    vectors: tuple[Tensor, ...]  # (H,) each
    gains: tuple[Tensor, ...] = ()  # (X*H,) and (G*H,): scales of normalised W x and U h, or none


@dataclass(frozen=True)
class Call:
    """One run of the loop over a batch; the value that every variant takes.

    Padding in x may hold anything and is never read; padding in y is zero.
    """

    cell: Cell
    x: Tensor  # (B, T, F)
    state: Any  # the cell's State of (B, H)
    weights: Weights
    lengths: Tensor | None = None  # (B,) on the CPU
    dropout: Tensor | None = None  # (B, H) multiplies h before U
    keep: Any = None  # State of booleans (B, T, H), or of shares (1, 1, 1): what of the old state is kept
    backwards: bool = False  # read each row from its last valid step to its first; y stays where its x is

    def __str__(self) -> str:
        batch, time, features = self.x.shape
        ragged_ = (", ragged" if self.lengths is not None else "") + (", backwards" if self.backwards else "")
        hidden = self.weights.U.shape[1]
        return f"{type(self.cell).__name__}({features} -> {hidden}) on B={batch}, T={time}{ragged_}"


@cache
def _names(fields: tuple[str, ...]) -> Any:
    return namedtuple("Named", fields)


def named(fields: tuple[str, ...], values: Any) -> Any:
    """Values under names: ``named(("r", "z"), (a, b)).r is a``."""
    return _names(fields)(*values)


def _normalize(product: Tensor, hidden: int, gain: Tensor) -> Tensor:
    """Layer normalisation of each gate's units by itself (Ba et al. 2016), without a shift: b does that."""
    shaped = product.unflatten(-1, (-1, hidden))
    return layer_norm(shaped, (hidden,)).flatten(-2) * gain


def project(cell: Cell, x: Tensor, weights: Weights) -> Tensor:
    """W x + b for one step ``(B, F)`` or all steps at once ``(B, T, F)``: the part that is not serial."""
    if not cell.normalized:
        return linear(x, weights.W, weights.b)
    return _normalize(linear(x, weights.W), weights.U.shape[1], weights.gains[0]) + weights.b


def multiply(cell: Cell, x: Any, state: Any, weights: Weights, dropout: Tensor | None) -> Any:
    """The products of one step, the serial part: u as named gates ``(B, H)``, in one stage or in two."""
    early = len(cell.u_gates) - len(cell.late)
    u = _product(cell, state[0], weights, cell.u_gates[:early], 0, dropout)
    if not cell.late:
        return u
    factors = cell.inner(x, u, state, named(cell.vectors, weights.vectors))
    if isinstance(factors, Tensor):
        return named(cell.u_gates, (*u, *_product(cell, factors, weights, cell.late, early, dropout)))
    pairs = zip(cell.late, factors, strict=True)
    each = [_product(cell, f, weights, (name,), early + i, dropout)[0] for i, (name, f) in enumerate(pairs)]
    return named(cell.u_gates, (*u, *each))


def _product(
    cell: Cell, factor: Tensor, weights: Weights, gates: tuple[str, ...], begin: int, dropout: Tensor | None
) -> Any:
    """``factor (B, H)`` times the U of some neighbouring gates, the first of which is number ``begin``."""
    hidden = weights.U.shape[1]
    rows = slice(begin * hidden, (begin + len(gates)) * hidden)
    product = linear(factor if dropout is None else factor * dropout, weights.U[rows])
    return split(gates, _normalize(product, hidden, weights.gains[1][rows]) if cell.normalized else product)


def split(names: tuple[str, ...], product: Tensor, axis: int = -1) -> Any:
    """``(B, G*H)`` as named gates ``(B, H)`` each, views of the same memory; ``axis`` is where gates lie."""
    return named(names, product.chunk(len(names), axis) if names else ())


def advance(cell: Cell, projected: Tensor, state: Any, weights: Weights, dropout: Tensor | None) -> Any:
    """One time step: ``projected (B, X*H)`` and the state before give the state after."""
    x = split(cell.x_gates, projected)
    u = multiply(cell, x, state, weights, dropout)
    return equated(cell, cell.equation(x, u, state, named(cell.vectors, weights.vectors)))


def equated(cell: Cell, after: Any) -> Any:
    """What an equation gave as the cell's State, h first. Raises ConfigError where a name is missing."""
    try:
        return tree.State(**{name: getattr(after, name) for name in cell.state})  # in the cell's order, h first
    except AttributeError as error:
        raise ConfigError(
            f"{type(cell).__name__}.equation: expected State({', '.join(f'{n}=...' for n in cell.state)}), "
            f"got {type(after).__name__}; {error}"
        ) from error


def keep_some(keep: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Zoneout: ``keep`` is true where a unit keeps its value, in evaluation the share of it that is kept."""
    return torch.where(keep, before, after) if keep.dtype == torch.bool else keep * before + (1 - keep) * after


def forwards(call: Call) -> Call:
    """The same call on reversed rows, to be read from the beginning."""

    def turned(values: Tensor) -> Tensor:
        return values if values.shape[1] == 1 else ragged.reverse(values, call.lengths)

    keep = None if call.keep is None else tree.map(turned, call.keep)
    return replace(call, x=ragged.reverse(call.x, call.lengths), keep=keep, backwards=False)


def define(call: Call) -> tuple[Tensor, Any]:
    """The definition: y ``(B, T, H)`` and the last state."""
    if call.backwards:
        y, state = define(forwards(call))
        return ragged.reverse(y, call.lengths), state
    projected = project(call.cell, ragged.blank(call.x, call.lengths), call.weights)
    if call.x.shape[1] == 0:
        return projected.new_zeros(len(projected), 0, call.weights.U.shape[1]) + projected.sum(), call.state
    y, state = unroll(call, projected)
    return ragged.blank(y, call.lengths), state


def unroll(call: Call, projected: Tensor) -> tuple[Tensor, Any]:
    """The loop alone: ``projected (B, T, X*H)`` is W x + b of all steps, and call.x is not read."""
    state, time = call.state, projected.shape[1]
    alive, outputs = None, []
    if call.lengths is not None:
        alive = ragged.mask(call.lengths, time, projected.device).unbind(1)
    for t in range(time):
        after = advance(call.cell, projected[:, t], state, call.weights, call.dropout)
        if call.keep is not None:
            now = tree.map(lambda k, t=t: k[:, min(t, k.shape[1] - 1)], call.keep)
            after = tree.map(keep_some, now, state, after)
        state = after if alive is None else tree.where(alive[t], after, state)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def _could_be_fast(call: Call) -> bool:
    """Torch knows the equation, or it is on a processor, where equations are compiled, and not in float64."""
    known = "torch_function" in vars(type(call.cell))
    return known or (call.x.device.type == "cpu" and call.x.dtype != torch.float64)


recurrence: Op[Call] = Op("recurrence", define, hopes=_could_be_fast)


@dataclass(frozen=True)
class Pair:
    """Two loops over the same batch, one of them from its end."""

    ahead: Call
    back: Call

    def __str__(self) -> str:
        return f"{self.ahead} and {self.back}"


def _one_by_one(calls: Pair) -> Any:
    return recurrence(calls.ahead), recurrence(calls.back)


# Two loops over the same batch. One after the other is the definition, and nothing to be warned of: each of them
# chooses its own variant, and warns by itself.
recurrences: Op[Pair] = Op("recurrences", _one_by_one, hopes=lambda calls: False)
