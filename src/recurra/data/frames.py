"""Series to forecast, from a data frame or a CSV file: long or wide.

    long: a row for each series and step            wide: a column for each series

    unique_id,ds,y,rain                             ds,HUFL,OT
    north,2024-01-01,3.5,0                          2016-07-01 00:00:00,5.827,30.531
    south,2024-01-01,7.1,2                          2016-07-01 01:00:00,5.693,27.787

A frame with the column of the target is long, and without that of the series holds one; any other is wide. A wide
file needs neither stamps nor names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.data.covariates import Words, encode, learn_words
from recurra.data.frequency import Frequency
from recurra.data.grids import Duplicates, Grid, Rows
from recurra.data.sheets import Sheet, sheet
from recurra.data.stamps import Stamps, text
from recurra.errors import ConfigError, DataError

__all__ = ["FILE", "Columns", "Panel", "Reading", "Series", "read_future", "read_panel"]

FILE = "series.csv"  # of a data set
Array = NDArray[np.float64]


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


class Series(NamedTuple):
    """One series on its grid of T steps; numpy arrays, NaN where a value is missing.

    stamps  (T,) int64: nanoseconds of the wall clock since 1970, or whole numbers
    y       (T,) float64, what is to be forecast
    past    (T, P), known (T, K), static (S,): covariates
    """

    name: str
    stamps: NDArray[np.int64]
    y: Array
    past: Array
    known: Array
    static: Array


@dataclass(frozen=True)
class Panel:
    """All series, their frequency, the names of their covariates, and notes: what was decided, for people to read.

    words  of the covariates that hold words, to read another frame in the same way
    zone   the name of the time zone of the stamps that came, "" for none
    """

    series: tuple[Series, ...]
    frequency: Frequency
    past_names: tuple[str, ...] = ()
    known_names: tuple[str, ...] = ()
    static_names: tuple[str, ...] = ()
    words: Words = field(default_factory=dict)
    zone: str = ""
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Of the stamps: "integer" or "time"."""
        return "integer" if self.frequency.unit == "integer" else "time"

    def following(self, horizon: int) -> NDArray[np.int64]:
        """The ``horizon`` stamps after each series, ``(N, H)``."""
        steps = np.arange(1, horizon + 1)
        return np.stack([self.frequency.stamps(int(series.stamps[-1]), steps) for series in self.series])


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
    codes, names = _codes(table, columns.id)
    if columns.id not in table.names:
        notes.append(f"{table.source}: there is no column {columns.id!r}, so it is one series")
    stamps = table.stamps(columns.time)
    grid = Grid(Rows(codes, names, stamps, table.where), reading.frequency, reading.duplicates)
    target = table.numbers(columns.target)
    grid.settle([target, *values.values()])
    filled = {name: grid.fill(column) for name, column in values.items()}
    groups = [tuple(_names(group, words)) for group in (columns.past, columns.known, columns.static)]
    if static is None:
        fixed = _constant(filled, groups[2], grid, names)
    else:
        fixed, groups[2], words = _static(static, columns, names, words, reading.words is None)
    past, known = (_stack(filled, group, int(grid.offsets[-1])) for group in groups[:2])
    y = grid.fill(target)
    series = [
        Series(name, grid.stamps(number), y[a:b], past[a:b], known[a:b], fixed[number])
        for number, (name, a, b) in enumerate(zip(names, grid.offsets[:-1], grid.offsets[1:], strict=True))
    ]
    notes += [*_zone(stamps), *grid.notes, *_missing({name: filled[name] for name in (*groups[0], *groups[1])})]
    return _checked(
        Panel(tuple(series), grid.frequency, groups[0], groups[1], groups[2], words, stamps.zone, tuple(notes)),
        reading.least,
    )


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
    return _checked(Panel(tuple(series), grid.frequency, zone=stamps.zone, notes=notes), reading.least)


