"""How good forecasts are: errors of one number, of quantiles and samples, of intervals, volatility and direction.

Targets are missing where they are NaN, and count nowhere. A forecast that is NaN where the target is known makes
the score NaN. Each function gives one number for all windows and steps; without a known target it is NaN.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.special import ndtri

from recurra.errors import DataError, ShapeError
from recurra.heads.quantiles import pinball

__all__ = [
    "Share",
    "coverage",
    "crps_of_samples",
    "direction_accuracy",
    "interval_score",
    "mae",
    "mase",
    "mse",
    "naive_error",
    "qlike",
    "rmse",
    "share",
    "smape",
    "weighted_quantile_loss",
    "width",
]


def mae(target: Tensor, forecast: Tensor) -> float:
    """The mean absolute error; both ``(...)``. The median is the best forecast by it."""
    return _mean((_same(target, forecast) - forecast).abs(), target)


def mse(target: Tensor, forecast: Tensor) -> float:
    """The mean squared error; both ``(...)``. The mean is the best forecast by it."""
    return _mean((_same(target, forecast) - forecast).square(), target)


def rmse(target: Tensor, forecast: Tensor) -> float:
    """The square root of the mean squared error, in the target's units."""
    return math.sqrt(mse(target, forecast))


def smape(target: Tensor, forecast: Tensor) -> float:
    """The symmetric mean absolute percentage error, from 0 to 200, as in M4 (Makridakis et al. 2020).

        200 |y - f| / (|y| + |f|)        0 where both are 0

    It has a meaning for numbers that are above 0 and have a natural 0: not for degrees Celsius or returns.
    """
    off, size = (_same(target, forecast) - forecast).abs(), target.abs() + forecast.abs()
    return _mean(200 * off / torch.where(size == 0, 1, size), target)


def naive_error(history: Tensor, season: int = 1) -> Tensor:
    """The mean absolute change from one season to the next ``(...)``, of the training part ``history (..., T)``.

    mean over t of |y_t - y_(t - season)|, over the pairs of which both are known; NaN where there is none
    """
    if season < 1:
        raise ShapeError(f"naive_error: expected a season of 1 step or more, got {season}")
    return (history[..., season:] - history[..., :-season]).abs().nanmean(-1)


def mase(target: Tensor, forecast: Tensor, scale: Tensor) -> float:
    """The mean absolute scaled error (Hyndman and Koehler 2006): errors by those of a naive forecast in training.

        mean of |y - f| / scale

    target  (..., H)  and forecast
    scale   (...)     `naive_error` of each window's series, from its training part; a series that never changed
                      there has no scale (0 or NaN), and is left out
    """
    usable = torch.where(scale > 0, scale, torch.nan)[..., None]
    off = (_same(target, forecast) - forecast).abs() / usable
    return _mean(off, torch.where(usable.isnan(), torch.nan, target))


def weighted_quantile_loss(target: Tensor, quantiles: Tensor, levels: Tensor) -> float:
    """The quantile loss as a share of the size of all targets, as in DeepAR (Salinas et al. 2020).

        mean over levels q of  2 sum of max(q (y - v_q), (q - 1) (y - v_q)) / sum of |y|

    target (...), quantiles (..., Q), levels (Q,). With many levels it is the CRPS over the mean size of a target.
    """
    if quantiles.shape != (*target.shape, len(levels)):
        expected = (*target.shape, len(levels))
        raise ShapeError(f"weighted_quantile_loss: expected quantiles {expected}, got {tuple(quantiles.shape)}")
    size = _mean(target.abs(), target)
    return 2 * _mean(pinball(quantiles, levels, target).mean(-1), target) / size if size else math.nan


