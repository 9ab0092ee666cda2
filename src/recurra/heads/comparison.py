"""Whether one forecast is better than another, or only looks so on these days (Diebold and Mariano 1995)."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.errors import DataError, ShapeError
from recurra.heads.output import scipy

__all__ = ["Comparison", "diebold_mariano"]


class Comparison(NamedTuple):
    """What the test says.

    difference  mean of the first losses less the second; below 0, the first forecast is better
    statistic   the difference over its standard error
    p_value     how likely so large a statistic, of either sign, is if both are equally good
    windows     that were compared
    kernel      how the covariances of neighbours were weighted: "flat", or "bartlett" where flat weights gave a
                variance that is not above 0
    """

    difference: float
    statistic: float
    p_value: float
    windows: int
    kernel: Literal["flat", "bartlett"]


def diebold_mariano(first: Tensor, second: Tensor, overlap: int = 1) -> Comparison:
    """Compare the losses ``(T,)`` of two forecasts of the same windows, in the order of time.

        d_t = first_t - second_t        S = mean(d) / sqrt(V / T)
        V   = c_0 + 2 sum over k = 1 .. h - 1 of w_k c_k        c_k = 1 / T sum of (d_t - mean d)(d_(t-k) - mean d)
        S*  = S sqrt((T + 1 - 2 h + h (h - 1) / T) / T)         against Student's t with T - 1 degrees of freedom

    The last line is the correction for small samples of Harvey, Leybourne and Newbold (1997). Errors of forecasts
    that overlap depend on each other, so the variance V counts covariances of neighbours: with w_k = 1, as in the
    paper, and if V is then not above 0 with w_k = 1 - k / h, which cannot be below it (Newey and West 1987).

    overlap  h, windows that share a target: the horizon for windows one step apart, 1 for windows a horizon apart

    Before, average the losses of a window over its steps, and those of many series over the series, for each point
    in time. A window that one of them has no loss for (NaN) is left out of both. Forecasts without any difference
    get a statistic of 0 and a p-value of 1. Raises DataError if there are not more windows than the overlap, and
    more than 2.
    """
    if first.shape != second.shape or first.dim() != 1:
        raise ShapeError(
            f"diebold_mariano: expected two rows of losses (T,), got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    d = (first.double() - second.double()).cpu()
    d = d[~d.isnan()]
    count = len(d)
    if overlap < 1 or count <= max(overlap, 2):
        raise DataError(
            f"diebold_mariano: expected more than {max(overlap, 2)} windows for an overlap of {overlap}, "
            f"got {count}; use a longer test part or windows that lie further apart"
        )
    difference = float(d.mean())
    if not bool(d.any()):
        return Comparison(0.0, 0.0, 1.0, count, "flat")
    variance, kernel = _variance(d - difference, overlap)
    shrink = math.sqrt((count + 1 - 2 * overlap + overlap * (overlap - 1) / count) / count)
    error = math.sqrt(variance / count)
    statistic = shrink * difference / error if error else math.copysign(math.inf, difference)
    p_value = 2 * float(scipy("special").stdtr(count - 1, -abs(statistic)))
    return Comparison(difference, statistic, p_value, count, kernel)


def _variance(centred: Tensor, overlap: int) -> tuple[float, Literal["flat", "bartlett"]]:
    """V, and how it was weighted."""
    count = len(centred)
    covariances = torch.stack([centred[k:] @ centred[: count - k] for k in range(overlap)]) / count
    flat = float(covariances[0] + 2 * covariances[1:].sum())
    if flat > 0:
        return flat, "flat"
    weights = 1 - torch.arange(1, overlap, dtype=torch.float64) / overlap
    return max(0.0, float(covariances[0] + 2 * (weights * covariances[1:]).sum())), "bartlett"
