"""The convolutional GRU (Ballas et al. 2016; Shi et al. 2017), also with layer normalisation."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.convolutional import Convolutional
from recurra.tree import State

__all__ = ["ConvGRU", "LayerNormConvGRU"]


class ConvGRU(Convolutional):
    """GRU over maps (Ballas et al. 2016), the reset after the convolution (Shi et al. 2017).

        r  = sigmoid(W_r * x + U_r * h + b_r)        z = sigmoid(W_z * x + U_z * h + b_z)
        n  = tanh(W_n * x + b_n + r (U_n * h + c_n))
        h' = (1 - z) n + z h

    * is a convolution. Ballas et al. reset before it, ``U_n * (r h)``, which takes two convolutions one after the
    other; Shi et al. 2017 reset after it, with a leaky ReLU where tanh stands here.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``.
    """

    gates = ("r", "z", "n")
    vectors = ("c_n",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        r = sigmoid(x.r + u.r)
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + r * (u.n + p.c_n))
        return State(h=(1 - z) * n + z * s.h)


class LayerNormConvGRU(Convolutional):
    """ConvGRU (Ballas et al. 2016) with layer normalisation of both convolutions (Ba, Kiros and Hinton 2016).

        r  = sigmoid(N(W_r * x) a_r + N(U_r * h) d_r + b_r)        z likewise
        n  = tanh(N(W_n * x) a_n + b_n + r (N(U_n * h) d_n + c_n))
        h' = (1 - z) n + z h

    N(v) = (v - mean) / std over all maps and places of a gate, by itself; a and d are ``gain_x`` and ``gain_h``.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``.
    """

    gates = ("r", "z", "n")
    vectors = ("c_n",)
    normalized = True

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        r = sigmoid(x.r + u.r)
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + r * (u.n + p.c_n))
        return State(h=(1 - z) * n + z * s.h)
