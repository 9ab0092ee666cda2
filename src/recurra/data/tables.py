"""Tables in files: columns of cells, with the number of each line; commas, semicolons or tabs between the cells."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from recurra.data.text import read_text
from recurra.errors import DataError

__all__ = ["Table", "read_table"]

CHUNK = 200  # lines that become columns at a time; 10,000 leave the processor's cache and take five times as long


@dataclass(frozen=True)
class Table:
    """The cells of the first line, the columns below it, and for each of their cells the number of its line."""

    first: tuple[str, ...]
    columns: tuple[list[str], ...]
    lines: list[int]


def read_table(path: Path) -> Table:
    """A table without its blank lines. Raises DataError for a line with more or fewer cells than the first."""
    text = read_text(path)
    line = text.lstrip("\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=line.count), strict=True)
    chunk: list[list[str]] = []
    lines: list[int] = []
    try:
        first = tuple(next(cells for cells in reader if cells))
        columns: tuple[list[str], ...] = tuple([] for _ in first)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(first):
                where = f"{path}, line {reader.line_num}"
                raise DataError(f"{where}: expected {len(first)} cells as in the first line, got {len(cells)}")
            chunk.append(cells)
            lines.append(reader.line_num)
            if len(chunk) == CHUNK:
                _move(chunk, columns)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    _move(chunk, columns)
    return Table(first, columns, lines)


def _move(chunk: list[list[str]], columns: tuple[list[str], ...]) -> None:
    for column, cells in zip(columns, zip(*chunk, strict=True), strict=False):
        column.extend(cells)
    chunk.clear()
