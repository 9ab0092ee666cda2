"""Pictures of measured memory: over length and width, while learning, and beyond the practised length."""

from collections.abc import Callable
from pathlib import Path

import matplotlib

from recurra import files
from recurra.diagnose.memory_report import MemoryReport, Outcome
from recurra.diagnose.probes import Probe
from recurra.errors import ConfigError

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import NullFormatter, NullLocator

__all__ = ["draw_generalisation", "draw_heat_map", "draw_learning"]

# Okabe and Ito's colours, which people with every kind of colour vision can tell apart; markers say it again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
MOST_COLUMNS = 5


def skill(probe: Probe, score: float) -> float:
    """0 for a guess, 1 for perfect answers, whatever the measure."""
    share = (score - probe.chance) / (1 - probe.chance) if probe.classes else 1 - score / probe.chance
    return min(max(share, 0.0), 1.0)


def draw_heat_map(report: MemoryReport, path: str | Path) -> None:
    """A panel for each layer: one column a length, one row a width, the test score in each field, as a PNG."""
    _require(report)
    layers = report.layers
    columns = min(len(layers), MOST_COLUMNS)
    rows = -(-len(layers) // columns)
    cells = max(len({o.length for o in report.of(layer)}) for layer in layers)
    high = max(len({o.width for o in report.of(layer)}) for layer in layers)
    size = (max(6.4, columns * (0.75 * cells + 1.0) + 1.4), rows * (0.5 * high + 1.0) + 1.0)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, layer in zip(panels, layers, strict=False):
        image = _panel(axes, report.probe, report.of(layer))
        axes.set_title(layer.replace("_", " "), fontsize=10)
    for axes in panels[len(layers) :]:
        axes.set_axis_off()
    bar = figure.colorbar(image, ax=panels, fraction=0.03, pad=0.02, ticks=[0, 1])
    bar.ax.set_yticklabels(["a guess", "perfect"], fontsize=8)
    figure.suptitle(f"{_name(report.probe)}: {report.probe.measure} in the test", fontsize=11)
    figure.supxlabel("length (time steps)", fontsize=9)
    figure.supylabel("width (units)", fontsize=9)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _panel(axes: Axes, probe: Probe, outcomes: list[Outcome]) -> AxesImage:
    lengths = sorted({outcome.length for outcome in outcomes})
    widths = sorted({outcome.width for outcome in outcomes}, reverse=True)
    grid = [[float("nan")] * len(lengths) for _ in widths]
    axes.set_facecolor("#dddddd")
    for outcome in outcomes:
        x, y = lengths.index(outcome.length), widths.index(outcome.width)
        level = 0.0
        if outcome.score is not None:
            level = grid[y][x] = skill(probe, outcome.score)
        text = outcome.ending if outcome.score is None else _number(outcome.score)
        small = len(text) > 5
        ink = "black" if outcome.score is None or level > 0.55 else "white"
        axes.text(x, y, text, ha="center", va="center", fontsize=6.5 if small else 8.5, color=ink)
    image = axes.imshow(grid, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], fontsize=8)
    axes.set_yticks(range(len(widths)), [f"{width:,}" for width in widths], fontsize=8)
    axes.tick_params(length=0)
    for x in range(1, len(lengths)):
        axes.axvline(x - 0.5, color="white", linewidth=1.5)
    for y in range(1, len(widths)):
        axes.axhline(y - 0.5, color="white", linewidth=1.5)
    return image


def _number(score: float) -> str:
    return f"{score:.0e}" if 0 < score < 0.0005 else f"{score:.3f}" if score < 0.01 else f"{score:.2f}"


def draw_learning(report: MemoryReport, path: str | Path) -> None:
    """A line for each network: its validation score over the steps of its practice, as a PNG."""
    _require(report)
    _lines(report, path, "optimizer steps", lambda o: [(x, y) for x, y in o.curve if y is not None], "validation")


def draw_generalisation(report: MemoryReport, path: str | Path) -> None:
    """A line for each network: its test score over lengths, those it practised and those it never saw, as a PNG."""
    _require(report)
    _lines(report, path, "length (time steps)", _over_lengths, "test")


def _over_lengths(outcome: Outcome) -> list[tuple[int, float]]:
    scores = {**outcome.elsewhere, outcome.length: outcome.score}
    return sorted((length, score) for length, score in scores.items() if score is not None)


def _lines(
    report: MemoryReport,
    path: str | Path,
    below: str,
    points: Callable[[Outcome], list[tuple[int, float]]],
    part: str,
) -> None:
    probe = report.probe
    figure = Figure(figsize=(7.6, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i, outcome in enumerate(report.outcomes):
        line = points(outcome)
        if not line:
            continue
        colour = COLOURS[report.layers.index(outcome.layer) % len(COLOURS)]
        above = max(0, 4 - i)  # the first marks are larger, so that lines on the same way show round each other
        axes.plot(
            *zip(*line, strict=True),
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            markersize=4 + 1.6 * above,
            markerfacecolor="none" if above else colour,
            markevery=max(1, len(line) // 12),
            linewidth=1.5,
            label=_label(report, outcome),
        )
    axes.axhline(probe.chance, color="#666666", linewidth=1, linestyle=":", label="a guess")
    axes.axhline(probe.solved, color="#666666", linewidth=1, linestyle="--", label="solved")
    if "length" in below:
        _lengths_axis(axes, report)
    if probe.classes:
        axes.set_ylim(-0.02, 1.04)
    else:
        axes.set_yscale("log")
    axes.set_xlabel(below)
    axes.set_ylabel(f"{probe.measure} ({part})")
    axes.set_title(_heading(report), fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _lengths_axis(axes: Axes, report: MemoryReport) -> None:
    practised = sorted({outcome.length for outcome in report.outcomes})
    lengths = sorted({length for outcome in report.outcomes for length, _ in _over_lengths(outcome)})
    axes.set_xscale("log", base=2)
    names = [f"{length:,}\npractised" if length in practised else f"{length:,}" for length in lengths]
    axes.set_xticks(lengths, names, fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    for length in practised:
        axes.axvline(length, color="#bbbbbb", linewidth=5, alpha=0.5, zorder=0)


def _label(report: MemoryReport, outcome: Outcome) -> str:
    """What tells this network from the others: the layer, and length and width if they differ."""
    same = [o for o in report.outcomes if o.layer == outcome.layer]
    words = [outcome.layer.replace("_", " ")]
    words += [f"length {outcome.length:,}"] if len({o.length for o in same}) > 1 else []
    words += [f"width {outcome.width}"] if len({o.width for o in same}) > 1 else []
    return ", ".join(words) + (" (diverged)" if outcome.ending == "diverged" else "")


def _name(probe: Probe) -> str:
    return probe.name.replace("_", " ")


def _heading(report: MemoryReport) -> str:
    lengths = {outcome.length for outcome in report.outcomes}
    over = f", practised over {min(lengths):,} time steps" if len(lengths) == 1 else ""
    return _name(report.probe) + over


def _require(report: MemoryReport) -> None:
    if not report.outcomes:
        raise ConfigError("nothing to draw: the report has no outcomes yet")