def crps_of_samples(samples: Tensor, target: Tensor) -> Tensor:
    """The CRPS ``(B, H)`` of the distribution that gives each sample path the same weight; NaN where the target is.

        mean over i of |x_i - y|  -  sum over i of (2 i - S - 1) x_(i) / S^2        x_(1) <= x_(2) <= ...

    samples (B, S, H), target (B, H). With few samples it is a little higher than that of the distribution they are
    from: by the S-th part of their mean distance. `quantile_function.crps` is for forecasts in quantiles.
    """
    if samples.dim() != 3 or samples[:, 0].shape != target.shape:
        raise ShapeError(
            f"crps_of_samples: expected samples (B, S, H) and target (B, H), got {tuple(samples.shape)} "
            f"and {tuple(target.shape)}"
        )
    count = samples.shape[1]
    ordered = samples.double().sort(1).values
    rank = 2 * torch.arange(1, count + 1, device=samples.device) - count - 1.0
    spread = (rank.double()[:, None] * ordered).sum(1) / count**2
    return (ordered - target[:, None]).abs().mean(1) - spread


def coverage(target: Tensor, lower: Tensor, upper: Tensor) -> float:
    """The share of known targets from lower to upper, both included; all ``(...)``."""
    inside = (_same(target, lower) >= lower) & (_same(target, upper) <= upper)
    return _mean(inside.double(), target)


def width(target: Tensor, lower: Tensor, upper: Tensor) -> float:
    """How wide intervals are on average, where the target is known; all ``(...)``."""
    _same(target, lower)
    return _mean(_same(upper, lower) - lower, target)


def interval_score(target: Tensor, lower: Tensor, upper: Tensor, level: float) -> float:
    """Width and coverage in one number, lower is better (Gneiting and Raftery 2007).

        upper - lower + 2 / a max(lower - y, 0) + 2 / a max(y - upper, 0)        a = 1 - level

    level  the share of targets that the intervals should hold, such as 0.8
    """
    outside = (lower - _same(target, lower)).clamp(min=0) + (target - upper).clamp(min=0)
    return _mean(upper - lower + 2 / (1 - level) * outside, target)


def qlike(realised: Tensor, variance: Tensor) -> float:
    """How good forecasts of a variance are, by a loss that noise in what stands for the truth cannot mislead.

        mean of log v + r / v                          (Patton 2011)

    realised (...) r, such as the squared return of the day; variance (...) v, its forecast. Raises DataError if a
    forecast is not above 0.
    """
    wrong = (variance <= 0) & ~_same(realised, variance).isnan()
    if bool(wrong.any()):
        raise DataError(f"qlike: expected forecasts of a variance above 0, got {float(variance[wrong][0]):g}")
    return _mean(variance.log() + realised / variance, realised)


class Share(NamedTuple):
    """A share of so many cases, and the interval in which the true share lies with the confidence asked for."""

    share: float
    lower: float
    upper: float
    cases: int


def share(right: float, count: int, confidence: float = 0.95) -> Share:
    """The share of cases that are right, with the interval of Wilson (1927).

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    It takes the cases for independent. Windows that overlap are not: use those that lie a horizon apart.
    """
    if not count:
        return Share(math.nan, 0.0, 1.0, 0)
    z = float(ndtri(torch.tensor((1 + confidence) / 2, dtype=torch.float64)))
    p, extra = right / count, z * z / count
    half = z * math.sqrt(p * (1 - p) / count + extra / (4 * count))
    return Share(p, (p + extra / 2 - half) / (1 + extra), (p + extra / 2 + half) / (1 + extra), count)


def direction_accuracy(change: Tensor, forecast: Tensor, confidence: float = 0.95) -> Share:
    """How often a forecast ``(...)`` of a change has the sign of the change ``(...)`` that came.

    Changes of 0 and missing ones are left out. A forecast of 0 says nothing: it is half right, as a coin would be.
    """
    moved = (_same(change, forecast) != 0) & ~change.isnan()
    agree = forecast.sign()[moved] * change.sign()[moved]
    if bool(agree.isnan().any()):
        raise DataError("direction_accuracy: a forecast is NaN where the change is known")
    return share(float((agree + 1).sum() / 2), int(moved.sum()), confidence)


def _mean(values: Tensor, target: Tensor) -> float:
    """The mean of values where the target is known, in float64."""
    return float(values[~target.isnan()].double().mean())


def _same(target: Tensor, other: Tensor) -> Tensor:
    if target.shape != other.shape:
        raise ShapeError(
            f"a score: expected forecasts of the targets' shape {tuple(target.shape)}, got {tuple(other.shape)}"
        )
    return target
