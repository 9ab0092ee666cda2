"""Pictures of measured gradients: norms, singular values and influence over time, of one network or several."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

from recurra import files
from recurra.diagnose.advice import advise, name_layer
from recurra.diagnose.measured import SHARE, Gradients, LayerGradients
from recurra.errors import ConfigError

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw"]

# Colours that people with any kind of colour vision can tell apart (Okabe and Ito 2008), and dashes beside them.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")
FLOOR, CEILING = 1e-16, 1e16  # further away from 1 nothing is told apart
INK = "#333333"


@dataclass(frozen=True)
class _Line:
    """How one layer looks in every panel."""

    name: str
    layer: LayerGradients
    color: str
    dash: str


def draw(measured: Gradients | Mapping[str, Gradients], path: str | Path, title: str = "", most: int = 8) -> None:
    """Draw what `gradients` or `compare` found as a PNG: four panels, and below them what they mean.

    most  how many layers to show, from the bottom of the first network on
    """
    networks = {"": measured} if isinstance(measured, Gradients) else dict(measured)
    layers = [(name_layer(n, layer, r), layer) for n, r in networks.items() for layer in r.layers]
    if not layers:
        raise ConfigError("draw: expected at least one layer that was measured, got none")
    lines = [
        _Line(name, layer, COLORS[i % len(COLORS)], DASHES[i // len(COLORS) % len(DASHES)])
        for i, (name, layer) in enumerate(layers[:most])
    ]
    words = _words(measured, len(layers) - most)
    figure, axes, height = _sheet(words.count("\n") + 1, rows=-(-len(lines) // 4))
    _norms(axes[0, 0], lines)
    _influences(axes[0, 1], lines)
    _singular(axes[1, 0], lines)
    _exponents(axes[1, 1], lines)
    figure.suptitle(
        title or "Gradients through time", x=0.06, y=1 - 0.12 / height, ha="left", va="top", fontsize=14
    )
    handles, names = axes[0, 0].get_legend_handles_labels()
    corner = (0.055, 1 - 0.38 / height)
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=4,
        frameon=False,
        borderaxespad=0,
        fontsize=11,
    )
    loss = next(iter(networks.values())).loss
    figure.text(0.985, 1 - 0.16 / height, f"loss L: {loss}", fontsize=10, ha="right", va="top", color=INK)
    figure.text(0.03, 0.12 / height, words, fontsize=9.5, va="bottom", color=INK, linespacing=1.35)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png", facecolor="white"))


def _sheet(text: int, rows: int) -> tuple[Figure, Any, float]:
    """A figure with four panels, room for so many lines of text below and rows of the legend above, in inches."""
    top, bottom = 0.8 + 0.25 * rows, 0.85 + 0.2 * text
    height = top + 6.4 + bottom
    figure = Figure(figsize=(11, height), dpi=110)
    axes = figure.subplots(2, 2)
    edges = {"top": 1 - top / height, "bottom": bottom / height, "left": 0.07, "right": 0.985}
    figure.subplots_adjust(**edges, hspace=0.34, wspace=0.15)
    return figure, axes, height


def _words(measured: Gradients | Mapping[str, Gradients], hidden: int) -> str:
    lines = [
        line for finding in advise(measured) for line in textwrap.wrap(str(finding), 150, subsequent_indent="   ")
    ]
    more = [f"{hidden} more layers are in the table only."] if hidden > 0 else []
    return "\n".join([*lines, *more])


def _norms(axes: Axes, lines: list[_Line]) -> None:
    """|dL/ds_t| for every step."""
    for line in lines:
        norms = line.layer.norm_by_lag
        axes.plot(*_over_time(torch.arange(len(norms)), norms), line.dash, color=line.color, lw=2, label=line.name)
    _finish(axes, "$|dL/ds_t|$  what the loss tells each state", lines)


def _influences(axes: Axes, lines: list[_Line]) -> None:
    """|dy_T / dx_t| beside its largest, and the place where it falls under one hundredth."""
    for line in lines:
        values = line.layer.influence
        axes.plot(*_over_time(torch.arange(len(values)), values), line.dash, color=line.color, lw=2)
        if line.layer.horizon is not None:
            at = (-float(line.layer.horizon), SHARE)
            axes.plot(*at, "o", color=line.color, ms=8, mec="white", mew=1.2, zorder=5)
    axes.axhline(SHARE, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
    axes.annotate(
        "under 1 %: forgotten",
        (0.01, SHARE),
        xycoords=("axes fraction", "data"),
        xytext=(0, -5),
        textcoords="offset points",
        fontsize=9,
        va="top",
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )
    _finish(axes, "$|dy_T/dx_t|$  what an input does to the last output", lines)


def _singular(axes: Axes, lines: list[_Line]) -> None:
    """The largest singular value as a line, the band down to the median."""
    for line in lines:
        logs, lags = line.layer.singular, line.layer.lags
        largest, median = logs[:, 0].clamp(-700, 700).exp(), logs[:, 1].clamp(-700, 700).exp()
        axes.plot(*_over_time(lags, largest), line.dash, color=line.color, lw=2)
        if line.layer.whole and len(lags):
            x, low = _over_time(lags, median)
            axes.fill_between(x, low, _over_time(lags, largest)[1], color=line.color, alpha=0.09, lw=0)
            axes.plot(x, low, ":", color=line.color, lw=1.4)
    _finish(axes, "$ds_T/ds_t$  singular values: largest (line), median (dots)", lines)


def _exponents(axes: Axes, lines: list[_Line]) -> None:
    """Growth a step as bars, largest Lyapunov exponents."""
    values = [0.0 if math.isnan(line.layer.lyapunov) else line.layer.lyapunov for line in lines]
    shown = [max(min(value, 5.0), -5.0) for value in values]
    places = range(len(lines))
    axes.barh(places, shown, color=[line.color for line in lines], height=0.6, zorder=2)
    axes.axvline(0, color=INK, lw=1)
    reach = max([abs(value) for value in shown] + [0.02])
    for place, value, line in zip(places, shown, lines, strict=True):
        text = "not known" if math.isnan(line.layer.lyapunov) else f"× {line.layer.factor:.3g} a step"
        sign = 1 if value > 0 else -1
        sides = ("left", "right")[::sign]
        _beside(axes, text, (value, place), sides[0], INK)
        _beside(axes, line.name, (0.0, place), sides[1], line.color)
    axes.set_xlim(-1.7 * reach, 1.7 * reach)
    axes.set_yticks([])
    axes.set_ylim(-0.6, max(len(lines), 4) - 0.4)
    axes.invert_yaxis()
    axes.set_title("largest Lyapunov exponent, nats a step", fontsize=11, loc="left")
    axes.set_xlabel("vanishing  ←  0  →  exploding", fontsize=10)
    axes.grid(alpha=0.25, axis="x")
    axes.spines[["top", "right", "left"]].set_visible(False)


def _beside(axes: Axes, text: str, at: tuple[float, float], side: str, color: str) -> None:
    """Text that begins, or ends, at a point."""
    offset = (6, 0) if side == "left" else (-6, 0)
    axes.annotate(
        text, at, xytext=offset, textcoords="offset points", ha=side, va="center", fontsize=10, color=color
    )


def _over_time(lags: Tensor, values: Tensor) -> tuple[list[float], list[float]]:
    """Time to the right, the last step at 0; what no axis could show is cut off."""
    shown = values.double().clamp(FLOOR * FLOOR, CEILING * CEILING)
    return (-lags).tolist(), shown.tolist()


def _finish(axes: Axes, title: str, lines: list[_Line]) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, FLOOR), min(max(high, 3.0), CEILING))
    axes.set_xlim(-max(line.layer.steps for line in lines), 0)
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("time steps before the last one", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
