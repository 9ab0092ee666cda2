"""The gated recurrent unit as its paper writes it, reset before the product (Cho et al. 2014)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["ResetBeforeGRU"]


class ResetBeforeGRU(Gated):
    """Gated recurrent unit (Cho et al. 2014) that resets h before the product with U.

        r  = sigmoid(W_r x + U_r h + b_r)        z = sigmoid(W_z x + U_z h + b_z)
        n  = tanh(W_n x + U_n (r * h) + b_n)
        h' = (1 - z) * n + z * h

    ONNX calls this ``linear_before_reset=0``, Keras ``reset_after=False``. `recurra.GRU` is the other one, of
    torch and cuDNN.
    """

    gates = ("r", "z", "n")
    late = ("n",)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return sigmoid(x.r + u.r) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        z = sigmoid(x.z + u.z)
        n = tanh(x.n + u.n)
        return State(h=(1 - z) * n + z * s.h)
