"""One elementwise equation on maps: the part of a step that stands between its convolutions.

    after = equation(x, u, s)               at each place and channel by itself

For layers whose step is more than two convolutions and one equation, such as PredRNN. `recurra.kernels` names the
variants.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.kernels.dispatch import Op
from recurra.kernels.recurrence import equated, named

__all__ = ["Elementwise", "PointCall", "pointwise"]


class Elementwise:
    """An equation with its names, as a cell of `recurra.kernels.recurrence` without products.

    A subclass names x_gates, u_gates and state, which are what the equation reads and gives, and writes `equation`.
    """

    x_gates: tuple[str, ...]
    u_gates: tuple[str, ...]
    state: tuple[str, ...]
    late: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    normalized: bool = False

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        """The elementwise part: ``x.*``, ``u.*`` and the state ``s.*`` give the new State."""
        raise TypeError(f"{type(self).__name__} must define equation(self, x, u, s, p)")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        """Nothing: there are no late gates."""
        raise TypeError(f"{type(self).__name__} has no late gates")


@dataclass(frozen=True)
class PointCall:
    """One equation on tensors of one shape ``(B, H, *N)``; the value that every variant takes."""

    cell: Elementwise
    x: tuple[Tensor, ...]  # in the order of cell.x_gates
    u: tuple[Tensor, ...]  # of cell.u_gates
    state: tuple[Tensor, ...]  # of cell.state

    def __str__(self) -> str:
        return f"{type(self.cell).__name__} on {tuple(self.x[0].shape)}"


def define(call: PointCall) -> Any:
    """The definition: the new state as a State."""
    cell, state = call.cell, tree.State(**dict(zip(call.cell.state, call.state, strict=True)))
    x, u = named(cell.x_gates, call.x), named(cell.u_gates, call.u)
    return equated(cell, cell.equation(x, u, state, named((), ())))


def _could_be_fast(call: PointCall) -> bool:
    """Where equations are compiled."""
    return call.x[0].device.type == "cpu" and call.x[0].dtype != torch.float64


pointwise: Op[PointCall] = Op("pointwise", define, hopes=_could_be_fast)
