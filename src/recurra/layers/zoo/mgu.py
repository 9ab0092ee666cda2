"""The minimal gated unit (Zhou et al. 2016)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["MGU"]


class MGU(Gated):
    """Minimal gated unit (Zhou et al. 2016): a GRU in which one gate resets and writes.

        w  = sigmoid(W_w x + U_w h + b_w)
        n  = tanh(W_n x + U_n (w * h) + b_n)
        h' = (1 - w) * h + w * n

    w is the paper's f; here f and z are names of gates that keep what was.
    """

    gates = ("w", "n")
    late = ("n",)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return sigmoid(x.w + u.w) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        w = sigmoid(x.w + u.w)
        n = tanh(x.n + u.n)
        return State(h=(1 - w) * s.h + w * n)
