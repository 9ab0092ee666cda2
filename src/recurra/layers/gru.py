"""The gated recurrent unit (Cho et al. 2014)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["GRU"]


class GRU(Gated):
    """Gated recurrent unit (Cho et al. 2014), reset applied after the product, as in cuDNN and torch.

        r  = sigmoid(W_r x + U_r h + b_r)        z = sigmoid(W_z x + U_z h + b_z)
        n  = tanh(W_n x + b_n + r * (U_n h + c_n))
        h' = (1 - z) * n + z * h

    Deviation: the paper resets h before the product, ``U_n (r * h)``, a second stage in every step; that is
    `recurra.zoo.ResetBeforeGRU`.
    """

    gates = ("r", "z", "n")
    vectors = ("c_n",)
    torch_function = "gru"

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        r = sigmoid(x.r + u.r)
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + r * (u.n + p.c_n))
        return State(h=(1 - z) * n + z * s.h)
