"""The network that adds up its inputs (Lee et al. 2017)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["RAN"]


class RAN(ForgetBias):
    """Recurrent additive network (RAN; Lee, Levy and Zettlemoyer 2017): the memory is a weighted sum of inputs.

        i  = sigmoid(W_i x + U_i h + b_i)        f = sigmoid(W_f x + U_f h + b_f)
        c' = i * (W_n x + b_n) + f * c
        h' = tanh(c')

    Deviation: the bias b_n, which the paper does not have and which begins at zero.
    """

    gates = ("i", "f", "n")
    without_U = ("n",)
    state = ("h", "c")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i)
        f = sigmoid(x.f + u.f)
        c = i * x.n + f * s.c
        return State(h=tanh(c), c=c)
