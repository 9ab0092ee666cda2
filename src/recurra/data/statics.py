"""Static covariates of series: out of columns that never change, or from a frame with a row for each series."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.data.covariates import Words, column_names, encode, stack
from recurra.data.sheets import Sheet
from recurra.errors import DataError

__all__ = ["constant", "of_rows"]

Array = NDArray[np.float64]


def constant(
    columns: Mapping[str, Array], names: Sequence[str], offsets: NDArray[np.int64], series: Sequence[str]
) -> Array:
    """Static covariates ``(N, S)`` out of ``columns`` that say the same in each step of a series.

    offsets  (N + 1,) where the steps of each series begin, and the end. Raises DataError for a series that has
             several values, or none
    """
    found = np.full((len(series), len(names)), np.nan)
    for place, name in enumerate(names):
        for number, own in enumerate(np.split(columns[name], offsets[1:-1])):
            there = own[~np.isnan(own)]
            if not len(there) or np.ptp(there):
                raise DataError(
                    f"series {series[number]!r}: expected one value for the static covariate {name!r}, "
                    f"got {len(np.unique(there))}"
                )
            found[number, place] = there[0]
    return found


def of_rows(table: Sheet, id: str, columns: Sequence[str], series: Sequence[str], words: Words) -> Array:
    """Static covariates ``(N, S)`` from a sheet with a row for each series.

    id  the column of their names. Raises DataError for a series without a row or with two, and for a missing value
    """
    values, _ = encode(table, columns, words)
    names = table.texts(id)
    rows = {name: row for row, name in enumerate(names)}
    if len(rows) < len(names):
        row = next(row for row, name in enumerate(names) if rows[name] != row)
        raise DataError(
            f"{table.where(rows[names[row]])}: expected one row for the series {names[row]!r}, got another"
        )
    for name in series:
        if name not in rows:
            raise DataError(f"{table.source}: there is no row of static covariates for the series {name!r}")
    group = column_names(columns, words)
    found = stack(values, group, table.rows)[[rows[name] for name in series]]
    if np.isnan(found).any():
        number, place = np.argwhere(np.isnan(found))[0]
        raise DataError(f"{table.where(rows[series[number]])}: expected a value for {group[place]!r}, got nothing")
    return found
