"""The cell whose single units can rest at two values (Vecoven et al. 2020)."""

from typing import Any

from torch import nn, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["BRC"]


class BRC(Gated):
    """Bistable recurrent cell (BRC; Vecoven, Ernst and Drion 2020): units without a recurrent matrix.

        a  = 1 + tanh(W_a x + w_a * h + b_a)        f = sigmoid(W_f x + w_f * h + b_f)
        h' = f * h + (1 - f) * tanh(W_n x + a * h + b_n)

    Where a is above 1 a unit has two stable values, and it holds one of them for ever. f is the paper's c; w_a
    and w_f begin at 1. Deviation: the bias b_n, which the authors' program does not have and which begins at zero.
    """

    gates = ("a", "f", "n")
    without_U = ("a", "f", "n")
    vectors = ("w_a", "w_f")

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.get_parameter("w_a"))
        nn.init.ones_(self.get_parameter("w_f"))

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        a = 1 + tanh(x.a + p.w_a * s.h)
        f = sigmoid(x.f + p.w_f * s.h)
        return State(h=f * s.h + (1 - f) * tanh(x.n + a * s.h))
