"""Forecasts to look at: fans, back-test windows, error by horizon.

Everything comes as plain arrays. Stamps are ``datetime64`` or numbers, values are in the units of the series,
missing ones are NaN, and levels of quantiles rise.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray

from recurra import files

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "Fan",
    "draw_back_test",
    "draw_error_by_step",
    "draw_fans",
    "intervals",
    "save",
]

Array = NDArray[Any]
BLUE, ORANGE, GREY = "tab:blue", "tab:orange", "0.25"
PANELS = 6  # fans of a picture
MOST_BANDS = 4  # more shades cannot be told apart


class Fan(NamedTuple):
    """One forecast: what was known, and what is said of the steps ahead.

    name       of the series
    stamps     (T,)    of the history
    history    (T,)
    ahead      (H,)    stamps of the steps ahead
    quantiles  (H, Q)
    target     (H,)    what came, or None if nobody knows yet
    """

    name: str
    stamps: Array
    history: Array
    ahead: Array
    quantiles: Array
    target: Array | None = None


def draw_fans(fans: Sequence[Fan], levels: Sequence[float], path: str | Path, unit: str = "") -> None:
    """Draw the first six forecasts as a PNG, each with its history before it and intervals that widen."""
    shown = fans[:PANELS]
    columns = 1 if len(shown) < 3 else 2
    rows = max(1, -(-len(shown) // columns))
    size = (9.0 if columns == 1 else 12.0, 0.9 + 2.8 * rows)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, fan in zip(grid.flat, shown, strict=False):
        _fan(axes, fan, levels)
        axes.set_ylabel(unit)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_axis_off()
    _legend(figure, list(grid.flat))
    save(figure, path)


def _legend(figure: Figure, drawn: Sequence[Axes]) -> None:
    """One legend above all panels, with everything that any of them shows."""
    pairs = [pair for axes in drawn for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    named = {label: handle for handle, label in reversed(pairs)}
    labels = list(dict.fromkeys(label for _, label in pairs))
    handles = [named[label] for label in labels]
    figure.legend(handles, labels, loc="outside upper center", ncols=max(1, len(labels)), frameon=False, fontsize=9)


def _fan(axes: Axes, fan: Fan, levels: Sequence[float]) -> None:
    axes.plot(fan.stamps, fan.history, color=GREY, linewidth=1.2, label="history")
    # Both begin at the last known value, so that no gap is left between what was and what may come.
    known = np.flatnonzero(np.isfinite(fan.history))[-1:]
    begin = fan.history[known]
    stamps = np.concatenate([fan.stamps[known], fan.ahead])
    _bands(axes, stamps, np.concatenate([begin[:, None].repeat(len(levels), 1), fan.quantiles]), levels)
    if fan.target is not None:
        came, mark = np.concatenate([begin, fan.target]), "." if len(fan.ahead) <= 60 else ""
        axes.plot(stamps, came, color=ORANGE, linewidth=1.2, marker=mark, markersize=5, label="what came")
    axes.set_title(fan.name, fontsize=10, loc="left")
    finish_time(axes, np.concatenate([fan.stamps, fan.ahead]))


def _bands(axes: Axes, stamps: Array, quantiles: Array, levels: Sequence[float], named: bool = True) -> None:
    """Intervals around the median, the widest first and lightest; ``(H, Q)``."""
    pairs = intervals(levels)
    chosen = pairs if len(pairs) <= MOST_BANDS else [pairs[i] for i in _spread(len(pairs), MOST_BANDS)]
    for place, (low, high, share) in enumerate(chosen):
        alpha = 0.16 + 0.14 * place
        label = f"{share:.0%}" if named else None
        axes.fill_between(
            stamps, quantiles[:, low], quantiles[:, high], color=BLUE, alpha=alpha, linewidth=0, label=label
        )
    middle = int(np.abs(np.asarray(levels) - 0.5).argmin())
    axes.plot(stamps, quantiles[:, middle], color=BLUE, linewidth=1.6, label="median" if named else None)


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def intervals(levels: Sequence[float]) -> list[tuple[int, int, float]]:
    """(place of the lower end, of the upper end, share) of intervals around the median, the widest first."""
    found = []
    for low, level in enumerate(levels):
        high = int(np.abs(np.asarray(levels) - (1 - level)).argmin())
        if level < 0.5 and abs(levels[high] - (1 - level)) < 1e-6:
            found.append((low, high, levels[high] - level))
    return found


def draw_back_test(
    stamps: Array,
    series: Array,
    origins: Sequence[int],
    quantiles: Array,
    levels: Sequence[float],
    path: str | Path,
    name: str = "",
) -> None:
    """Draw windows of a back-test over the series ``(T,)`` as a PNG, one after the other.

    A window that would overlap one that is drawn is left out.

    origins    (N,)       places of the last value that each window knew
    quantiles  (N, H, Q)  its forecasts
    """
    horizon, drawn = quantiles.shape[1], -1
    figure = Figure(figsize=(12, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for place in np.argsort(origins, kind="stable"):
        begin, end = origins[place] + 1, min(origins[place] + 1 + horizon, len(stamps))
        if begin < drawn or begin >= end:
            continue
        _bands(axes, stamps[begin:end], quantiles[place, : end - begin], levels, named=drawn < 0)
        axes.axvline(stamps[begin], color="0.75", linewidth=0.6, zorder=0)
        drawn = end
    first = max(0, min(origins, default=0) - horizon)
    last = max(drawn, first + 1)
    axes.plot(stamps[first:last], series[first:last], color=GREY, linewidth=1.0, label="what came")
    axes.set_title(name, fontsize=10, loc="left")
    finish_time(axes, stamps[first:last])
    _legend(figure, [axes])
    save(figure, path)


def draw_error_by_step(errors: Mapping[str, Array], path: str | Path, measure: str = "MAE", own: str = "") -> None:
    """Draw the error of each step of the horizon ``(H,)`` as a PNG, a line for each forecast.

    own  the name of the forecast that is drawn in front
    """
    figure = Figure(figsize=(7.5, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    others = [f"C{i}" for i in range(1, 10)]
    highest = max((float(np.nanmax(values)) for values in errors.values()), default=1.0)
    for name, values in errors.items():
        steps = np.arange(1, len(values) + 1)
        style: dict[str, Any] = {"color": others[list(errors).index(name) % 9], "linewidth": 1.2, "alpha": 0.9}
        if name == own:
            style = {"color": BLUE, "linewidth": 2.4, "zorder": 3}
        axes.plot(steps, values, marker="." if len(values) <= 48 else "", label=name.replace("_", " "), **style)
    axes.set_ylim(0, 1.05 * highest)
    axes.set_xlabel("steps ahead")
    axes.set_ylabel(measure)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def finish_time(axes: Axes, stamps: Array) -> None:
    """Give an axis of time few and short dates, and nothing that distracts."""
    if np.issubdtype(np.asarray(stamps).dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=9)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: str | Path) -> None:
    """Write a picture whole or not at all."""
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
