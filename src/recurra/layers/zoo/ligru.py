"""The light GRU of speech recognition (Ravanelli et al. 2018)."""

from typing import Any

from torch import relu, sigmoid

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["LiGRU"]


class LiGRU(Gated):
    """Light gated recurrent unit (Li-GRU; Ravanelli et al. 2018): a GRU without reset gate and with ReLU.

        z  = sigmoid(W_z x + U_z h + b_z)        n = relu(W_n x + U_n h + b_n)
        h' = z * h + (1 - z) * n

    Deviation: no batch normalisation of W x, which needs statistics of the whole batch and of all time steps; the
    paper relies on it to keep the ReLU from growing, so watch the gradients' norm.
    """

    gates = ("z", "n")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        z = sigmoid(x.z + u.z)
        n = relu(x.n + u.n)
        return State(h=z * s.h + (1 - z) * n)
