"""The network that keeps or takes an encoded input, and computes nothing else (Chen 2017)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["MinimalRNN"]


class MinimalRNN(Gated):
    """MinimalRNN (Chen 2017): the state stays a mixture of encoded inputs, which eases reading it.

        e  = tanh(W_e x + b_e)
        k  = sigmoid(U_k h + U_v e + b_k)
        h' = k * h + (1 - k) * e

    e is the paper's z and k its u. Its encoder of the input may be any network; this is the one of its tests.
    """

    gates = ("e", "k", "v")
    without_U, without_W = ("e",), ("k", "v")
    late = ("v",)
    vectors = ("b_k",)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return tanh(x.e)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        e = tanh(x.e)
        k = sigmoid(u.k + u.v + p.b_k)
        return State(h=k * s.h + (1 - k) * e)
