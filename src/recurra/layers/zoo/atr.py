"""The network gated by sum and difference (Zhang et al. 2018)."""

from typing import Any

from torch import sigmoid

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["ATR"]


class ATR(Gated):
    """Addition-subtraction twin-gated network (ATR; Zhang et al. 2018): two gates from one pair of matrices.

        a  = W x + b        q = U h
        i  = sigmoid(a + q)        f = sigmoid(a - q)
        h' = i * a + f * h

    a is the paper's p. Deviation: the bias b, which begins at zero.
    """

    gates = ("a",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.a + u.a)
        f = sigmoid(x.a - u.a)
        return State(h=i * x.a + f * s.h)
