"""The network that takes two steps in one (Zilly et al. 2016)."""

from typing import Any

import torch
from torch import Tensor, nn, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["RecurrentHighway"]


class RecurrentHighway(Gated):
    """Recurrent highway network (RHN; Zilly et al. 2016) of depth two: two highway layers in each step.

        n1 = tanh(W_n1 x + U_n1 h + b_n1)        t1 = sigmoid(W_t1 x + U_t1 h + b_t1)
        m  = t1 * n1 + (1 - t1) * h
        n2 = tanh(U_n2 m + b_n2)                 t2 = sigmoid(U_t2 m + b_t2)
        h' = t2 * n2 + (1 - t2) * m

    transform_bias   where the biases of t1 and t2 begin: below zero, so that the highway is open
    others           ``initial``, ``device`` and ``dtype``, as in `Gated`

    The carry gate is 1 - t, as in the paper's experiments. Deviation: two layers a step, where the paper goes to
    ten.
    """

    gates = ("n1", "t1", "n2", "t2")
    without_W = late = ("n2", "t2")
    vectors = ("b_n2", "b_t2")

    def __init__(self, input_size: int, hidden_size: int, transform_bias: float = -2.0, **others: Any) -> None:
        self.transform_bias = float(transform_bias)
        super().__init__(input_size, hidden_size, **others)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.get_parameter("b_t2"), self.transform_bias)
        with torch.no_grad():
            self.b[self.hidden_size :].fill_(self.transform_bias)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        n1 = tanh(x.n1 + u.n1)
        t1 = sigmoid(x.t1 + u.t1)
        return t1 * n1 + (1 - t1) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        m = self.inner(x, u, s, p)
        n2 = tanh(u.n2 + p.b_n2)
        t2 = sigmoid(u.t2 + p.b_t2)
        return State(h=t2 * n2 + (1 - t2) * m)
