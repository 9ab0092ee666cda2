"""The layer-normalised LSTM (Ba et al. 2016)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["LayerNormLSTM"]


class LayerNormLSTM(ForgetBias):
    """LSTM with layer normalisation of both products (Ba, Kiros and Hinton 2016), N(v) = (v - mean) / std.

        i  = sigmoid(N(W_i x) * a_i + N(U_i h) * d_i + b_i)        f, o likewise
        g  = tanh(N(W_g x) * a_g + N(U_g h) * d_g + b_g)
        c' = f * c + i * g
        h' = o * tanh(c')

    a and d are the parameters ``gain_x`` and ``gain_h``. Deviations: each gate is normalised by itself, not all
    four together, and c' is not normalised, which keeps the equation elementwise; b takes the place of the
    paper's three shifts, which only ever add up.
    """

    gates = ("i", "f", "g", "o")
    state = ("h", "c")
    normalized = True

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i)
        f = sigmoid(x.f + u.f)
        g = tanh(x.g + u.g)
        o = sigmoid(x.o + u.o)
        c = f * s.c + i * g
        return State(h=o * tanh(c), c=c)
