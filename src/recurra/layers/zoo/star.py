"""The cell made to be stacked many layers deep (Turkoglu et al. 2019)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["STAR"]


class STAR(Gated):
    """Stackable recurrent cell (STAR; Turkoglu et al. 2019): its gradients keep their size through a stack.

        n  = tanh(W_n x + b_n)        k = sigmoid(W_k x + U_k h + b_k)
        h' = tanh((1 - k) * h + k * n)

    n is the paper's z.
    """

    gates = ("n", "k")
    without_U = ("n",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        n = tanh(x.n)
        k = sigmoid(x.k + u.k)
        return State(h=tanh((1 - k) * s.h + k * n))
