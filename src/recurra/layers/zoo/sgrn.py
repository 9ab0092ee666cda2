"""The simple gated network (Zu et al. 2020)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["SGRN"]


class SGRN(Gated):
    """Simple gated recurrent network (SGRN; Zu et al. 2020): one pair of matrices, one gate.

    a  = W x + b        f = sigmoid(a + U h)
    h' = tanh((1 - f) * a + f * h)
    """

    gates = ("a",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = sigmoid(x.a + u.a)
        return State(h=tanh((1 - f) * x.a + f * s.h))
