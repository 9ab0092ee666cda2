"""Columns beside the target: numbers as they are, and words as one column of 0 and 1 for each word.

wind        wind=NE  wind=NW
NW          0        1
NE          1        0
(missing)   NaN      NaN
SW          0        0         a word that was not there in training
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recurra.data.sheets import Sheet
from recurra.errors import DataError

__all__ = ["Words", "column_names", "encode", "learn_words", "stack"]

MOST = 100  # words of a column: with more than that it is a name or a text

Words = Mapping[str, Sequence[str]]  # of each column that holds words: those that there are


def learn_words(sheet: Sheet, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words of those columns that are not numbers. Raises DataError for a column with too many."""
    found = {}
    for name in names:
        if not sheet.is_numeric(name):
            found[name] = tuple(sorted(set(sheet.texts(name)) - {""}))
            if len(found[name]) > MOST:
                raise DataError(
                    f"{sheet.source}: expected numbers or a few words in the column {name!r}, got "
                    f"{len(found[name])} different ones, such as {found[name][0]!r}"
                )
    return found


def encode(sheet: Sheet, names: Sequence[str], words: Words) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """The columns by name, each ``(N,)``, and notes on words that are new."""
    columns: dict[str, NDArray[np.float64]] = {}
    notes = []
    for name in names:
        if name not in words:
            columns[name] = sheet.numbers(name)
            continue
        texts = np.array(sheet.texts(name))
        gone = texts == ""
        columns |= {f"{name}={word}": np.where(gone, np.nan, texts == word) for word in words[name]}
        new = sorted(set(texts[~gone].tolist()) - set(words[name]))
        if new:
            notes.append(f"{name}: {', '.join(map(repr, new[:5]))} was not there in training, and says nothing")
    return columns, notes


def column_names(columns: Sequence[str], words: Words) -> tuple[str, ...]:
    """The names of the columns that `encode` makes of some, in their order."""
    parts = [[f"{column}={word}" for word in words[column]] if column in words else [column] for column in columns]
    return tuple(name for part in parts for name in part)


def stack(columns: Mapping[str, NDArray[np.float64]], names: Sequence[str], rows: int) -> NDArray[np.float64]:
    """The named columns side by side, ``(rows, names)``."""
    return np.stack([columns[name] for name in names], 1) if names else np.empty((rows, 0))
