"""The simple recurrent unit (Lei et al. 2018)."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, sigmoid, tanh

from recurra.kernels.recurrence import Weights
from recurra.layers.scan import Scan

__all__ = ["SRU"]


class SRU(Scan):
    """Simple recurrent unit (SRU; Lei et al. 2018), in the form whose gates do not see the state.

        f  = sigmoid(W_f x + b_f)                 r = sigmoid(W_r x + b_r)
        h' = f * h + (1 - f) * (W_n x + b_n)      y = r * tanh(h') + (1 - r) * x

    This is the paper's first version. The later one adds v * h to the gates, which then depend on the state: not a
    scan any more, and not this layer. Deviations: a bias b_n, which begins at zero; if the sizes differ,
    W_p x + b_p goes past h instead of x.
    """

    gates: tuple[str, ...] = ("n", "f", "r")

    def __init__(self, input_size: int, hidden_size: int, **others: Any) -> None:
        if input_size != hidden_size:
            self.gates = (*type(self).gates, "past")
        super().__init__(input_size, hidden_size, **others)
        if input_size == hidden_size:
            self.x_gates = (*self.gates, "input")

    def weights(self) -> Weights | str:
        """The compiled loop knows gates only: there x itself comes as one, by a matrix of ones on the diagonal."""
        found = super().weights()
        if isinstance(found, str) or "input" not in self.x_gates:
            return found
        same = torch.eye(self.hidden_size, dtype=found.W.dtype, device=found.W.device)
        return replace(found, W=torch.cat([found.W, same]), b=torch.cat([found.b, found.b.new_zeros(len(same))]))

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        f = sigmoid(x.f)
        return f, (1 - f) * x.n

    def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
        r = sigmoid(x.r)
        return r * tanh(h) + (1 - r) * (x.past if "past" in self.gates else x.input)
