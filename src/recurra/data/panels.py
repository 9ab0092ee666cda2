"""Panels: series on their grids, with one frequency and the same covariates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.data.covariates import Words
from recurra.data.frequency import Frequency
from recurra.errors import DataError

__all__ = ["Array", "Panel", "Series", "sift"]

Array = NDArray[np.float64]


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


def sift(panel: Panel, least: int) -> Panel:
    """Leave out series that nothing can be learned from, and say so; say too which never change."""
    empty = [series.name for series in panel.series if np.isnan(series.y).all()]
    short = [series.name for series in panel.series if len(series.y) < least and series.name not in {*empty}]
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
    same = [series.name for series in kept if len(series.y) > 1 and np.nanmin(series.y) == np.nanmax(series.y)]
    if same:
        notes.append(f"warning: these series never change: {_listed(same)}")
    return replace(panel, series=kept, notes=tuple(notes))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
