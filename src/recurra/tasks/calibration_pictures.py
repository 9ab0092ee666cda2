"""Whether forecasts mean what they say, as pictures: calibration, and a model that merely copies yesterday."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from recurra.errors import DataError
from recurra.heads.forecast_scores import share
from recurra.tasks.forecast_pictures import BLUE, GREY, ORANGE, finish_time, save

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_calibration", "draw_copying"]

Array = NDArray[Any]
SHIFTS = range(-3, 8)  # steps by which a forecast may be late


def draw_calibration(
    pit: Array, coverage: Sequence[tuple[float, float]], path: str | Path, windows: int = 0
) -> None:
    """Draw the histogram of the probability integral transform, and how much intervals really hold, as a PNG.

    pit       any shape, from 0 to 1; NaN where the target is missing
    coverage  (share that was promised, share that was held) of intervals
    windows   independent cases, for the dashed lines, between which 95 % of the bars of right forecasts lie;
              0: as many as numbers
    """
    known = np.asarray(pit, dtype=np.float64).ravel()
    known = known[np.isfinite(known)]
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _histogram(left, known, windows or len(known))
    _held(right, coverage)
    save(figure, path)


def _histogram(axes: Axes, pit: Array, independent: int) -> None:
    bins = 10 if independent < 400 else 20
    heights, edges = np.histogram(pit, bins, (0, 1))
    axes.bar(edges[:-1], heights * bins / max(1, len(pit)), 1 / bins, align="edge", color=BLUE, edgecolor="white")
    half = 1.96 * np.sqrt((1 - 1 / bins) * bins / max(1, independent))
    for height, style in ((1, "-"), (1 - half, "--"), (1 + half, "--")):
        axes.axhline(height, color=ORANGE, linewidth=1, linestyle=style)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, 1)
    axes.set_xlabel("where the target fell in its forecast: 0 lowest, 1 highest")
    axes.set_ylabel("density; 1 if right")
    axes.set_title("humped: too wide    U: too narrow    sloped: too high or low", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _held(axes: Axes, coverage: Sequence[tuple[float, float]]) -> None:
    promised, held = (100 * np.array(sorted(coverage), dtype=np.float64).reshape(-1, 2)).T
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    axes.plot(promised, held, "o-", color=BLUE)
    for x, y in zip(promised, held, strict=True):
        below = y < x
        axes.annotate(
            f"{y:.1f}",
            (x, y),
            xytext=(7, -4) if below else (-7, 4),
            textcoords="offset points",
            ha="left" if below else "right",
            va="top" if below else "bottom",
            fontsize=8,
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_aspect("equal")
    axes.set_xlabel("share that intervals promise, %")
    axes.set_ylabel("share that they hold, %")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def draw_copying(
    stamps: Array, series: Array, forecast: Array, path: str | Path, name: str = "", last: int = 80
) -> None:
    """Draw what forecasts of the next value are worth that look right on a chart, as a PNG.

    Above, the last values with their forecasts. Below left, the error if each forecast were for another step: a
    model that copies yesterday is best a step late. Right, the changes it said against those that came: a cloud.

    stamps, series  (T,)
    forecast        (T,)  of each value, made a step before; NaN where there is none

    Raises DataError if not one forecast can be compared with a value.
    """
    if not np.isfinite(forecast + series).any():
        raise DataError("expected forecasts of values that are known, got none to compare")
    figure = Figure(figsize=(10, 7), dpi=120, layout="constrained")
    places = figure.subplot_mosaic([["above", "above"], ["late", "cloud"]], height_ratios=[1.1, 1])
    above = places["above"]
    shown = slice(max(0, len(series) - last), len(series))
    above.plot(stamps[shown], series[shown], color=GREY, linewidth=1.4, marker=".", label="what came")
    above.plot(stamps[shown], forecast[shown], color=ORANGE, linewidth=1.4, label="forecast made a step before")
    above.set_title(name, fontsize=10, loc="left")
    above.legend(frameon=False, fontsize=9)
    finish_time(above, stamps[shown])
    _late(places["late"], series, forecast)
    _cloud(places["cloud"], series, forecast)
    save(figure, path)


def _late(axes: Axes, series: Array, forecast: Array) -> None:
    errors = [_error(series, forecast, shift) for shift in SHIFTS]
    best = int(np.nanargmin(errors))
    colours = [ORANGE if place == best else "0.7" for place in range(len(errors))]
    axes.bar(list(SHIFTS), errors, color=colours)
    steps = SHIFTS[best]
    late = f"{abs(steps)} step{'s' * (abs(steps) > 1)} {'late' if steps > 0 else 'early'}"
    said = late if steps else "the step that it is for"
    axes.set_title(f"the forecast fits best {said}", fontsize=10, loc="left")
    axes.set_xlabel("compared with the value so many steps before")
    axes.set_ylabel("mean absolute error")
    axes.set_xticks(list(SHIFTS))
    axes.spines[["top", "right"]].set_visible(False)


def _error(series: Array, forecast: Array, shift: int) -> float:
    """The error if each forecast were for the value ``shift`` steps before the one that it is for."""
    moved = np.full(len(series), np.nan)
    if shift >= 0:
        moved[shift:] = series[: len(series) - shift]
    else:
        moved[:shift] = series[-shift:]
    off = np.abs(forecast - moved)
    return float(np.nanmean(off)) if np.isfinite(off).any() else np.nan


def _cloud(axes: Axes, series: Array, forecast: Array) -> None:
    said, came = forecast[1:] - series[:-1], np.diff(series)
    known = np.isfinite(said) & np.isfinite(came)
    said, came = said[known], came[known]
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.plot(said, came, ".", color=BLUE, alpha=0.5, markersize=4)
    moved = (came != 0) & (said != 0)
    right = share(float((np.sign(said) == np.sign(came))[moved].sum()), int(moved.sum()))
    related = float(torch.corrcoef(torch.as_tensor(np.stack([said, came])))[0, 1]) if len(said) > 1 else np.nan
    axes.set_title(
        f"correlation {related:+.2f}; direction right {right.share:.0%} ({right.lower:.0%} to {right.upper:.0%})",
        fontsize=10,
        loc="left",
    )
    axes.set_xlabel("change that was said")
    axes.set_ylabel("change that came")
    axes.spines[["top", "right"]].set_visible(False)
