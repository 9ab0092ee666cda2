"""The third of three cells that an evolutionary search found (Jozefowicz et al. 2015)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["MUT3"]


class MUT3(Gated):
    """Mutated architecture 3 (Jozefowicz, Zaremba and Sutskever 2015): its write gate sees tanh(h).

        w  = sigmoid(W_w x + U_w tanh(h) + b_w)        r = sigmoid(W_r x + U_r h + b_r)
        n  = tanh(U_n (r * h) + W_n x + b_n)
        h' = n * w + h * (1 - w)

    w is the paper's z.
    """

    gates = ("w", "r", "n")
    late = ("w", "n")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> tuple[Tensor, Tensor]:
        return tanh(s.h), sigmoid(x.r + u.r) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        w = sigmoid(x.w + u.w)
        n = tanh(u.n + x.n)
        return State(h=n * w + s.h * (1 - w))
