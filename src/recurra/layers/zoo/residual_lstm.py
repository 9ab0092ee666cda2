"""The LSTM with a shortcut from its input to its output (Kim et al. 2017)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["ResidualLSTM"]


class ResidualLSTM(ForgetBias):
    """Residual LSTM (Kim, El-Khamy and Lee, "Residual LSTM", 2017): peepholes, a projection and a shortcut.

        i  = sigmoid(W_i x + U_i h + b_i + p_i * c)        f = sigmoid(W_f x + U_f h + b_f + p_f * c)
        g  = tanh(W_g x + U_g h + b_g)
        c' = f * c + i * g
        o  = sigmoid(W_o x + U_o h + b_o + p_o * c')
        h' = o * (U_m tanh(c') + W_m x + b_m)

    Deviations: the projection U_m keeps the size H, the shortcut has its matrix W_m for every size of x, where
    the paper passes x itself between layers of one size, and a bias b_m, which begins at zero.
    """

    gates = ("i", "f", "g", "o", "m")
    late = ("m",)
    state = ("h", "c")
    vectors = ("p_i", "p_f", "p_o")

    def memory(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        """The new cell state c'."""
        i = sigmoid(x.i + u.i + p.p_i * s.c)
        f = sigmoid(x.f + u.f + p.p_f * s.c)
        return f * s.c + i * tanh(x.g + u.g)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return tanh(self.memory(x, u, s, p))

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        c = self.memory(x, u, s, p)
        o = sigmoid(x.o + u.o + p.p_o * c)
        return State(h=o * (u.m + x.m), c=c)
