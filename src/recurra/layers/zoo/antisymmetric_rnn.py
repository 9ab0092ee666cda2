"""The network as a stable differential equation (Chang et al. 2019)."""

from dataclasses import replace
from typing import Any

import torch
from torch import tanh

from recurra.kernels.recurrence import Weights
from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["AntisymmetricRNN"]


class AntisymmetricRNN(Gated):
    """AntisymmetricRNN (Chang et al. 2019): Euler steps of an equation whose Jacobian neither grows nor decays.

        A  = U - U^T - gamma I
        h' = h + epsilon * tanh(W x + A h + b)

    epsilon   the step size
    gamma     diffusion, which makes up for what Euler's method adds
    others    ``initial``, ``device`` and ``dtype``, as in `Gated`

    Deviations: U is a full matrix of which only the antisymmetric part counts, where the paper stores its upper
    triangle; it begins orthogonal, where the paper's is Gaussian.
    """

    gates: tuple[str, ...] = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, epsilon: float = 0.1, gamma: float = 0.01, **others: Any
    ) -> None:
        self.epsilon, self.gamma = float(epsilon), float(gamma)
        super().__init__(input_size, hidden_size, **others)

    def weights(self) -> Weights:
        eye = torch.eye(self.hidden_size, dtype=self.U.dtype, device=self.U.device)
        return replace(super().weights(), U=self.U - self.U.T - self.gamma * eye)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return State(h=s.h + self.epsilon * tanh(x.h + u.h))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, epsilon={self.epsilon}, gamma={self.gamma}"
