"""The layer-normalised GRU (Ba et al. 2016)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["LayerNormGRU"]


class LayerNormGRU(Gated):
    """GRU with layer normalisation of both products (Ba, Kiros and Hinton 2016), N(v) = (v - mean) / std.

        r  = sigmoid(N(W_r x) * a_r + N(U_r h) * d_r + b_r)        z likewise
        n  = tanh(N(W_n x) * a_n + b_n + r * (N(U_n h) * d_n + c_n))
        h' = (1 - z) * n + z * h

    a and d are the parameters ``gain_x`` and ``gain_h``. Deviation: each gate is normalised by itself, where the
    paper normalises r and z together.
    """

    gates = ("r", "z", "n")
    vectors = ("c_n",)
    normalized = True

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        r = sigmoid(x.r + u.r)
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + r * (u.n + p.c_n))
        return State(h=(1 - z) * n + z * s.h)
