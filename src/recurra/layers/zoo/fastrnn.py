"""The vanilla network with a weighted shortcut over time (Kusupati et al. 2018)."""

from typing import Any

from torch import nn, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["FastRNN"]


class FastRNN(Gated):
    """FastRNN (Kusupati et al. 2018): a residual connection over time with two learned weights.

        n  = tanh(W x + U h + b)
        h' = sigmoid(alpha) * n + sigmoid(beta) * h

    alpha begins at -3 and beta at 3, so that the state moves slowly at first. Deviation: both are vectors, one
    number for each unit, where the paper learns one for all.
    """

    gates = ("n",)
    vectors = ("alpha", "beta")

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.get_parameter("alpha"), -3.0)
        nn.init.constant_(self.get_parameter("beta"), 3.0)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        n = tanh(x.n + u.n)
        return State(h=sigmoid(p.alpha) * n + sigmoid(p.beta) * s.h)
