"""Forecasts as Student's t distribution: a normal distribution with heavier tails, as returns of stocks have."""

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from recurra.heads.output import LEAST_SCALE, UNIT, Output, check_objective, scipy

__all__ = ["StudentT"]

LEAST_FREEDOM = 2.0  # below it there is no variance
FIRST_FREEDOM = 6.0  # above LEAST_FREEDOM, where training begins: tails like those of daily returns
STEP = 1e-4  # of the central difference by the degrees of freedom, as a share of them


class StudentT(Output):
    """Student's t distribution with location, scale and degrees of freedom (Student 1908).

        mean = a        scale = LEAST_SCALE + softplus(b)        freedom v = 2 + softplus(c)

        likelihood   loss = -log Gamma((v + 1) / 2) + log Gamma(v / 2) + log(pi v) / 2 + log scale
                            + (v + 1) / 2 log(1 + z^2 / v)                             z = (y - mean) / scale
        crps         loss = scale (z (2 F(z) - 1) + 2 f(z) (v + z^2) / (v - 1)
                            - 2 sqrt(v) / (v - 1) B(1/2, v - 1/2) / B(1/2, v/2)^2)      (Jordan et al. 2019)

    with density f and distribution function F of the standard t distribution, B the beta function. F and its
    inverse are scipy's. F has no gradient by v, so that of the CRPS is a central difference; all others are exact.
    The scale is not the standard deviation, which is scale sqrt(v / (v - 2)).

    parameters (..., 3): mean, scale, freedom

    features   F, size of the vector
    objective  what is minimised: "likelihood" or "crps"
    """

    def __init__(self, features: int, objective: Literal["likelihood", "crps"] = "likelihood") -> None:
        super().__init__(features, 3)
        self.objective = check_objective("StudentT", objective, ("likelihood", "crps"))
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor([0.0, UNIT, math.log(math.expm1(FIRST_FREEDOM))]))

    def constrain(self, raw: Tensor) -> Tensor:
        mean, scale, freedom = raw.unbind(-1)
        return torch.stack([mean, LEAST_SCALE + softplus(scale), LEAST_FREEDOM + softplus(freedom)], -1)

    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        if self.objective == "crps":
            return self.ranked(parameters, target)
        mean, scale, freedom = parameters.unbind(-1)
        v = freedom.double()  # two large logarithms that nearly cancel
        constant = ((v / 2).lgamma() - ((v + 1) / 2).lgamma() + (v * math.pi).log() / 2).to(mean)
        z = (target - mean) / scale
        return constant + scale.log() + (freedom + 1) / 2 * (z.square() / freedom).log1p()

    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        mean, scale, freedom = parameters.unbind(-1)
        return scale * _Ranked.apply((target - mean) / scale, freedom)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """By the polar method of Bailey (1994): two uniform numbers, no rejection.

        z = sqrt(v (U^(-2/v) - 1)) cos(2 pi V)
        """
        mean, scale, freedom = parameters.unbind(-1)
        shape = (2, *mean.shape)
        u, w = torch.rand(shape, generator=generator, dtype=mean.dtype, device=mean.device).unbind(0)
        radius = (freedom * torch.expm1(-2 / freedom * torch.log1p(-u))).sqrt()
        return mean + scale * radius * (2 * math.pi * w).cos()

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        mean, scale, freedom = parameters.split(1, -1)
        wanted = levels.double().cpu().numpy()
        z = scipy("special").stdtrit(freedom.detach().double().cpu().numpy(), wanted)
        return mean + scale * torch.as_tensor(z).to(mean)

    def cdf(self, parameters: Tensor, target: Tensor) -> Tensor:
        mean, scale, freedom = parameters.unbind(-1)
        z = (target - mean) / scale
        return _probability(z.detach().double(), freedom.detach().double()).to(mean)

    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        mean, own, freedom = parameters.unbind(-1)
        return torch.stack([location + scale * mean, own * scale, freedom], -1)


def _probability(z: Tensor, v: Tensor) -> Tensor:
    """F(z), in float64."""
    return torch.as_tensor(scipy("special").stdtr(v.cpu().numpy(), z.cpu().numpy()), device=z.device)


def _log_beta(a: float, b: Tensor) -> Tensor:
    return math.lgamma(a) + b.lgamma() - (a + b).lgamma()


def _standard_crps(z: Tensor, v: Tensor, probability: Tensor) -> Tensor:
    """The score of a standard t distribution with F(z) at hand, in float64."""
    density = torch.exp(-(v + 1) / 2 * (z.square() / v).log1p() - _log_beta(0.5, v / 2)) / v.sqrt()
    spread = 2 * v.sqrt() / (v - 1) * torch.exp(_log_beta(0.5, v - 0.5) - 2 * _log_beta(0.5, v / 2))
    return z * (2 * probability - 1) + 2 * density * (v + z.square()) / (v - 1) - spread


class _Ranked(torch.autograd.Function):
    """The CRPS of a standard t distribution. By z its derivative is 2 F(z) - 1; by v it is a central difference."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, freedom: Tensor) -> Tensor:
        exact, v = z.double(), freedom.double()
        probability = _probability(exact, v)
        ctx.save_for_backward(exact, v, probability)
        ctx.dtype = z.dtype
        return _standard_crps(exact, v, probability).to(z.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor]:
        z, v, probability = ctx.saved_tensors
        above, below = (_standard_crps(z, at, _probability(z, at)) for at in (v * (1 + STEP), v * (1 - STEP)))
        by_v = (above - below) / (2 * STEP * v)
        return given * (2 * probability - 1).to(ctx.dtype), given * by_v.to(ctx.dtype)
