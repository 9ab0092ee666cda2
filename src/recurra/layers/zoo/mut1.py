"""The first of three cells that an evolutionary search found (Jozefowicz et al. 2015)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["MUT1"]


class MUT1(Gated):
    """Mutated architecture 1 (Jozefowicz, Zaremba and Sutskever 2015): its write gate sees the input only.

        w  = sigmoid(W_w x + b_w)        r = sigmoid(W_r x + U_r h + b_r)
        n  = tanh(U_n (r * h) + tanh(W_n x + b_n) + c_n)
        h' = n * w + h * (1 - w)

    w is the paper's z, r its r, c_n its b_h. Deviation: tanh(W_n x + b_n) stands for tanh(x), which the paper can
    only add where x has the size of h.
    """

    gates = ("w", "r", "n")
    without_U = ("w",)
    late = ("n",)
    vectors = ("c_n",)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return sigmoid(x.r + u.r) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        w = sigmoid(x.w)
        n = tanh(u.n + tanh(x.n) + p.c_n)
        return State(h=n * w + s.h * (1 - w))
