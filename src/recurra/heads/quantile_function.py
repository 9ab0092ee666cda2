"""A distribution of which some quantiles are known: what lies between them, and what is read from all of it.

Between two levels, and beyond the outermost, the distribution goes on as a normal one does that passes through the
two nearest quantiles:

    Q(level) = v_i + (v_j - v_i) (z - z_i) / (z_j - z_i)        z = Phi^-1(level), the levels z_i and z_j beside it

So quantiles of a normal distribution give back that distribution, whichever levels they are for. Mean, variance and
CRPS are exact integrals of this function.
"""

import math

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from recurra.errors import ConfigError

__all__ = ["check_levels", "crps", "interpolate", "level_of", "mean", "transform", "variance"]

FAR = 40.0  # standard deviations: stands for infinity, where a normal distribution holds nothing in float64
THIN = 1e-12  # the least distance between quantiles that differ in level, as a share of their size


def check_levels(name: str, levels: Tensor | list[float] | tuple[float, ...], least: int = 2) -> Tensor:
    """Levels ``(Q,)`` in float64. Raises ConfigError if they do not rise from above 0 to below 1."""
    checked = torch.as_tensor(levels, dtype=torch.float64).cpu()
    if checked.dim() != 1 or len(checked) < least:
        raise ConfigError(f"{name}: expected {least} levels or more in a row, got {checked.tolist()}")
    if not bool(((checked > 0) & (checked < 1)).all()) or not bool((checked.diff() > 0).all()):
        raise ConfigError(f"{name}: expected levels that rise, above 0 and below 1, got {checked.tolist()}")
    return checked


def interpolate(values: Tensor, levels: Tensor, wanted: Tensor) -> Tensor:
    """Quantiles ``(..., W)`` for the levels ``wanted (W,)``, from ``values (..., Q)`` for ``levels (Q,)``."""
    z, at = _scores(values, levels), ndtri(wanted.double()).to(values)
    right = torch.searchsorted(z, at).clamp(1, len(z) - 1)
    share = (at - z[right - 1]) / (z[right] - z[right - 1])
    return values[..., right - 1] + share * (values[..., right] - values[..., right - 1])


def transform(values: Tensor, levels: Tensor, normal: Tensor) -> Tensor:
    """Standard normal numbers ``(...)`` -> numbers ``(...)`` of the distributions ``values (..., Q)``."""
    z = _scores(values, levels)
    right = torch.searchsorted(z, normal.contiguous()).clamp(1, len(z) - 1)
    share = (normal - z[right - 1]) / (z[right] - z[right - 1])
    low, high = (values.gather(-1, place[..., None])[..., 0] for place in (right - 1, right))
    return low + share * (high - low)


def level_of(values: Tensor, levels: Tensor, target: Tensor) -> Tensor:
    """The probability ``(...)`` of a number up to ``target (...)``; in the middle of a step where quantiles tie."""
    exact, y = values.double(), target.double()
    first = _score(exact, levels, y, (exact < y[..., None]).sum(-1), 0)
    last = _score(exact, levels, y, (exact <= y[..., None]).sum(-1), 1)
    return ((ndtr(first) + ndtr(last)) / 2).to(values).masked_fill(target.isnan(), torch.nan)


def _score(values: Tensor, levels: Tensor, y: Tensor, right: Tensor, side: int) -> Tensor:
    """z of y ``(...)`` on the piece up to the quantile ``right``, measured from its left (0) or right end (1)."""
    z, right = _scores(values, levels), right.clamp(1, len(levels) - 1)
    low, high = (values.gather(-1, place[..., None])[..., 0] for place in (right - 1, right))
    slope = (z[right] - z[right - 1]) / _thick(high - low, high)
    return z[right - 1 + side] + (y - (high if side else low)) * slope


def mean(values: Tensor, levels: Tensor) -> Tensor:
    """The expectation ``(...)``.

    sum over pieces a + b z of  a (Phi(high) - Phi(low)) + b (phi(low) - phi(high))
    """
    start, slope, ends = _pieces(values.double(), levels)
    return (start * ndtr(ends).diff() - slope * _density(ends).diff()).sum(-1).to(values)


def variance(values: Tensor, levels: Tensor) -> Tensor:
    """The variance ``(...)``, about the `mean`; a forecast of volatility for `forecast_scores.qlike`.

    sum over pieces a + b z of  a^2 P + 2 a b D + b^2 (P + low phi(low) - high phi(high))
    P = Phi(high) - Phi(low)        D = phi(low) - phi(high)        a without the mean
    """
    start, slope, ends = _pieces(values.double(), levels)
    p, d, tail = ndtr(ends).diff(), -_density(ends).diff(), -(ends * _density(ends)).diff()
    away = start - (start * p + slope * d).sum(-1, keepdim=True)
    return (away.square() * p + 2 * away * slope * d + slope.square() * (p + tail)).sum(-1).to(values)


def crps(values: Tensor, levels: Tensor, target: Tensor) -> Tensor:
    """The continuous ranked probability score ``(...)`` of numbers ``target (...)``; NaN where the target is.

    sum over pieces a + b z of  b (integral up to y of Phi(z)^2  +  integral from y on of (1 - Phi(z))^2)
    """
    start, slope, ends = _pieces(values.double(), levels)
    z = (target.double()[..., None] - start) / slope
    low, high = ends[:-1], ends[1:]
    # Outside the first and the last piece y may be further than FAR: there Phi(z)^2 is 1, and (1 - Phi(z))^2 is 0.
    last, first = high.clone(), low.clone()
    last[-1], first[0] = torch.inf, -torch.inf
    split = torch.minimum(torch.maximum(z, first), last)
    below = _squares(split.clamp(min=-FAR)) - _squares(low)
    above = _squares(-split.clamp(max=FAR)) - _squares(-high)
    return (slope * (below + above)).sum(-1).to(values)


def _squares(z: Tensor) -> Tensor:
    """The integral of Phi^2 up to z, which is z Phi(z)^2 + 2 phi(z) Phi(z) - Phi(sqrt(2) z) / sqrt(pi)."""
    p = ndtr(z)
    return z * p.square() + 2 * _density(z) * p - ndtr(math.sqrt(2) * z) / math.sqrt(math.pi)


def _density(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _pieces(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a and b ``(..., Q - 1)`` of each piece, and where the pieces begin and end ``(Q,)``; outside is infinity."""
    z = _scores(values, levels)
    slope = _thick(values.diff(), values[..., 1:]) / z.diff()
    ends = z.clone()
    ends[0], ends[-1] = -FAR, FAR
    return values[..., :-1] - slope * z[:-1], slope, ends


def _thick(difference: Tensor, size: Tensor) -> Tensor:
    return torch.maximum(difference, THIN * (1 + size.abs()))


def _scores(values: Tensor, levels: Tensor) -> Tensor:
    return ndtri(levels.double()).to(values)
