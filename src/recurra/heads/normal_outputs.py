"""Forecasts as a normal distribution, and as a mixture of some (Bishop 1994)."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.special import ndtr, ndtri

from recurra.errors import ConfigError
from recurra.heads.output import LEAST_SCALE, UNIT, Output, check_objective

__all__ = ["Gaussian", "Mixture"]

HALVINGS = 64  # of an interval that holds a quantile, more than the digits of float64


class Gaussian(Output):
    """A normal distribution, as in DeepAR for real values (Salinas et al. 2020).

        mean = a        scale = LEAST_SCALE + softplus(b)

        likelihood   loss = log scale + z^2 / 2 + log(2 pi) / 2                       z = (y - mean) / scale
        crps         loss = scale (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))        (Gneiting et al. 2005)

    parameters (..., 2): mean, scale

    features   F, size of the vector
    objective  what is minimised: "likelihood" (in nats), or "crps", which outliers move less
    """

    def __init__(self, features: int, objective: Literal["likelihood", "crps"] = "likelihood") -> None:
        super().__init__(features, 2)
        self.objective = check_objective("Gaussian", objective, ("likelihood", "crps"))
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor([0.0, UNIT]))

    def constrain(self, raw: Tensor) -> Tensor:
        mean, scale = raw.unbind(-1)
        return torch.stack([mean, LEAST_SCALE + softplus(scale)], -1)

    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        if self.objective == "crps":
            return self.ranked(parameters, target)
        mean, scale = parameters.unbind(-1)
        return scale.log() + ((target - mean) / scale).square() / 2 + math.log(2 * math.pi) / 2

    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        mean, scale = parameters.unbind(-1)
        z = (target - mean) / scale
        return scale * (z * (2 * ndtr(z) - 1) + 2 * _density(z) - 1 / math.sqrt(math.pi))

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, scale = parameters.unbind(-1)
        return mean + scale * _standard_normal(mean, generator)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        mean, scale = parameters.split(1, -1)
        return mean + scale * ndtri(levels.double()).to(parameters)

    def cdf(self, parameters: Tensor, target: Tensor) -> Tensor:
        mean, scale = parameters.unbind(-1)
        return ndtr((target - mean) / scale)

    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        mean, own = parameters.unbind(-1)
        return torch.stack([location + scale * mean, own * scale], -1)


class Mixture(Output):
    """Some normal distributions, each with its weight: for numbers with more than one peak, or with heavy tails.

        weights = softmax(a)        means = b        scales = LEAST_SCALE + softplus(c)

        likelihood   loss = -log sum over m of weight_m N(y; mean_m, scale_m)
        crps         loss = sum_m w_m A(y - mean_m, scale_m^2) - sum_mn w_m w_n A(mean_m - mean_n, scale_m^2 +
                            scale_n^2) / 2,    A(d, v) = d (2 Phi(d / sqrt v) - 1) + 2 sqrt(v) phi(d / sqrt v)

    The second form is that of Grimit et al. (2006). Quantiles have no formula; they are found by bisection between
    the lowest and the highest quantile of the parts.

    parameters (..., 3 M): logarithms of the weights, means, scales

    features   F, size of the vector
    parts      M, normal distributions; at the start their means lie between -1 and 1
    objective  what is minimised: "likelihood" or "crps"
    """

    def __init__(
        self, features: int, parts: int = 3, objective: Literal["likelihood", "crps"] = "likelihood"
    ) -> None:
        if parts < 1:
            raise ConfigError(f"Mixture: expected 1 part or more, got {parts}")
        super().__init__(features, 3 * parts)
        self.parts = parts
        self.objective = check_objective("Mixture", objective, ("likelihood", "crps"))
        means = torch.linspace(-1, 1, parts) if parts > 1 else torch.zeros(1)
        with torch.no_grad():
            self.linear.bias.copy_(torch.cat([torch.zeros(parts), means, torch.full((parts,), UNIT)]))

    def constrain(self, raw: Tensor) -> Tensor:
        weights, means, scales = raw.chunk(3, -1)
        return torch.cat([weights.log_softmax(-1), means, LEAST_SCALE + softplus(scales)], -1)

    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        if self.objective == "crps":
            return self.ranked(parameters, target)
        weights, means, scales = parameters.chunk(3, -1)
        z = (target[..., None] - means) / scales
        return math.log(2 * math.pi) / 2 - (weights - scales.log() - z.square() / 2).logsumexp(-1)

    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        weights, means, scales = parameters.chunk(3, -1)
        p = weights.exp()
        away = (p * _expected_distance(target[..., None] - means, scales)).sum(-1)
        both = (scales[..., :, None].square() + scales[..., None, :].square()).sqrt()
        among = _expected_distance(means[..., :, None] - means[..., None, :], both)
        return away - (p[..., :, None] * p[..., None, :] * among).sum((-2, -1)) / 2

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        weights, means, scales = parameters.chunk(3, -1)
        u = torch.rand(means.shape[:-1], generator=generator, dtype=means.dtype, device=means.device)
        part = (weights.exp().cumsum(-1)[..., :-1] <= u[..., None]).sum(-1, keepdim=True)
        mean, scale = (values.gather(-1, part)[..., 0] for values in (means, scales))
        return mean + scale * _standard_normal(mean, generator)

    def mean(self, parameters: Tensor) -> Tensor:
        weights, means, _ = parameters.chunk(3, -1)
        return (weights.exp() * means).sum(-1)

    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        weights, means, scales = (values[..., None, :] for values in parameters.chunk(3, -1))
        wanted = levels.to(parameters)
        of_parts = means + scales * ndtri(levels.double()).to(parameters)[:, None]
        low, high, p = of_parts.amin(-1), of_parts.amax(-1), weights.exp()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = (p * ndtr((middle[..., None] - means) / scales)).sum(-1) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def cdf(self, parameters: Tensor, target: Tensor) -> Tensor:
        weights, means, scales = parameters.chunk(3, -1)
        return (weights.exp() * ndtr((target[..., None] - means) / scales)).sum(-1)

    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        weights, means, scales = parameters.chunk(3, -1)
        return torch.cat([weights, location[..., None] + scale[..., None] * means, scales * scale[..., None]], -1)


def _density(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _expected_distance(difference: Tensor, scale: Tensor) -> Tensor:
    """E |difference + scale Z| for a standard normal Z: A of `Mixture`."""
    z = difference / scale
    return difference * (2 * ndtr(z) - 1) + 2 * scale * _density(z)


def _standard_normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
