"""The network with a gate over time and a gate over depth (Collins et al. 2017)."""

from typing import Any

from torch import Tensor, relu, sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["IntersectionRNN"]


class IntersectionRNN(ForgetBias):
    """Intersection RNN (+RNN; Collins, Sohl-Dickstein and Sussillo 2017), made for deep stacks.

        n  = tanh(W_n x + U_n s + b_n)        f = sigmoid(W_f x + U_f s + b_f)
        y  = relu(W_y x + U_y s + b_y)        g = sigmoid(W_g x + U_g s + b_g)
        s' = f * s + (1 - f) * n
        h' = g * (W_d x + b_d) + (1 - g) * y

    Of the two states only s is read: it is the paper's h, and h, the output, is the paper's y. Deviation: x
    passes through the matrix W_d, as in the paper's first layer, in every layer, so that sizes may differ.
    """

    gates = ("n", "f", "y", "g", "d")
    without_U = ("d",)
    late = ("n", "f", "y", "g")
    state = ("h", "s")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return s.s

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        n = tanh(x.n + u.n)
        f = sigmoid(x.f + u.f)
        y = relu(x.y + u.y)
        g = sigmoid(x.g + u.g)
        return State(h=g * x.d + (1 - g) * y, s=f * s.s + (1 - f) * n)
