"""The LSTM whose input gate is what the forget gate leaves (CIFG; Greff et al. 2015)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["CoupledLSTM"]


class CoupledLSTM(ForgetBias):
    """LSTM with coupled input and forget gates (CIFG; Greff et al., "LSTM: a search space odyssey", 2015).

        f  = sigmoid(W_f x + U_f h + b_f)        o = sigmoid(W_o x + U_o h + b_o)
        g  = tanh(W_g x + U_g h + b_g)
        c' = f * c + (1 - f) * g
        h' = o * tanh(c')

    Deviation: no peepholes, which the paper's variant keeps.
    """

    gates = ("f", "g", "o")
    state = ("h", "c")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = sigmoid(x.f + u.f)
        g = tanh(x.g + u.g)
        o = sigmoid(x.o + u.o)
        c = f * s.c + (1 - f) * g
        return State(h=o * tanh(c), c=c)
