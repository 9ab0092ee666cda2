"""What forecasts of held-out values were worth: those of the network beside those of simple baselines."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.heads import forecast_scores as scores
from recurra.heads import quantile_function
from recurra.heads.comparison import diebold_mariano
from recurra.tasks.forecast_coming import edges

__all__ = ["Backtest", "Forecasts", "compared", "scored", "standardised"]


class Forecasts(NamedTuple):
    """What was said at N origins: mean ``(N, H)`` and quantiles ``(N, H, Q)``, in the units of the series."""

    mean: Tensor
    quantiles: Tensor


class Backtest(NamedTuple):
    """What came after N origins, and what each forecaster had said.

    rows    (N,) which series of the panel
    ends    (N,) how many of its steps were known
    stamps  (N,) int64, of the last of these
    target  (N, H), NaN where it is missing
    unit    (N,) mean absolute change from one season to the next in the training part of the series, for MASE
    levels  (Q,) of the quantiles, rising
    said    by forecaster, the network under the name ""
    """

    rows: Tensor
    ends: Tensor
    stamps: Tensor
    target: Tensor
    unit: Tensor
    levels: Tensor
    said: Mapping[str, Forecasts]

    def median(self, name: str = "") -> Tensor:
        """The median of a forecaster ``(N, H)``."""
        return self.at(0.5, name)

    def at(self, level: float, name: str = "") -> Tensor:
        """A quantile of a forecaster ``(N, H)``."""
        asked = self.levels.new_tensor([level])
        return quantile_function.interpolate(self.said[name].quantiles, self.levels, asked)[..., 0]

    def variance(self, name: str = "") -> Tensor:
        """The variance of a forecaster's distribution ``(N, H)``."""
        return quantile_function.variance(self.said[name].quantiles, self.levels)

    def crps(self, name: str = "") -> Tensor:
        """Of a forecaster ``(N, H)``, NaN where the target is missing."""
        return quantile_function.crps(self.said[name].quantiles, self.levels, self.target)


def scored(test: Backtest, intervals: Sequence[float], name: str = "", returns: bool = False) -> dict[str, float]:
    """The numbers of one forecaster. Absolute errors are those of its median, squared errors those of its mean.

    mae, mase, smape      of the median
    rmse                  of the mean
    wql, crps             of the whole distribution
    qlike                 of ``returns``: of the variance, beside the squared return
    direction             of ``returns``: how often the sign of the mean is right; _low and _high: 95 % confidence
    coverage_80           share of the values in the interval that shall hold 80 %
    width_80              how wide it is, on average
    """
    said, median, target = test.said[name], test.median(name), test.target
    found = {
        "mae": scores.mae(target, median),
        "rmse": scores.rmse(target, said.mean),
        "mase": scores.mase(target, median, test.unit),
        "smape": scores.smape(target, median),
        "wql": scores.weighted_quantile_loss(target, said.quantiles, test.levels),
        "crps": float(test.crps(name).nanmean()),
    }
    if returns:
        found |= _of_returns(test, name)
    for level in intervals:
        low, high = (test.at(edge, name) for edge in edges(level))
        found[f"coverage_{level:g}"] = scores.coverage(target, low, high)
        found[f"width_{level:g}"] = scores.width(target, low, high)
    return found


def standardised(test: Backtest, scale: Tensor) -> dict[str, float]:
    """Mean squared and absolute errors in deviations of the training part ``scale (N,)``, of each forecaster.

    Series of different units have a common mean only so; tables of papers on long horizons are in these units.
    """
    found = {}
    for name, said in test.said.items():
        prefix = f"{name}." if name else ""
        found[f"{prefix}scaled_mse"] = float(((test.target - said.mean) / scale[:, None]).square().nanmean())
        found[f"{prefix}scaled_mae"] = float(((test.target - test.median(name)) / scale[:, None]).abs().nanmean())
    return found


def _of_returns(test: Backtest, name: str) -> dict[str, float]:
    """Each value counts once for the sign: its confidence takes values for independent."""
    apart = _apart(test)
    right = scores.direction_accuracy(test.target[apart], test.said[name].mean[apart])
    found = {"qlike": scores.qlike(test.target.square(), test.variance(name)), "direction": right.share}
    return found | {"direction_low": right.lower, "direction_high": right.upper}


def _apart(test: Backtest) -> Tensor:
    """The windows ``(M,)`` of each series that share no target with the one before."""
    horizon, chosen, last = test.target.shape[1], [], (-1, -1)
    for place, (row, end) in enumerate(zip(test.rows.tolist(), test.ends.tolist(), strict=True)):
        if row != last[0] or end >= last[1] + horizon:
            chosen.append(place)
            last = (row, end)
    return torch.tensor(chosen, dtype=torch.long)


def compared(test: Backtest, intervals: Sequence[float], overlap: int, returns: bool = False) -> dict[str, float]:
    """The numbers of the network, then those of each baseline as ``name.number``, then whether it beats the best.

    overlap    windows of a series that share a target
    returns    compare by the CRPS, not by the MAE
    p_value    of the test of Diebold and Mariano: how likely chance alone makes so large a difference to the best
               baseline; missing if there are too few windows for it
    """
    by = "crps" if returns else "mae"
    found = scored(test, intervals, "", returns)
    rivals = {name: scored(test, intervals, name, returns) for name in test.said if name}
    for name, numbers in rivals.items():
        found |= {f"{name}.{key}": value for key, value in numbers.items()}
    if rivals:
        best = min(rivals, key=lambda name: rivals[name][by])
        mine, other = (_losses(test, name, by) for name in ("", best))
        if len(mine) > max(2, overlap):
            found["p_value"] = diebold_mariano(mine, other, overlap).p_value
    return found


def _losses(test: Backtest, name: str, by: str) -> Tensor:
    """The mean loss of each moment, over steps and series, in the order of time."""
    each = test.crps(name) if by == "crps" else (test.target - test.median(name)).abs()
    moments, place = test.stamps.unique(return_inverse=True)
    known = ~each.isnan()
    total = each.new_zeros(len(moments)).index_add(0, place, torch.where(known, each, 0).sum(1))
    count = each.new_zeros(len(moments)).index_add(0, place, known.sum(1).to(each))
    return total / torch.where(count > 0, count, torch.nan)