def _codes(table: Sheet, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each row's series, and the names of the series in the order in which they came."""
    if name not in table.names:
        return np.zeros(table.rows, dtype=np.int64), ["series"]
    texts = table.texts(name)
    if "" in texts:
        raise DataError(f"{table.where(texts.index(''))}: expected the name of a series in {name!r}, got nothing")
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return np.fromiter(map(numbers.__getitem__, texts), dtype=np.int64, count=len(texts)), list(numbers)


def _names(columns: Sequence[str], words: Words) -> list[str]:
    return [
        name
        for column in columns
        for name in ([f"{column}={w}" for w in words[column]] if column in words else [column])
    ]


def _stack(filled: dict[str, Array], names: Sequence[str], steps: int) -> Array:
    return np.stack([filled[name] for name in names], 1) if names else np.empty((steps, 0))


def _constant(filled: dict[str, Array], names: Sequence[str], grid: Grid, series: Sequence[str]) -> Array:
    """Static covariates ``(N, S)`` out of columns that say the same in each row of a series."""
    found = np.full((len(series), len(names)), np.nan)
    for place, name in enumerate(names):
        for number, (a, b) in enumerate(zip(grid.offsets[:-1], grid.offsets[1:], strict=True)):
            values = filled[name][a:b]
            values = np.unique(values[~np.isnan(values)])
            if len(values) != 1:
                raise DataError(
                    f"series {series[number]!r}: expected one value for the static covariate {name!r}, "
                    f"got {len(values)}"
                )
            found[number, place] = values[0]
    return found


def _static(
    source: Any, columns: Columns, names: Sequence[str], words: dict[str, Sequence[str]], learn: bool
) -> tuple[Array, tuple[str, ...], dict[str, Sequence[str]]]:
    """Static covariates ``(N, S)`` from a frame with a row for each series."""
    table = _sheet(source)
    wanted = columns.static or tuple(name for name in table.names if name != columns.id)
    table.need([columns.id, *wanted], "the static covariates")
    if learn:
        words |= learn_words(table, wanted)
    values, _ = encode(table, wanted, words)
    rows = {name: row for row, name in enumerate(table.texts(columns.id))}
    for name in names:
        if name not in rows:
            raise DataError(f"{table.source}: there is no row of static covariates for the series {name!r}")
    group = tuple(_names(wanted, words))
    found = _stack(values, group, table.rows)[[rows[name] for name in names]]
    if np.isnan(found).any():
        row, place = np.argwhere(np.isnan(found))[0]
        raise DataError(f"{table.where(rows[names[row]])}: expected a value for {group[place]!r}, got nothing")
    return found, group, words


def _zone(stamps: Stamps) -> list[str]:
    if not stamps.zone and (stamps.values == stamps.instants).all():
        return []
    return [f"stamps are read by the wall clock of their time zone{f', {stamps.zone}' if stamps.zone else ''}"]


def _missing(filled: dict[str, Array]) -> list[str]:
    counts = {name: int(np.isnan(values).sum()) for name, values in filled.items()}
    return [
        f"covariate {name}: {count} missing values take the one before" for name, count in counts.items() if count
    ]


def _checked(panel: Panel, least: int) -> Panel:
    """Leave out series that nothing can be learned from, and say so; say too which never change."""
    empty = [series.name for series in panel.series if np.isnan(series.y).all()]
    short = [series.name for series in panel.series if len(series.y) < least and series.name not in empty]
    notes = list(panel.notes)
    if empty:
        notes.append(f"left out, for all their values are missing: {_listed(empty)}")
    if short:
        notes.append(f"left out, for they have fewer than {least} steps: {_listed(short)}")
    gone = {*empty, *short}
    kept = tuple(series for series in panel.series if series.name not in gone)
    if not kept:
        raise DataError(f"no series is left: {'; '.join(notes)}")
    missing = sum(int(np.isnan(series.y).sum()) for series in kept)
    if missing:
        notes.append(f"{missing} of {sum(len(series.y) for series in kept)} values are missing")
    same = [series.name for series in kept if np.nanmin(series.y) == np.nanmax(series.y)]
    if same:
        notes.append(f"warning: these series never change: {_listed(same)}")
    return replace(panel, series=kept, notes=tuple(notes))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more


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
    codes, names = _codes(table, columns.id)
    stamps, ahead = table.stamps(columns.time).values, panel.following(horizon)
    whole = _stack(values, panel.known_names, table.rows)
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
