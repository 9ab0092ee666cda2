"""The convolutional LSTM (Shi et al. 2015), with peepholes and with layer normalisation."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.convolutional import Convolutional
from recurra.tree import State

__all__ = ["ConvLSTM", "LayerNormConvLSTM", "PeepholeConvLSTM"]


class ConvLSTM(Convolutional):
    """LSTM over maps (Shi et al. 2015), without peepholes; * in a product with W or U is a convolution.

        i  = sigmoid(W_i * x + U_i * h + b_i)        f = sigmoid(W_f * x + U_f * h + b_f)
        g  = tanh(W_g * x + U_g * h + b_g)           o = sigmoid(W_o * x + U_o * h + b_o)
        c' = f c + i g
        h' = o tanh(c')

    `PeepholeConvLSTM` is the paper's own: a number for each place ties a network to one size and to where things
    happened, so most later work leaves them out.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``.
    """

    gates = ("i", "f", "g", "o")
    state = ("h", "c")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i)
        f = sigmoid(x.f + u.f)
        g = tanh(x.g + u.g)
        o = sigmoid(x.o + u.o)
        c = f * s.c + i * g
        return State(h=o * tanh(c), c=c)


class PeepholeConvLSTM(Convolutional):
    """The convolutional LSTM as in the paper (Shi et al. 2015): its gates see the cell state at their own place.

        i  = sigmoid(W_i * x + U_i * h + b_i + p_i c)        f = sigmoid(W_f * x + U_f * h + b_f + p_f c)
        g  = tanh(W_g * x + U_g * h + b_g)
        c' = f c + i g
        o  = sigmoid(W_o * x + U_o * h + b_o + p_o c')
        h' = o tanh(c')

    p ``(hidden, *space)`` are elementwise, a number for each place.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``.
    """

    gates = ("i", "f", "g", "o")
    state = ("h", "c")
    vectors = places = ("p_i", "p_f", "p_o")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i + p.p_i * s.c)
        f = sigmoid(x.f + u.f + p.p_f * s.c)
        g = tanh(x.g + u.g)
        c = f * s.c + i * g
        o = sigmoid(x.o + u.o + p.p_o * c)
        return State(h=o * tanh(c), c=c)


class LayerNormConvLSTM(Convolutional):
    """ConvLSTM (Shi et al. 2015) with layer normalisation of both convolutions (Ba, Kiros and Hinton 2016).

        i  = sigmoid(N(W_i * x) a_i + N(U_i * h) d_i + b_i)        f, o likewise
        g  = tanh(N(W_g * x) a_g + N(U_g * h) d_g + b_g)
        c' = f c + i g
        h' = o tanh(c')

    N(v) = (v - mean) / std over all maps and places of a gate, a and d are the parameters ``gain_x`` and
    ``gain_h``, a number a channel. Deviations: each gate is normalised by itself, not all four together, c' is not
    normalised, and b takes the place of the paper's shifts. An empty frame on an empty memory gives b alone.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``.
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
