"""Two cells as a user would write them, which the library does not have."""

from typing import Any

from torch import sigmoid, tanh

from recurra import Gated, State

__all__ = ["LeakyRNN", "MomentumGRU"]


class LeakyRNN(Gated):
    """Units that leak (Jaeger 2001), each at a rate that it learns.

    k  = sigmoid(rate)
    h' = (1 - k) * h + k * tanh(W x + U h + b)
    """

    gates = ("a",)
    vectors = ("rate",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        k = sigmoid(p.rate)
        return State(h=(1 - k) * s.h + k * tanh(x.a + u.a))


class MomentumGRU(Gated):
    """A GRU whose state has momentum, after Nguyen et al. 2020: its change is remembered as v.

    r  = sigmoid(W_r x + U_r h + b_r)        z = sigmoid(W_z x + U_z h + b_z)
    n  = tanh(W_n x + b_n + r * (U_n h + c_n))
    v' = m * v + (1 - z) * (n - h)           h' = h + v' / 2
    """

    gates = ("r", "z", "n")
    state = ("h", "v")
    vectors = ("c_n",)
    momentum = 0.5

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        r = sigmoid(x.r + u.r)
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + r * (u.n + p.c_n))
        v = self.momentum * s.v + (1 - z) * (n - s.h)
        return State(h=s.h + v / 2, v=v)
