"""The linear recurrent unit (Orvieto et al. 2023)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.errors import ConfigError
from recurra.layers.scan import Scan

__all__ = ["LRU"]


class LRU(Scan):
    """Linear recurrent unit (LRU; Orvieto et al., "Resurrecting recurrent networks for long sequences", 2023).

        a  = exp(-exp(nu) + i exp(theta))                       complex, as h
        h' = a * h + exp(gamma) * (B x)
        y  = Re(C h') + D x

    abs(a) < 1 whatever is learned. It begins uniform on a ring of the complex plane, gamma so that h has the
    size of B x, and B, C and D normal with the variances of the paper. Such a layer is linear from x to y: put
    something between two of them, as the paper puts gated linear units.

    radius  where abs(a) begins: 0.9 .. 0.999 remembers 10 to 1,000 steps; the paper has 0 .. 1 for short tasks
    phase   the largest angle it begins with, 2 pi in the paper, less for very long memories
    others  ``initial``, ``device`` and ``dtype``, as in `Scan`

    W holds the real parts of B, its imaginary parts and D, one under the other; C ``(H, 2 H)`` multiplies real and
    imaginary parts side by side, so it holds Re(C) and -Im(C). Deviations: a bias beside B x and D x, which begins
    at zero; y has as many units as h. Raises ConfigError unless 0 <= radius[0] < radius[1] <= 1.
    """

    gates = ("real", "imaginary", "skip")
    vectors = ("nu", "theta", "gamma")
    numbers = "complex"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        radius: tuple[float, float] = (0.9, 0.999),
        phase: float = 2 * math.pi,
        **others: Any,
    ) -> None:
        if not 0 <= radius[0] < radius[1] <= 1:
            raise ConfigError(f"LRU: expected a radius with 0 <= from < to <= 1, outside it grows; got {radius}")
        if not 0 < phase <= 2 * math.pi:
            raise ConfigError(f"LRU: expected a phase above 0 and at most 2 pi, got {phase}")
        self.radius, self.phase = radius, phase
        super().__init__(input_size, hidden_size, **others)

    def make_parameters(self, parameter: Any) -> None:
        self.C = parameter(self.hidden_size, 2 * self.hidden_size)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        low, high = self.radius
        nu, theta, gamma = (self.get_parameter(name) for name in self.vectors)
        with torch.no_grad():
            squares = torch.rand_like(nu, dtype=torch.float64) * (high**2 - low**2) + low**2
            squares.clamp_(1e-12, 1 - 1e-12)  # a radius of 0 or 1 itself has no nu
            nu.copy_((-0.5 * squares.log()).log())
            theta.copy_((self.phase * (1 - torch.rand_like(nu))).log())  # uniform in 0 .. phase, without the 0
            gamma.copy_(0.5 * (1 - squares).log())
            real, imaginary, skip = self.W.split(self.hidden_size)  # type: ignore[union-attr]
            for part in (real, imaginary):
                nn.init.normal_(part, std=(2 * self.input_size) ** -0.5)
            nn.init.normal_(skip, std=self.input_size**-0.5)
            nn.init.normal_(self.C, std=self.hidden_size**-0.5)

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        size = p.gamma.exp()
        a = torch.polar((-p.nu.exp()).exp(), p.theta.exp())
        return a, torch.complex(size * x.real, size * x.imaginary)

    def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
        parts = torch.view_as_real(h).flatten(-2)
        return linear(parts, self.C.to(parts.dtype)) + x.skip
