"""Tables as files hold them: comma or tab separated, read strictly, so that no row goes astray unseen."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from recurra.errors import DataError

__all__ = ["line", "read_lines", "read_rows", "read_table"]


def line(text: str) -> str:
    """A text on one line: each stretch of white space becomes one space."""
    return " ".join(text.split())


def read_table(path: Path, names: list[str], encoding: str = "utf-8") -> Iterator[list[str]]:
    """The rows of a table with commas and quotes (CSV) whose first row is ``names``.

    Raises DataError for another first row, a row with more or fewer columns, or bytes of another encoding.
    """
    rows = read_rows(path, len(names), encoding)
    first = next(rows, [])
    if first != names:
        raise DataError(f"{path.name}: expected the columns {names} in line 1, got {first}")
    yield from rows


def read_rows(path: Path, columns: int, encoding: str = "utf-8") -> Iterator[list[str]]:
    """The rows of a table with commas and quotes (CSV) that has no names. Raises DataError as `read_table` does."""
    reader = csv.reader(io.StringIO(_decode(path, encoding), newline=""), strict=True)
    try:
        for row in reader:
            if len(row) != columns:
                raise DataError(f"{path.name}, line {reader.line_num}: expected {columns} columns, got {len(row)}")
            yield row
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: {error}") from error


def read_lines(path: Path, columns: int, encoding: str = "utf-8") -> Iterator[list[str]]:
    """The columns of a file with tabs and neither quotes nor names. Raises DataError as `read_table` does."""
    text = _decode(path, encoding).replace("\r\n", "\n")
    for number, row in enumerate(text.removesuffix("\n").split("\n"), 1):
        cells = row.split("\t")
        if len(cells) != columns:
            raise DataError(f"{path.name}, line {number}: expected {columns} columns, got {len(cells)}")
        yield cells


def _decode(path: Path, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: expected the encoding {encoding}: {error}") from error
