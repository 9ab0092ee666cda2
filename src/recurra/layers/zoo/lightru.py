"""The light recurrent unit (Ye et al. 2024)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["LightRU"]


class LightRU(Gated):
    """Light recurrent unit (Ye et al. 2024): only the gate sees the state.

        w  = sigmoid(W_w x + U_w h + b_w)        n = tanh(W_n x + b_n)
        h' = (1 - w) * h + w * n

    w is the paper's f. Deviation: the bias b_n, which the paper does not have and which begins at zero.
    """

    gates = ("w", "n")
    without_U = ("n",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        w = sigmoid(x.w + u.w)
        n = tanh(x.n)
        return State(h=(1 - w) * s.h + w * n)
