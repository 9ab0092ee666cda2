"""Series to forecast, from a data frame or a CSV file: long or wide.

    long: a row for each series and step            wide: a column for each series

    unique_id,ds,y,rain                             ds,HUFL,OT
    north,2024-01-01,3.5,0                          2016-07-01 00:00:00,5.827,30.531
    south,2024-01-01,7.1,2                          2016-07-01 01:00:00,5.693,27.787

A frame with the column of the target is long, and without that of the series holds one; any other is wide. A wide
file needs neither stamps nor names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurra.data.covariates import Words, column_names, encode, learn_words, stack
from recurra.data.frequency import Frequency
from recurra.data.grids import Duplicates, Grid, Rows
from recurra.data.panels import Array, Panel, Series, sift
from recurra.data.sheets import Sheet, sheet
from recurra.data.stamps import Stamps, text
from recurra.data.statics import constant, of_rows
from recurra.errors import ConfigError, DataError

__all__ = ["FILE", "Columns", "Panel", "Reading", "Series", "read_future", "read_panel"]

FILE = "series.csv"  # of a data set


@dataclass(frozen=True)
class Columns:
    """Which columns are what.

    id, time, target  of a long frame
    past              covariates that are known up to now, such as a measured wind
    known             covariates that are known ahead, such as a holiday
    static            covariates of a series that never change, such as the height of a station

    Raises ConfigError for a column that is two things at once.
    """

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [self.id, self.time, self.target, *self.past, *self.known, *self.static]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"columns: {name!r} is named twice; expected one use for each column")


@dataclass(frozen=True)
class Reading:
    """How to read a frame.

    columns     which are what
    frequency   None: that of most series
    duplicates  what counts of rows with one stamp and different values: "error", "mean" or "last"
    words       of the covariates that hold words, as training saw them; None: those that are there
    least       steps, of which a shorter series is left out
    """

    columns: Columns = Columns()
    frequency: Frequency | None = None
    duplicates: Duplicates = "error"
    words: Words | None = None
    least: int = 2


def read_panel(source: Any, reading: Reading = Reading(), static: Any = None) -> Panel:
    """The series of a CSV file, of a folder with ``series.csv``, or of a data frame of pandas, polars or pyarrow.

    static  another frame or file, with a row of static covariates for each series

    Raises DataError, with the line if there is one, for what cannot be understood; what was mended is in ``notes``.
    """
    table = _sheet(source)
    columns = reading.columns
    if columns.target in table.names:
        return _long(table, reading, static)
    if columns.id in table.names or columns.past or columns.known or columns.static:
        table.need([columns.time, columns.target], "the stamps and the target")
    return _wide(table, reading)


def _sheet(source: Any) -> Sheet:
    if isinstance(source, str | Path) and Path(source).is_dir():
        return sheet(Path(source) / FILE)
    return sheet(source)


def _long(table: Sheet, reading: Reading, static: Any) -> Panel:
    columns = reading.columns
    beside = (*columns.past, *columns.known, *(() if static is not None else columns.static))
    table.need([columns.time, *beside], "the stamps and covariates")
    words = dict(learn_words(table, beside) if reading.words is None else reading.words)
    values, notes = encode(table, beside, words)
    names, stamps, grid = _grid(table, reading)
    target = table.numbers(columns.target)
    grid.settle([target, *values.values()])
    filled = {name: grid.fill(column) for name, column in values.items()}
    past, known = column_names(columns.past, words), column_names(columns.known, words)
    if static is None:
        fixed = column_names(columns.static, words)
        statics = constant(filled, fixed, grid.offsets, names)
    else:
        fixed, statics = _statics(_sheet(static), reading, names, words)
    if columns.id not in table.names:
        notes.append(f"{table.source}: there is no column {columns.id!r}, so it is one series")
    notes += [*_zone(stamps), *grid.notes, *_missing({name: filled[name] for name in (*past, *known)})]
    y = grid.fill(target)
    series = _series(names, grid, y, stack(filled, past, len(y)), stack(filled, known, len(y)), statics)
    panel = Panel(series, grid.frequency, past, known, fixed, words, stamps.zone, tuple(notes))
    return sift(panel, reading.least)


def _series(
    names: Sequence[str], grid: Grid, y: Array, past: Array, known: Array, statics: Array
) -> tuple[Series, ...]:
    """The series one by one, out of the steps of all."""
    parts = (np.split(values, grid.offsets[1:-1]) for values in (y, past, known))
    rows = zip(names, *parts, statics, strict=True)
    return tuple(Series(name, grid.stamps(number), *own) for number, (name, *own) in enumerate(rows))


def _grid(table: Sheet, reading: Reading) -> tuple[list[str], Stamps, Grid]:
    """The names of the series, the stamps, and the grid of their rows."""
    codes, names = table.groups(reading.columns.id)
    stamps = table.stamps(reading.columns.time)
    return names, stamps, Grid(Rows(codes, names, stamps, table.where), reading.frequency, reading.duplicates)


def _statics(
    table: Sheet, reading: Reading, series: Sequence[str], words: dict[str, Sequence[str]]
) -> tuple[tuple[str, ...], Array]:
    """Static covariates of a frame of their own: those that are named, else all. Their words go to ``words``."""
    id, columns = reading.columns.id, reading.columns.static
    columns = columns or tuple(name for name in table.names if name != id)
    table.need([id, *columns], "the static covariates")
    if reading.words is None:
        words |= learn_words(table, columns)
    return column_names(columns, words), of_rows(table, id, columns, series, words)


def _wide(table: Sheet, reading: Reading) -> Panel:
    """Every column of numbers is a series; the first one of others holds the stamps."""
    texts = [name for name in table.names if not table.is_numeric(name)]
    time = reading.columns.time if reading.columns.time in table.names else (texts or [""])[0]
    names = [name for name in table.names if name != time]
    if len(texts) > 1 or not names or (texts and texts[0] != time):
        came = ", ".join(table.names)
        raise DataError(
            f"{table.source}: expected the column {reading.columns.target!r} of a long table, or a wide one "
            f"with stamps and numbers only; say which column is what; there are {came}"
        )
    steps = np.arange(table.rows, dtype=np.int64)
    stamps = table.stamps(time) if time else Stamps(steps, "integer", "", steps)
    rows = Rows(np.zeros(table.rows, dtype=np.int64), ["all"], stamps, table.where)
    grid = Grid(rows, reading.frequency, reading.duplicates)
    values = [table.numbers(name) for name in names]
    grid.settle(values)
    empty = np.empty((int(grid.sizes[0]), 0))
    series = [
        Series(name, grid.stamps(0), grid.fill(column), empty, empty, np.empty(0))
        for name, column in zip(names, values, strict=True)
    ]
    how = f"stamps in {time!r}" if time else "no stamps, so rows are steps"
    read = f"{table.source}: {len(names)} columns read as {len(names)} series, {how}"
    notes = (read, *_zone(stamps), *grid.notes)
    return sift(Panel(tuple(series), grid.frequency, zone=stamps.zone, notes=notes), reading.least)


def _zone(stamps: Stamps) -> list[str]:
    if not stamps.zone and (stamps.values == stamps.instants).all():
        return []
    return [f"stamps are read by the wall clock of their time zone{f', {stamps.zone}' if stamps.zone else ''}"]


def _missing(filled: dict[str, Array]) -> list[str]:
    counts = {name: int(np.isnan(values).sum()) for name, values in filled.items()}
    return [
        f"covariate {name}: {count} missing values take the one before" for name, count in counts.items() if count
    ]


def read_future(source: Any, panel: Panel, columns: Columns, horizon: int) -> Array:
    """The known covariates ``(N, H, K)`` of the ``horizon`` steps after each series of a panel.

    source  a frame or file with the columns of the series, the stamps and the known covariates; other steps may be
            there too. None, if the panel has no known covariates

    Raises DataError that names the series, the step and the covariate for one that is missing.
    """
    found = np.full((len(panel.series), horizon, len(panel.known_names)), np.nan)
    if not panel.known_names:
        return found
    if source is None:
        raise DataError(
            f"the future frame is missing: expected {', '.join(columns.known)} for {horizon} steps ahead"
        )
    table = _sheet(source)
    table.need([columns.time, *columns.known], "the known covariates of the future")
    values, _ = encode(table, columns.known, panel.words)
    codes, names = table.groups(columns.id)
    stamps, ahead = table.stamps(columns.time).values, panel.following(horizon)
    whole = stack(values, panel.known_names, table.rows)
    for number, series in enumerate(panel.series):
        rows = np.arange(table.rows)
        if columns.id in table.names:
            rows = np.flatnonzero(codes == names.index(series.name)) if series.name in names else rows[:0]
        places = dict(zip(stamps[rows].tolist(), rows.tolist(), strict=True))
        for step, stamp in enumerate(ahead[number].tolist()):
            if stamp in places:
                found[number, step] = whole[places[stamp]]
    if np.isnan(found).any():
        number, step, place = np.argwhere(np.isnan(found))[0]
        raise DataError(
            f"{table.source}: the future has no {panel.known_names[place]!r} for the series "
            f"{panel.series[number].name!r} at {text(int(ahead[number, step]), panel.kind)}, "
            f"step {step + 1} of {horizon} ahead"
        )
    return found
