"""Forecasts of counts, such as sales, as a negative binomial distribution (Salinas et al. 2020)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from recurra.errors import ConfigError, DataError
from recurra.heads.output import UNIT, Output, scipy

__all__ = ["NegativeBinomial"]

LEAST = 1e-6  # of the mean and the dispersion: both must be above 0
LARGE, NARROW, POINTS = 20.0, 1000.0, 256  # see `_hypergeometric`
ROUNDED = 1e-3  # a count that was scaled and scaled back is so near to a whole number

Array = NDArray[np.float64]


class NegativeBinomial(Output):
    """Whole numbers from 0, with a variance of mean + dispersion mean^2.

        mean m = LEAST + softplus(a)        dispersion d = LEAST + softplus(b)        r = 1 / d

        loss = -log Gamma(y + r) + log Gamma(y + 1) + log Gamma(r) + r log(1 + d m) - y log(d m / (1 + d m))

    It is the likelihood, in nats. Targets are counts, not scaled. A network that works with scaled numbers gives a
    scaled mean, and `rescale` gives the distribution of the counts as in DeepAR:

        m = scale m        d = d / sqrt(scale)        location must be 0

    The distribution function and the CRPS (Wei and Held 2014) are scipy's special functions and have no gradient.

    parameters (..., 2): mean, dispersion

    features  F, size of the vector

    Raises DataError for a target that is negative or not whole.
    """

    counts = True

    def __init__(self, features: int) -> None:
        super().__init__(features, 2)
        with torch.no_grad():
            self.linear.bias.fill_(UNIT)

    def constrain(self, raw: Tensor) -> Tensor:
        return LEAST + softplus(raw)

    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        # In float64: for a small dispersion two logarithms of millions differ by a few nats.
        y, (mean, dispersion) = _whole(target), parameters.double().unbind(-1)
        r, odds = 1 / dispersion, dispersion * mean
        ways = (y + r).lgamma() - (y + 1).lgamma() - r.lgamma()
        return ((r + y) * odds.log1p() - y * odds.log() - ways).to(parameters.dtype)

    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        """With p = 1 / (1 + d m) and the distribution function F_r:

        y (2 F_r(y) - 1) - m (2 F_(r+1)(y - 1) - 1) - m / p 2F1(r + 1, 1/2; 2; -4 (1 - p) / p^2)
        """
        special, y = scipy("special"), _whole(target).cpu().numpy()
        mean, dispersion = parameters.detach().double().cpu().unbind(-1)
        m, d = mean.numpy(), dispersion.numpy()
        r, p = 1 / d, 1 / (1 + d * m)
        below = special.betainc(r + 1, y.clip(1e-300), p) * (y > 0)
        among = m / p * _hypergeometric(r + 1, 4 * (1 - p) / p**2)
        score = y * (2 * special.betainc(r, y + 1, p) - 1) - m * (2 * below - 1) - among
        return torch.as_tensor(score).to(parameters)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A Poisson number whose rate is drawn from a gamma distribution."""
        mean, dispersion = parameters.unbind(-1)
        # torch.distributions.Gamma draws with this function too, but takes no generator.
        rate = torch._standard_gamma(1 / dispersion, generator=generator) * (mean * dispersion)
        return torch.poisson(rate, generator=generator)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        """The smallest count with at least so much probability up to it."""
        mean, dispersion = (part.detach().double().cpu().numpy() for part in parameters.split(1, -1))
        r, p = 1 / dispersion, 1 / (1 + dispersion * mean)
        return torch.as_tensor(scipy("stats").nbinom.ppf(levels.double().cpu().numpy(), r, p)).to(parameters)

    def cdf(self, parameters: Tensor, target: Tensor) -> Tensor:
        return self._up_to(parameters, target)

    def pit(self, parameters: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Spread at random over the step of the count (Smith 1985), so that right forecasts are uniform."""
        below, upto = self._up_to(parameters, target - 1), self._up_to(parameters, target)
        u = torch.rand(target.shape, generator=generator, dtype=upto.dtype, device=upto.device)
        return below + u * (upto - below)

    def _up_to(self, parameters: Tensor, count: Tensor) -> Tensor:
        mean, dispersion = (part.detach().double().cpu().numpy() for part in parameters.unbind(-1))
        k = (count + ROUNDED).floor().double().cpu().numpy()
        found = scipy("special").betainc(1 / dispersion, k.clip(0) + 1, 1 / (1 + dispersion * mean))
        return torch.as_tensor(found * (k >= 0)).to(parameters)

    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        if bool((location != 0).any()):
            raise ConfigError(
                "counts cannot be shifted: expected a location of 0; scale series by 'mean' or 'none'"
            )
        mean, dispersion = parameters.unbind(-1)
        return torch.stack([mean * scale, dispersion / scale.sqrt()], -1)


def _hypergeometric(a: Array, z: Array) -> Array:
    """2F1(a, 1/2; 2; -z). Where a is large scipy's has no value; there the integral is summed up instead:

        4 / pi integral from 0 to pi / 2 of cos(t)^2 (1 + z sin(t)^2)^(-a)        sqrt(z) sin(t) = sinh(u)

    by the trapezoid rule, over t where z is small and over u where it is large. Both integrands are smooth, even,
    and periodic or gone at the end. There its error falls exponentially (Trefethen and Weideman 2014).
    """
    found = scipy("special").hyp2f1(a, 0.5, 2, -z)
    for wide, integral in ((a * z < NARROW, _over_angle), (a * z >= NARROW, _over_growth)):
        place = (a > LARGE) & wide
        found = np.where(place, integral(np.where(place, a, LARGE), np.where(place, z, 1.0)), found)
    return found


def _over_angle(a: Array, z: Array) -> Array:
    t = (np.arange(POINTS) + 0.5) * math.pi / (2 * POINTS)
    heights = np.cos(t) ** 2 * np.exp(-a[..., None] * np.log1p(z[..., None] * np.sin(t) ** 2))
    return 2 * heights.mean(-1)


def _over_growth(a: Array, z: Array) -> Array:
    end = 9 / np.sqrt(2 * a)  # where the integrand is below 1e-17
    u = (np.arange(POINTS) + 0.5) / POINTS * end[..., None]
    cosine = np.sqrt((1 - np.sinh(u) ** 2 / z[..., None]).clip(0))
    heights = cosine * np.exp((1 - 2 * a[..., None]) * np.log(np.cosh(u)))
    return 4 / math.pi * heights.mean(-1) * end / np.sqrt(z)


def _whole(target: Tensor) -> Tensor:
    """The counts in float64. Raises DataError if one is negative or not whole."""
    whole = target.double().round()
    wrong = (whole < 0) | ((target - whole).abs() > ROUNDED * whole.clamp(min=1))
    if bool(wrong.any()):
        example = float(target[wrong].flatten()[0])
        raise DataError(
            f"a negative binomial distribution forecasts counts: expected whole numbers from 0, got {example:g}; "
            "forecast such a series with gaussian, student_t, mixture or quantiles"
        )
    return whole
