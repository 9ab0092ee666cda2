"""Sheets: named columns of rows, from a CSV file or from a data frame of pandas, polars or pyarrow (by narwhals).

A CSV file is read strictly and as text, so a sheet is the same whatever libraries there are. An empty cell, ``NA``,
``NaN``, ``null``, ``None`` and ``?`` are missing values.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.data.stamps import Stamps, parse, utc, wall
from recurra.data.tables import read_table
from recurra.errors import ConfigError, DataError

__all__ = ["CsvSheet", "FrameSheet", "Sheet", "frame_like", "load_narwhals", "sheet"]

MISSING = frozenset(("", "na", "nan", "n/a", "null", "none", "?", "-nan", "#n/a"))


class Sheet(ABC):
    """Named columns. ``names`` are those of the columns, ``rows`` is how many there are."""

    names: tuple[str, ...]
    rows: int
    source: str

    @abstractmethod
    def where(self, row: int) -> str:
        """How people find row number ``row``, counted from 0."""

    @abstractmethod
    def texts(self, name: str) -> list[str]:
        """A column as texts, "" where it is missing."""

    @abstractmethod
    def is_numeric(self, name: str) -> bool:
        """Whether a column holds numbers, or nothing at all."""

    @abstractmethod
    def _numbers(self, name: str) -> NDArray[np.float64]: ...

    @abstractmethod
    def stamps(self, name: str) -> Stamps:
        """A column as stamps. Raises DataError for a row without one."""

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as float64, NaN where it is missing. Raises DataError for a text, and for an infinite value."""
        values = self._numbers(name)
        if np.isinf(values).any():
            row = int(np.isinf(values).argmax())
            raise DataError(
                f"{self.where(row)}: expected a finite number for {name!r}, got {values[row]}; correct it, or "
                "leave it empty as a missing value"
            )
        return values

    def groups(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """For each row the number of its text in a column, and the texts in the order in which they came.

        Without that column all rows are of one group. Raises DataError for a row without a text.
        """
        if name not in self.names:
            return np.zeros(self.rows, dtype=np.int64), ["series"]
        texts = self.texts(name)
        if "" in texts:
            raise DataError(
                f"{self.where(texts.index(''))}: expected the name of a series in {name!r}, got nothing"
            )
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        return np.fromiter(map(numbers.__getitem__, texts), dtype=np.int64, count=len(texts)), list(numbers)

    def need(self, names: Sequence[str], what: str) -> None:
        """Raises DataError unless there are all columns ``names``."""
        for name in names:
            if name not in self.names:
                raise DataError(
                    f"{self.source}: there is no column {name!r} for {what}; there are {', '.join(self.names)}"
                )


class CsvSheet(Sheet):
    """A CSV file, or one with tabs or semicolons; its first line names the columns, unless it is all numbers."""

    def __init__(self, path: Path) -> None:
        table = read_table(path)
        self.source, self._lines, columns = str(path), table.lines, table.columns
        if all(_is_number(cell) for cell in table.first):
            self.names = tuple(str(number + 1) for number in range(len(columns)))
            columns = tuple([cell, *column] for cell, column in zip(table.first, columns, strict=True))
            self._lines = [1, *self._lines]
        else:
            self.names = tuple(name.strip() for name in table.first)
        if len(set(self.names)) < len(self.names):
            raise DataError(f"{path}, line 1: expected different names of columns, got {', '.join(self.names)}")
        self.rows = len(self._lines)
        if not self.rows:
            raise DataError(f"{path}: a header and no rows")
        self._cells = dict(zip(self.names, columns, strict=True))

    def where(self, row: int) -> str:
        return f"{self.source}, line {self._lines[row]}"

    def texts(self, name: str) -> list[str]:
        return ["" if cell.strip().lower() in MISSING else cell.strip() for cell in self._cells[name]]

    def is_numeric(self, name: str) -> bool:
        return all(_is_number(cell) or cell.strip().lower() in MISSING for cell in self._cells[name])

    def _numbers(self, name: str) -> NDArray[np.float64]:
        cells = self._cells[name]
        try:
            return np.array([float(cell) if cell else np.nan for cell in cells])
        except ValueError:
            return np.array([self._number(name, row, cell) for row, cell in enumerate(cells)])

    def _number(self, name: str, row: int, cell: str) -> float:
        if cell.strip().lower() in MISSING:
            return np.nan
        if not _is_number(cell):
            raise DataError(f"{self.where(row)}: expected a number for {name!r}, got {cell!r}")
        return float(cell)

    def stamps(self, name: str) -> Stamps:
        return parse(self._cells[name], self.where)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


class FrameSheet(Sheet):
    """A data frame. Raises DataError if narwhals knows no such frame."""

    def __init__(self, frame: Any) -> None:
        narwhals = load_narwhals()
        try:
            self._frame = narwhals.from_native(frame, eager_only=True)
        except TypeError as error:
            raise DataError(
                f"expected a path, or a data frame of pandas, polars or pyarrow, got {type(frame).__name__}"
            ) from error
        except narwhals.exceptions.DuplicateError as error:
            raise DataError(f"expected different names of columns: {str(error).splitlines()[0]}") from error
        self.names = tuple(map(str, self._frame.columns))
        self.rows, self.source = len(self._frame), "the data frame"
        if not self.rows:
            raise DataError("the data frame has no rows")

    def where(self, row: int) -> str:
        return f"the data frame, row {row}"

    def texts(self, name: str) -> list[str]:
        column = self._frame[name]
        missing = column.is_null().to_list()
        return ["" if gone else str(value) for gone, value in zip(missing, column.to_list(), strict=True)]

    def is_numeric(self, name: str) -> bool:
        column, narwhals = self._frame[name], load_narwhals()
        if column.dtype == narwhals.Object:  # what pandas makes of numbers with None among them
            return all(value is None or isinstance(value, int | float) for value in column.to_list())
        return column.dtype.is_numeric() or column.dtype == narwhals.Boolean or column.is_null().all()

    def _numbers(self, name: str) -> NDArray[np.float64]:
        if not self.is_numeric(name):
            came = self._frame[name].dtype
            raise DataError(f"{self.source}: expected numbers in the column {name!r}, got {came}")
        if self._frame[name].dtype == load_narwhals().Object:
            return np.array(self._frame[name].to_list(), dtype=np.float64)
        return np.array(self._frame[name].cast(load_narwhals().Float64).to_numpy(), dtype=np.float64)

    def stamps(self, name: str) -> Stamps:
        narwhals, column = load_narwhals(), self._frame[name]
        if column.is_null().any():
            raise DataError(
                f"{self.where(column.is_null().to_list().index(True))}: expected a time in {name!r}, got nothing"
            )
        kind = column.dtype
        if kind.is_integer():
            whole = column.to_numpy().astype(np.int64)
            return Stamps(whole, "integer", "", whole)
        if kind == narwhals.Date:
            column, kind = column.cast(narwhals.Datetime("us")), narwhals.Datetime("us")
        if kind != narwhals.Datetime:
            return parse(self.texts(name), self.where)
        zone = kind.time_zone or ""
        values = wall(column.dt.replace_time_zone(None).to_numpy(), self.where)
        if not zone:
            return Stamps(values, "time", "", values)
        instants = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        return Stamps(values, "time", zone, wall(instants, self.where))


def load_narwhals() -> Any:
    """The library that knows data frames. Raises ConfigError that says how to install it."""
    try:
        import narwhals
    except ImportError as error:
        raise ConfigError("data frames need narwhals; install it with: pip install 'recurra[forecast]'") from error
    return narwhals


def sheet(source: Any) -> Sheet:
    """A sheet of a data frame, or of the CSV file at a path."""
    return CsvSheet(Path(source)) if isinstance(source, str | Path) else FrameSheet(source)


def frame_like(columns: Mapping[str, Any], like: Any, times: Sequence[str] = (), zone: str = "") -> Any:
    """A data frame of the library that ``like`` is of.

    columns  by name; those in ``times`` are nanoseconds of the wall clock in ``zone``
    """
    narwhals = load_narwhals()
    backend = narwhals.from_native(like, eager_only=True).implementation
    made = {
        name: utc(values, zone).astype("datetime64[ns]")
        if name in times and zone
        else np.asarray(values).astype("datetime64[ns]")
        if name in times
        else values
        for name, values in columns.items()
    }
    frame = narwhals.from_dict(made, backend=backend)
    if zone:
        there = [narwhals.col(name).dt.replace_time_zone("UTC").dt.convert_time_zone(zone) for name in times]
        frame = frame.with_columns(*there)
    return frame.to_native()
