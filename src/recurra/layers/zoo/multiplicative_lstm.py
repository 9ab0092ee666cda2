"""The LSTM whose recurrent matrix depends on the input (Krause et al. 2016)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["MultiplicativeLSTM"]


class MultiplicativeLSTM(ForgetBias):
    """Multiplicative LSTM (mLSTM; Krause et al., "Multiplicative LSTM for sequence modelling", 2016).

        m  = (W_m x + b_m) * (U_m h)
        i  = sigmoid(W_i x + U_i m + b_i)        f = sigmoid(W_f x + U_f m + b_f)
        g  = tanh(W_g x + U_g m + b_g)           o = sigmoid(W_o x + U_o m + b_o)
        c' = f * c + i * g
        h' = o * tanh(c')

    Deviation: the bias b_m, which the paper does not have and which begins at zero.
    """

    gates = ("m", "i", "f", "g", "o")
    late = ("i", "f", "g", "o")
    state = ("h", "c")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return x.m * u.m

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i)
        f = sigmoid(x.f + u.f)
        g = tanh(x.g + u.g)
        o = sigmoid(x.o + u.o)
        c = f * s.c + i * g
        return State(h=o * tanh(c), c=c)
