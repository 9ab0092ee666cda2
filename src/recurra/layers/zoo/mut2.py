"""The second of three cells that an evolutionary search found (Jozefowicz et al. 2015)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["MUT2"]


class MUT2(Gated):
    """Mutated architecture 2 (Jozefowicz, Zaremba and Sutskever 2015).

        w  = sigmoid(W_w x + U_w h + b_w)        r = sigmoid(W_r x + U_r h + b_r)
        n  = tanh(U_n (r * h) + W_n x + b_n)
        h' = n * w + h * (1 - w)

    w is the paper's z. Deviation: W_r x stands for the paper's bare x in r, which needs x of the size of h; with
    this matrix the cell is a GRU that resets before the product, its update gate turned round.
    """

    gates = ("w", "r", "n")
    late = ("n",)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return sigmoid(x.r + u.r) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        w = sigmoid(x.w + u.w)
        n = tanh(u.n + x.n)
        return State(h=n * w + s.h * (1 - w))
