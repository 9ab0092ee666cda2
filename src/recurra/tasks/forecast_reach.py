"""How far back a forecasting network looks: its forecasts when it is shown the newest steps only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from torch import Tensor

from recurra import files
from recurra.data.horizons import Window
from recurra.tasks.forecast_network import ForecastNetwork

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = ["Glimpse", "Reach", "draw_reach", "measure_reach", "newest"]

CLOSE = 0.05  # forecasts that move by less than this share of their error are the same for practical purposes
MEDIAN = 0.5


class Glimpse(NamedTuple):
    """What a network does with the newest steps alone.

    steps  of the history that it was shown
    error  mean absolute error, in the units of the scaled series
    moved  how far its forecasts are from those with the whole history, on average, in the same units
    """

    steps: int
    error: float
    moved: float


class Reach(NamedTuple):
    """`Glimpse` for histories of doubling length; the last one is the whole history."""

    glimpses: tuple[Glimpse, ...]

    @property
    def steps(self) -> int:
        """So many newest steps settle a forecast: with more it moves by less than 5 % of its error."""
        limit = CLOSE * self.glimpses[-1].error
        settled = [glimpse.steps for glimpse in self.glimpses if glimpse.moved > limit]
        later = [glimpse.steps for glimpse in self.glimpses if glimpse.steps > max(settled, default=0)]
        return min(later)

    def __str__(self) -> str:
        whole = self.glimpses[-1]
        if self.steps == whole.steps:
            return f"the network uses all {whole.steps:,} steps that it is shown; a longer history may help"
        return (
            f"the newest {self.steps:,} of {whole.steps:,} steps settle a forecast: earlier ones move it by less "
            f"than {CLOSE:.0%} of its error"
        )


@torch.no_grad()
def measure_reach(network: ForecastNetwork, windows: Sequence[Window]) -> Reach:
    """Show a network histories of 1, 2, 4, ... steps up to the longest, and compare its forecasts."""
    longest = max(int(window.lengths.max()) for window in windows)
    lengths = [2**power for power in range(longest.bit_length()) if 2**power < longest] + [longest]
    whole = [_median(network, window) for window in windows]
    return Reach(tuple(_glimpse(network, windows, whole, steps) for steps in lengths))


def _glimpse(network: ForecastNetwork, windows: Sequence[Window], whole: Sequence[Tensor], steps: int) -> Glimpse:
    error, moved, count, size = 0.0, 0.0, 0, 0
    for window, before in zip(windows, whole, strict=True):
        found = _median(network, newest(window, steps))
        off = (found - window.target).abs()
        error, count = error + float(off.nansum()), count + int((~off.isnan()).sum())
        moved, size = moved + float((found - before).abs().sum()), size + found.numel()
    return Glimpse(steps, error / max(1, count), moved / max(1, size))


def _median(network: ForecastNetwork, window: Window) -> Tensor:
    """Forecasts ``(B, H)``, by the same random numbers each time."""
    generator = torch.Generator(window.y.device).manual_seed(0)
    return network.predict(window, torch.tensor([MEDIAN]), generator=generator).quantiles[..., 0]


def newest(window: Window, steps: int) -> Window:
    """The window with the newest steps of its histories only."""
    keep = window.lengths.clamp(max=steps)
    start = window.lengths - keep
    index = start[:, None] + torch.arange(steps)
    last = max(0, window.y.shape[1] - 1)

    def taken(values: Tensor) -> Tensor:
        shape = (*index.shape, *[1] * (values.dim() - 2))
        places = index.clamp(max=last).to(values.device).view(shape)
        return values.gather(1, places.expand(*index.shape, *values.shape[2:]))

    parts = {name: taken(getattr(window, name)) for name in ("y", "seen", "past", "known")}
    return window._replace(**parts, lengths=keep)


def draw_reach(reach: Reach, path: str | Path, title: str = "", unit: str = "steps") -> None:
    """Draw the error, and how far forecasts move, by the steps that were shown, as a PNG."""
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes: Any = figure.subplots()
    steps = [glimpse.steps for glimpse in reach.glimpses]
    axes.plot(steps, [g.error for g in reach.glimpses], "o-", color="tab:blue", label="mean absolute error")
    axes.plot(steps, [g.moved for g in reach.glimpses], "s--", color="tab:orange", label="forecasts move by")
    axes.axvline(reach.steps, color="0.75", linewidth=5, zorder=0, label=f"settled after {reach.steps:,}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [f"{step:,}" for step in steps], fontsize=8)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"newest {unit} of the history that the network is shown")
    axes.set_ylabel("in units of the scaled series")
    axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
