"""The network without chaos (Laurent and von Brecht 2016)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["CFN"]


class CFN(ForgetBias):
    """Chaos-free network (CFN; Laurent and von Brecht 2016): without input its state sinks to zero.

        f  = sigmoid(W_f x + U_f h + b_f)        i = sigmoid(W_i x + U_i h + b_i)
        h' = f * tanh(h) + i * tanh(W_n x + b_n)

    f is the paper's theta and i its eta. Deviation: the bias b_n, which the paper does not have and which begins
    at zero.
    """

    gates = ("f", "i", "n")
    without_U = ("n",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = sigmoid(x.f + u.f)
        i = sigmoid(x.i + u.i)
        return State(h=f * tanh(s.h) + i * tanh(x.n))
