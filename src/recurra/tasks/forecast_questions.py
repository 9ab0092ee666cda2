"""What a forecaster is asked, and how it answers: a series as a dict or a line of JSON, rows of a table back."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.data.frames import Panel, Series
from recurra.data.stamps import text
from recurra.errors import ConfigError, DataError
from recurra.tasks.forecast_coming import Coming, columns_of

__all__ = ["Question", "answer", "asked", "heading", "question", "rows"]


class Question(NamedTuple):
    """A series, the known covariates ``(H, K)`` of its future, and what to call it in errors."""

    series: Series
    ahead: NDArray[np.float64]
    where: str


def asked(panel: Panel, horizon: int) -> list[Question]:
    """What a panel asks: what follows each of its series.

    Rows at the end without a value are the future, and tell the known covariates there. Raises DataError if there
    are such covariates and fewer rows than the horizon.
    """
    return [_question(series, horizon, panel.known_names) for series in panel.series]


def _question(series: Series, horizon: int, known: Sequence[str]) -> Question:
    where = f"series {series.name!r}"
    if not known:
        return Question(series, np.empty((horizon, 0)), where)
    seen = int(np.flatnonzero(~np.isnan(series.y))[-1]) + 1
    ahead = series.known[seen : seen + horizon]
    if len(ahead) < horizon or np.isnan(ahead).any():
        raise DataError(
            f"{where}: expected {', '.join(known)} for {horizon} steps after its last value, in rows whose value "
            f"is empty, got {len(ahead)} of them" + (" with gaps" if np.isnan(ahead).any() else "")
        )
    along = {name: getattr(series, name)[:seen] for name in ("stamps", "y", "past", "known")}
    return Question(series._replace(**along), ahead, where)


def question(raw: Any, read: Callable[[Any], Panel], horizon: int, time: str) -> Question:
    """What a raw input asks: a dict of columns, or a line with one as JSON.

    Raises DataError for anything else, and for more than one series.
    """
    if isinstance(raw, Question):
        return raw
    table = _table(raw, time)
    panel = read(_frame(table))
    if len(panel.series) != 1:
        raise DataError(f"predict: expected the rows of one series, got {len(panel.series)}")
    return asked(panel, horizon)[0]


def _table(raw: Any, time: str) -> dict[str, list[Any]]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError as error:
            raise DataError(
                f'predict: expected a line such as {{"{time}": ["2024-01-01", ...], "y": [3.5, ...]}}, which is '
                f"not JSON ({error}); for a CSV file use --data"
            ) from error
    if not isinstance(raw, dict) or time not in raw:
        raise DataError(f"predict: expected a dict of columns with {time!r} among them, got {type(raw).__name__}")
    rows = max((len(column) for column in raw.values() if isinstance(column, list)), default=0)
    table = {name: column if isinstance(column, list) else [column] * rows for name, column in raw.items()}
    lengths = {name: len(column) for name, column in table.items()}
    if not rows or len(set(lengths.values())) > 1:
        raise DataError(f"predict: expected columns of one length, from 1 up, got {lengths}")
    return table


def _frame(table: dict[str, list[Any]]) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ConfigError(
            "answers to columns need pandas; install it with: pip install 'recurra[forecast]', or give a CSV file"
        ) from error
    return pandas.DataFrame(table)


def heading(id: str, time: str, levels: Sequence[float]) -> str:
    """The names of the columns of answers."""
    return row_of([id, time, "mean", *(f"{end}-{level:g}" for level in levels for end in ("lo", "hi"))])


def answer(coming: Coming, place: int, levels: Sequence[float], kind: str, names: Sequence[str]) -> dict[str, Any]:
    """What is said of the series number ``place``, as plain values; ``names`` are those of id and time."""
    one = Coming(
        coming.names[place : place + 1],
        coming.stamps[place : place + 1],
        coming.mean[place : place + 1],
        coming.levels,
        coming.quantiles[place : place + 1],
    )
    stamps = written(one.stamps[0], kind)
    numbers = {name: values.tolist() for name, values in columns_of(one, levels).items()}
    return {names[0]: one.names[0], names[1]: stamps, **numbers}


def written(stamps: NDArray[np.int64], kind: str) -> list[str]:
    """Stamps as people write them: all with the time of the day, if one of them needs it."""
    texts = [text(int(stamp), kind) for stamp in stamps]
    dates = kind == "time" and any(" " in one for one in texts)
    return [one if " " in one or not dates else f"{one} 00:00:00" for one in texts]


def rows(answer: dict[str, Any]) -> str:
    """An answer as lines of a CSV file."""
    name, stamps, *numbers = answer.values()
    columns = [stamps, *([f"{value:.6g}" for value in column] for column in numbers)]
    return "\n".join(row_of([name, *cells]) for cells in zip(*columns, strict=True))


def row_of(cells: Sequence[str]) -> str:
    """A line of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
