"""The bistable cell whose units modulate each other (Vecoven et al. 2020)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["NBRC"]


class NBRC(Gated):
    """Recurrently neuromodulated bistable cell (nBRC; Vecoven, Ernst and Drion 2020).

        a  = 1 + tanh(W_a x + U_a h + b_a)        f = sigmoid(W_f x + U_f h + b_f)
        h' = f * h + (1 - f) * tanh(W_n x + a * h + b_n)

    Where a is above 1 a unit has two stable values; other units decide when. f is the paper's c. Deviation: the
    bias b_n, which the authors' program does not have and which begins at zero.
    """

    gates = ("a", "f", "n")
    without_U = ("n",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        a = 1 + tanh(x.a + u.a)
        f = sigmoid(x.f + u.f)
        return State(h=f * s.h + (1 - f) * tanh(x.n + a * s.h))
