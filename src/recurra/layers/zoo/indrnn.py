"""The network of units that do not see each other (Li et al. 2018)."""

from typing import Any

from torch import nn, relu

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["IndRNN"]


class IndRNN(Gated):
    """Independently recurrent network (IndRNN; Li et al. 2018): a vector in place of the recurrent matrix.

        h' = relu(W x + w * h + b)

    w begins uniform in 0 .. 1. Units meet in the next layer only: stack two or more. Deviation: the paper clips
    w after each update so that w to the power of T stays bounded; here nothing does.
    """

    gates = ("h",)
    without_U = ("h",)
    vectors = ("w",)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.uniform_(self.get_parameter("w"))

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return State(h=relu(x.h + p.w * s.h))
