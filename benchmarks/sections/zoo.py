"""Cells of the literature against torchrecurrent, cell by cell, and how long the sources of both are."""

import ast
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from benchmarks.peers import peer, torch_layers
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times
from recurra import LAYERS, use_backend, zoo

__all__ = ["lines_of_code", "run"]

GRID = [((100, 1, 64), 10.0), ((100, 16, 64), 3.0)]  # T, B, H, and the target
RATIO = "torchrecurrent / recurra"

ABOUT = """
Training of a layer with as many inputs as units. Values and gradients of both agree, but for cells with a star:
there torchrecurrent has another equation under the same name, and ours was checked against its own definition.
Not in it, and so not here: {missing}.
"""
ABSENT = "torchrecurrent is not installed, so nothing was measured: `pip install 'recurra[bench]'`."
LINES = "Lines of the sources, with documentation and without"


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """A table for one row, one for batches, one of source sizes."""
    theirs, title = peer("torchrecurrent"), "The zoo against torchrecurrent"
    if theirs is None:
        return Section("zoo", title, ABSENT, [])
    names = [*theirs.LAYOUTS, *theirs.OTHERS]
    if effort.largest[0] < 100:
        names = [names[0], names[-1]]
    tables = []
    for (grid, limit), label in zip(GRID, ("One row", "Batches"), strict=True):
        rows = [_row(name, effort.shapes(grid)[0], limit, theirs, effort, say) for name in names]
        tables.append(Table(label, rows, {"": {RATIO: least(limit)}}))
    missing = ", ".join(
        kind.__name__ for name, kind in zoo.ZOO.items() if name not in theirs.LAYOUTS and name not in theirs.OTHERS
    )
    return Section("zoo", title, ABOUT.format(missing=missing), [*tables, Table(LINES, _sizes(names, theirs))])


def _row(
    name: str,
    shape: tuple[int, int, int],
    limit: float,
    theirs: ModuleType,
    effort: Effort,
    say: Callable[[str], None],
) -> Row:
    sides, pairs, oracles = _sides(name, shape, theirs)

    def values(times: Times) -> dict[str, Value]:
        return {
            "recurra ms": times.time("recurra"),
            "torchrecurrent ms": times.time("torchrecurrent"),
            RATIO: times.ratio("torchrecurrent", "recurra", least(limit)),
        }

    say(f"zoo: {name} {shape_of(*shape)}")
    star = "" if name in theirs.LAYOUTS else " *"
    return race((LAYERS[name].__name__ + star, shape_of(*shape), ""), sides, values, effort, pairs, oracles)


def _sides(
    name: str, shape: tuple[int, int, int], theirs: ModuleType
) -> tuple[dict[str, Side], list[tuple[str, str]], dict[str, Side]]:
    time, batch, hidden = shape
    x = torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))
    ours, x_first = theirs.agreeing(name, hidden), torch_layers.time_first(x)
    same = name in theirs.LAYOUTS
    other = theirs.layer_like(name, ours) if same else theirs.layer_named(theirs.OTHERS[name], hidden)
    rename = lambda of_theirs: lambda found: theirs.renamed(name, ours, found, of_theirs) if same else found
    sides: dict[str, Side] = {
        "recurra": Training(ours, lambda: ours(x)[0], rename(False)),
        "torchrecurrent": Training(other, lambda: theirs.run(other, x_first), rename(True), time_first=True),
    }
    if same:
        return sides, [("recurra", "torchrecurrent")], {}

    def definition() -> torch.Tensor:
        with use_backend("reference"):
            y: torch.Tensor = ours(x)[0]
            return y

    return sides, [("recurra", "definition")], {"definition": Training(ours, definition)}


def _sizes(names: list[str], theirs: ModuleType) -> list[Row]:
    """Lines of each cell's classes, and of the two folders as a whole."""
    rows = [_size(LAYERS[name].__name__, [LAYERS[name]], theirs.sources_of(name)) for name in names]
    files = [_files(zoo), _files(inspect.getmodule(theirs.sources_of(names[0])[0]))]
    return [*rows, _size_row("whole folders", *(("\n".join(folder)) for folder in files))]


def _files(module: Any) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(Path(inspect.getfile(module)).parent.glob("*.py"))]


def _size(name: str, ours: Iterable[type], theirs: Iterable[type]) -> Row:
    return _size_row(name, *("\n".join(map(inspect.getsource, classes)) for classes in (ours, theirs)))


def _size_row(name: str, ours: str, theirs: str) -> Row:
    exact = lambda number, unit: Value(number, number, number, unit)
    values: dict[str, Value] = {}
    for label, count in (("lines", lambda text: len(text.splitlines())), ("lines of code", lines_of_code)):
        a, b = count(ours), count(theirs)
        values |= {f"recurra {label}": exact(a, "lines"), f"torchrecurrent {label}": exact(b, "lines")}
        values[f"{label}: torchrecurrent / recurra"] = exact(b / a, "x")
    return Row(name, "", values, "whole" if name == "whole folders" else "")


def lines_of_code(source: str) -> int:
    """Lines that hold code: no documentation, no comment, not blank."""
    tree = ast.parse(source)
    texts: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            texts |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in texts for number, line in lines
    )
