"""The gated network with one pair of matrices for gate and candidate (Kusupati et al. 2018)."""

from typing import Any

from torch import nn, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["FastGRNN"]


class FastGRNN(Gated):
    """FastGRNN (Kusupati et al. 2018): a gated cell with the matrices of a vanilla one, for small devices.

        a  = W x + U h + b
        k  = sigmoid(a)        n = tanh(a + c_n)
        h' = (sigmoid(zeta) * (1 - k) + sigmoid(nu)) * n + k * h

    k is the paper's z, b its b_z, and c_n its b_h less b_z. zeta begins at 1 and nu at -4. Deviations: both are
    vectors, one number for each unit, where the paper learns one for all; W and U are full matrices, where the
    paper then makes them low-rank, sparse and quantised.
    """

    gates = ("a",)
    vectors = ("c_n", "zeta", "nu")

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.get_parameter("zeta"), 1.0)
        nn.init.constant_(self.get_parameter("nu"), -4.0)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        a = x.a + u.a
        k = sigmoid(a)
        n = tanh(a + p.c_n)
        return State(h=(sigmoid(p.zeta) * (1 - k) + sigmoid(p.nu)) * n + k * s.h)
