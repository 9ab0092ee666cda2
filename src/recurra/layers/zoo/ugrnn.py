"""The network with an update gate alone (Collins et al. 2017)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["UGRNN"]


class UGRNN(ForgetBias):
    """Update gate RNN (Collins, Sohl-Dickstein and Sussillo 2017): the vanilla network with one gate.

        f  = sigmoid(W_f x + U_f h + b_f)        n = tanh(W_n x + U_n h + b_n)
        h' = f * h + (1 - f) * n

    f is the paper's g and n its c.
    """

    gates = ("f", "n")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = sigmoid(x.f + u.f)
        n = tanh(x.n + u.n)
        return State(h=f * s.h + (1 - f) * n)
