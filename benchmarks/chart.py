"""The picture of the page: how many times as long as recurra the others take, on a logarithmic axis."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.results import Section, Table, Value

__all__ = ["draw", "figure"]

COLORS = {"GRU": "#0072b2", "RNN": "#d55e00", "LSTM": "#009e73"}  # told apart by colour-blind readers too
GREY = "#555555"
MARKS = {"torch.nn": "o", "ONNX Runtime": "^", "JAX": "s", "torchrecurrent": "D"}
LEFT, RIGHT = ("training", "inference"), "zoo"  # sections, in two columns
LINE = 0.3  # inches that a line of the axis takes


class Point(NamedTuple):
    """A ratio and where it stands."""

    line: str
    ratio: Value
    kind: str
    other: str
    single: bool


def draw(sections: list[Section], path: Path) -> bool:
    """Write the picture as PNG; False if there is nothing to draw."""
    drawn = figure(sections)
    if drawn is None:
        return False
    drawn.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    return True


def figure(sections: list[Section]) -> Figure | None:
    """Training and inference on the left, the zoo on the right, as far as they were measured."""
    found = {section.name: points for section in sections if (points := list(_points(section)))}
    titles = {section.name: section.title for section in sections}
    left = [name for name in LEFT if name in found]
    columns = [column for column in (left, [RIGHT] * (RIGHT in found)) if column]
    if not columns:
        return None
    heights = [[len(_lines(found[name])) * LINE + 0.8 for name in column] for column in columns]
    drawn = Figure(figsize=(6.4 * len(columns), max(map(sum, heights)) + 0.9), layout="constrained")
    grid = drawn.add_gridspec(1, len(columns))
    for i, column in enumerate(columns):
        inner = grid[i].subgridspec(len(column), 1, height_ratios=heights[i])
        for j, name in enumerate(column):
            _panel(drawn.add_subplot(inner[j]), titles[name], found[name])
    _legend(drawn, [point for points in found.values() for point in points])
    return drawn


def _points(section: Section) -> Iterator[Point]:
    """The ratios of other libraries to recurra in a section, as far as the chart shows it."""
    for table in section.tables if section.name in (*LEFT, RIGHT) else []:
        yield from _points_of(table, section.name == RIGHT)


def _points_of(table: Table, by_name: bool) -> Iterator[Point]:
    for row in table.rows:
        for column, value in row.values.items():
            other, _, ours = column.partition(" / ")
            if ours == "recurra" and other in MARKS:
                line = row.name if by_name else row.shape
                yield Point(line, value, row.name, other, " B1 " in row.shape)


def _lines(points: list[Point]) -> list[str]:
    return list(dict.fromkeys(point.line for point in points))


def _panel(axis: Axes, title: str, points: list[Point]) -> None:
    lines = _lines(points)
    sorts = list(dict.fromkeys((p.kind, p.other) if p.kind in COLORS else (p.single,) for p in points))
    for point in points:
        sort = (point.kind, point.other) if point.kind in COLORS else (point.single,)
        shift = 0.7 * ((sorts.index(sort) + 0.5) / len(sorts) - 0.5)
        y, ratio = lines.index(point.line) + shift, point.ratio
        color = COLORS.get(point.kind, GREY)
        axis.plot([ratio.low, ratio.high], [y, y], color=color, linewidth=1, alpha=0.5)
        face = color if point.kind in COLORS or point.single else "white"
        axis.plot(ratio.median, y, MARKS[point.other], color=color, markerfacecolor=face, markersize=5)
    axis.axvline(1, color="black", linewidth=1)
    for border in range(1, len(lines)):
        axis.axhline(border - 0.5, color="#eeeeee", linewidth=0.6)
    axis.set_yticks(range(len(lines)), lines)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_title(title, loc="left", fontsize=11)
    axis.set_xlabel("time of the other / time of recurra   (right of the line, recurra is faster)")


def _legend(drawn: Figure, points: list[Point]) -> None:
    """Colours are kinds, marks are libraries, filled or not is one row or a batch; below the panels."""
    mark = lambda label, **style: Line2D([], [], linestyle="", markersize=6, label=label, **style)
    kinds = [kind for kind in COLORS if any(point.kind == kind for point in points)]
    others = [name for name in MARKS if any(point.other == name for point in points)]
    entries = [mark(kind, marker="o", color=COLORS[kind]) for kind in kinds]
    for name in others:
        if name != "torchrecurrent":
            entries.append(mark(name, marker=MARKS[name], color=GREY, markerfacecolor="white"))
            continue
        for label, face in (("one row", GREY), ("a batch", "white")):
            entries.append(mark(f"{name}, {label}", marker=MARKS[name], color=GREY, markerfacecolor=face))
    drawn.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), 5), frameon=False)
