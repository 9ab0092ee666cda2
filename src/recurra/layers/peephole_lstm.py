"""The LSTM whose gates see the cell state (Gers and Schmidhuber 2000)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["PeepholeLSTM"]


class PeepholeLSTM(ForgetBias):
    """LSTM with peepholes (Gers and Schmidhuber 2000; equations as in Graves 2013).

    i  = sigmoid(W_i x + U_i h + b_i + p_i * c)        f = sigmoid(W_f x + U_f h + b_f + p_f * c)
    g  = tanh(W_g x + U_g h + b_g)
    c' = f * c + i * g
    o  = sigmoid(W_o x + U_o h + b_o + p_o * c')
    h' = o * tanh(c')
    """

    gates = ("i", "f", "g", "o")
    state = ("h", "c")
    vectors = ("p_i", "p_f", "p_o")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i + p.p_i * s.c)
        f = sigmoid(x.f + u.f + p.p_f * s.c)
        g = tanh(x.g + u.g)
        c = f * s.c + i * g
        o = sigmoid(x.o + u.o + p.p_o * c)
        return State(h=o * tanh(c), c=c)
