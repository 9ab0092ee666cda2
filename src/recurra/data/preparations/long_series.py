"""Series to forecast as one long table, ``series.csv``: ``unique_id``, ``ds``, and a column for each quantity."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from recurra.errors import DataError

__all__ = ["missing", "write"]

FILE = "series.csv"


def write(target: Path, quantities: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write rows ``(series, stamp, quantities ...)``; an empty cell is missing. Raises DataError without any."""
    count = 0
    with (target / FILE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["unique_id", "ds", *quantities])
        for row in rows:
            writer.writerow(row)
            count += 1
    if not count:
        raise DataError("the table of the package has no rows")


def missing(cell: str) -> str:
    """A cell with nothing in it if it says that there is nothing."""
    return "" if cell == "NA" else cell
