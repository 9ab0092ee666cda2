"""The pictures of a back-test and of an answer, out of what a task knows."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.data.frames import Panel, Series
from recurra.heads import quantile_function
from recurra.tasks.calibration_pictures import draw_calibration, draw_copying
from recurra.tasks.forecast_coming import Coming
from recurra.tasks.forecast_measure import Backtest, Forecasts
from recurra.tasks.forecast_pictures import Fan, draw_back_test, draw_error_by_step, draw_fans
from recurra.tasks.forecast_windows import HeldOut

__all__ = ["draw_coming", "draw_next", "draw_test"]

FANS = 6
BEFORE = 3  # horizons of history that a fan shows
WINDOWS = 12  # of a back-test that are drawn
SHARES = [*(share / 10 for share in range(1, 10)), 0.95]


def draw_test(test: Backtest, panel: Panel, folder: Path) -> list[Path]:
    """Fans, windows one after the other, errors by step, calibration.

    panel  in the units of answers
    """
    drawn = {
        "fans.png": lambda path: draw_fans(_fans(test, panel), test.levels.tolist(), path),
        "windows.png": lambda path: _draw_windows(test, panel, path),
        "error_by_step.png": lambda path: draw_error_by_step(_errors(test), path, own="forecaster"),
        "calibration.png": lambda path: _draw_calibration(test, path),
    }
    for name, draw in drawn.items():
        draw(folder / name)
    return [folder / name for name in drawn]


def draw_next(windows: HeldOut, said: Forecasts, levels: Tensor, path: Path) -> None:
    """Forecasts of the next value, made at each step of the first series, beside those that only copy the last one.

    said  at each window, quantiles at ``levels``
    """
    series, ends = windows.panel.series[int(windows.rows[0])], windows.ends.numpy()
    median = quantile_function.interpolate(said.quantiles[:, 0], levels, levels.new_tensor([0.5]))[:, 0]
    stamps = _stamps(series.stamps[ends], windows.panel)
    draw_copying(stamps, series.y[ends], median.numpy(), path, series.name)


def _stamps(values: Any, panel: Panel) -> NDArray[Any]:
    stamps = np.asarray(values)
    return stamps if panel.kind == "integer" else stamps.astype("datetime64[ns]")


def _fans(test: Backtest, panel: Panel) -> list[Fan]:
    """Windows at equal distances over the test."""
    places = torch.linspace(0, len(test.rows) - 1, min(FANS, len(test.rows))).round().long().tolist()
    return [_fan(test, panel, place) for place in places]


def _fan(test: Backtest, panel: Panel, place: int) -> Fan:
    series, end, horizon = panel.series[int(test.rows[place])], int(test.ends[place]), test.target.shape[1]
    ahead = panel.frequency.stamps(int(series.stamps[end - 1]), np.arange(1, horizon + 1))
    return _one(panel, series, end, ahead, test.said[""].quantiles[place].numpy(), test.target[place].numpy())


def _one(panel: Panel, series: Series, end: int, ahead: Any, quantiles: Any, target: Any = None) -> Fan:
    begin = max(0, end - BEFORE * len(ahead))
    history = _stamps(series.stamps[begin:end], panel)
    return Fan(series.name, history, series.y[begin:end], _stamps(ahead, panel), quantiles, target)


def draw_coming(coming: Coming, panel: Panel, path: Path) -> None:
    """Fans of what comes after the series of a panel."""
    fans = [
        _one(panel, series, len(series.y), stamps, quantiles)
        for series, stamps, quantiles in zip(panel.series, coming.stamps, coming.quantiles.numpy(), strict=True)
    ]
    draw_fans(fans, coming.levels, path)


def _draw_windows(test: Backtest, panel: Panel, path: Path) -> None:
    """The last windows of the first series."""
    mine = (test.rows == test.rows[0]).nonzero()[:, 0][-WINDOWS:]
    series, horizon = panel.series[int(test.rows[0])], test.target.shape[1]
    begin = max(0, int(test.ends[mine[0]]) - horizon)
    stop = int(test.ends[mine[-1]]) + horizon
    origins = (test.ends[mine] - 1 - begin).tolist()
    quantiles = test.said[""].quantiles[mine].numpy()
    stamps = _stamps(series.stamps[begin:stop], panel)
    draw_back_test(stamps, series.y[begin:stop], origins, quantiles, test.levels.tolist(), path, series.name)


def _errors(test: Backtest) -> dict[str, NDArray[Any]]:
    errors = {name or "forecaster": (test.target - test.median(name)).abs().nanmean(0) for name in test.said}
    return {name: values.numpy() for name, values in errors.items()}


def _draw_calibration(test: Backtest, path: Path) -> None:
    pit = quantile_function.level_of(test.said[""].quantiles, test.levels, test.target)
    inside = [float(((pit - 0.5).abs() <= share / 2)[~pit.isnan()].double().mean()) for share in SHARES]
    draw_calibration(pit.numpy(), list(zip(SHARES, inside, strict=True)), path, len(test.rows))
