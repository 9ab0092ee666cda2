"""Back-tests: what a forecaster and simple baselines would have said at many moments of held-out series."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError
from recurra.heads.forecast_scores import naive_error
from recurra.tasks.forecast_baselines import BASELINES
from recurra.tasks.forecast_measure import Backtest, Forecasts
from recurra.tasks.forecast_windows import HeldOut

__all__ = ["back_test"]

Array = NDArray[np.float64]


def back_test(
    windows: HeldOut,
    said: tuple[Forecasts, Tensor],
    season: int,
    baselines: Sequence[str],
    say: Callable[[str], None],
) -> Backtest:
    """What came after the cut of each window, and what the network and each baseline had said of it.

    said  by the network, and the levels (Q,) of its quantiles
    say   gets a line for a baseline that cannot forecast one of the series, and is left out
    """
    (forecasts, levels), horizon = said, said[0].mean.shape[1]
    found = {"": forecasts}
    for name in baselines:
        try:
            found[name] = _baseline(name, windows, season, horizon, levels)
        except DataError as error:
            say(f"baseline left out: {error}")
    series, rows = windows.panel.series, windows.rows
    places = list(zip(rows.tolist(), windows.ends.tolist(), strict=True))
    target = np.stack([_after(series[row].y, end, horizon) for row, end in places])
    known = [torch.from_numpy(one.y[:end]) for one, end in zip(series, windows.training.tolist(), strict=True)]
    units = torch.stack([naive_error(y, season) for y in known])
    stamps = torch.tensor([int(series[row].stamps[end - 1]) for row, end in places])
    return Backtest(rows, windows.ends, stamps, torch.from_numpy(target), units[rows], levels.double(), found)


def _after(y: Array, end: int, horizon: int) -> Array:
    """The values ``(H,)`` after a step, NaN after the last."""
    found = np.full(horizon, np.nan)
    there = y[end : end + horizon]
    found[: len(there)] = there
    return found


def _baseline(name: str, windows: HeldOut, season: int, horizon: int, levels: Tensor) -> Forecasts:
    rows, ends = windows.rows.numpy(), windows.ends.numpy()
    mean, quantiles = np.empty((len(rows), horizon)), np.empty((len(rows), horizon, len(levels)))
    for row in np.unique(rows):
        series, here = windows.panel.series[row], rows == row
        try:
            baseline = BASELINES[name](season).fit(series.y[: int(windows.training[row])], horizon)
            mean[here], quantiles[here] = baseline.back_test(series.y, ends[here] - 1, horizon, levels.tolist())
        except DataError as error:
            raise DataError(f"series {series.name!r}: {error}") from error
    return Forecasts(torch.from_numpy(mean), torch.from_numpy(quantiles))
