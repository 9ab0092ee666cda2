"""Rows put on the grids of their series: every step from the first row to the last, missing values between.

sorted rows      slot                       values
a 01:00   3      0  a 01:00                 3
a 03:00   5      1  a 02:00                 NaN    a gap
b 07:00   4      2  a 03:00                 5
                 3  b 07:00                 4
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recurra.data.frequency import Frequency, infer
from recurra.data.stamps import Stamps, text
from recurra.errors import ConfigError, DataError

__all__ = ["DUPLICATES", "Grid", "Rows"]

Duplicates = Literal["error", "mean", "last"]
DUPLICATES = ("error", "mean", "last")
CLOCK = ("second", "minute", "hour", "day")  # what clocks are set to: the first stamp may be late or early too
SLACK = 10  # a stamp may be off the grid by this part of a step
SPARSE = 100  # steps for each row: with more than that a stamp is taken to be wrong
MANY = 100_000  # steps that are not too many in any case


@dataclass(frozen=True)
class Rows:
    """What is known of the rows: the series of each, their stamps, and how people find them."""

    codes: NDArray[np.int64]  # (N,) number of the series
    names: Sequence[str]  # (S,) of the series
    stamps: Stamps
    where: Callable[[int], str]


class Grid:
    """The steps of all series, one series after the other, and the row or rows that fill each.

    frequency   None: that of most series
    duplicates  of rows with one stamp and different values: an "error", their "mean", or the "last". Those of an
                hour that comes twice as daylight saving ends are averaged in any case

    Raises DataError for a series of another frequency, and for stamps that are not on the grid.
    """

    def __init__(self, rows: Rows, frequency: Frequency | None = None, duplicates: Duplicates = "error") -> None:
        if duplicates not in DUPLICATES:
            raise ConfigError(f"duplicates: expected one of {', '.join(DUPLICATES)}, got {duplicates!r}")
        self.rows, self.duplicates, self.notes = rows, duplicates, []
        self.order = np.lexsort((rows.stamps.values, rows.codes))
        self._codes, self._stamps = rows.codes[self.order], rows.stamps.values[self.order]
        self._begins = np.flatnonzero(np.diff(self._codes, prepend=-1))
        if (self.order != np.arange(len(self.order))).any() and not self._in_order():
            self.notes.append("rows were put in the order of their stamps")
        self.frequency = frequency or self._infer()
        self._check_kind()
        self.starts = self._stamps[self._begins]
        self._place()
        if frequency is None:
            self._check_mixed()

    def _in_order(self) -> bool:
        """Whether the stamps of each series only rise, as they came."""
        by_series = np.argsort(self.rows.codes, kind="stable")
        stamps, codes = self.rows.stamps.values[by_series], self.rows.codes[by_series]
        return not (np.diff(stamps)[np.diff(codes) == 0] < 0).any()

    def _groups(self) -> list[NDArray[np.int64]]:
        return np.split(self._stamps, self._begins[1:])

    def _infer(self) -> Frequency:
        return infer([_distinct(stamps) for stamps in self._groups()], self.rows.stamps.kind == "integer")

    def _check_kind(self) -> None:
        if (self.frequency.unit == "integer") != (self.rows.stamps.kind == "integer"):
            raise DataError(
                f"the frequency is {self.frequency}, but the stamps are of the kind {self.rows.stamps.kind!r}, "
                f"such as {text(int(self._stamps[0]), self.rows.stamps.kind)}"
            )

    def _place(self) -> None:
        """Find the step of each row, and count those without one."""
        series = np.repeat(np.arange(len(self._begins)), np.diff([*self._begins, len(self._codes)]))
        places = self._places(series)
        self.sizes = np.maximum.reduceat(places, self._begins) + 1
        self._check_sizes()
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        self.slots = self.offsets[series] + places
        missing = int(self.offsets[-1]) - len(_distinct(self.slots))
        if missing:
            self.notes.append(f"{missing} steps without a row are missing values")

    def _places(self, series: NDArray[np.int64]) -> NDArray[np.int64]:
        """The step of each row in its series; stamps a little off the grid are moved to it."""
        off, places = self._off(series)
        step = self.frequency.step
        if off.any() and self.frequency.unit in CLOCK:
            late = np.unique(series[off != 0])
            self.starts[late] = (self.starts[late] + step // 2) // step * step
            off, places = self._off(series)
        wrong = abs(off) > (0 if self.frequency.unit == "integer" else step // SLACK)
        if wrong.any():
            self._refuse(int(wrong.argmax()), series)
        if off.any():
            count = np.count_nonzero(off)
            self.notes.append(f"{count} stamps a little off the grid of one {self.frequency} were moved")
        return places

    def _off(self, series: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        starts = self.starts[series]
        places = self.frequency.positions(self._stamps, starts)
        return self._stamps - self.frequency.stamps(starts, places), places

    def _refuse(self, row: int, series: NDArray[np.int64]) -> None:
        kind, name = self.rows.stamps.kind, self.rows.names[self._codes[row]]
        came, start = text(int(self._stamps[row]), kind), text(int(self.starts[series[row]]), kind)
        raise DataError(
            f"{self.rows.where(int(self.order[row]))}: series {name!r}: {came} is no step of one {self.frequency} "
            f"from {start} on; resample the series, or say its frequency"
        )

    def _check_sizes(self) -> None:
        counts = np.diff([*self._begins, len(self._codes)])
        wrong = (self.sizes > MANY) & (self.sizes > SPARSE * counts)
        if wrong.any():
            series = int(wrong.argmax())
            first, last = (text(int(stamp), self.rows.stamps.kind) for stamp in self._groups()[series][[0, -1]])
            raise DataError(
                f"series {self.rows.names[self._codes[self._begins[series]]]!r}: {counts[series]} rows from "
                f"{first} to {last} are {self.sizes[series]:,} steps of one {self.frequency}; is a stamp or the "
                "frequency wrong?"
            )

    def _check_mixed(self) -> None:
        """A series whose rows are usually more than a step apart has another frequency, though it fits the grid."""
        for series, slots in enumerate(np.split(self.slots, self._begins[1:])):
            apart = np.diff(_distinct(slots))
            if len(apart) > 2 and np.quantile(apart, 0.5, method="lower") > 1:
                name = self.rows.names[self._codes[self._begins[series]]]
                raise DataError(
                    f"series {name!r}: its rows are usually {int(np.median(apart))} steps of one {self.frequency} "
                    f"apart, those of most series one; resample it, leave it out, or say the frequency to have "
                    "the steps between as missing values"
                )

    def stamps(self, series: int) -> NDArray[np.int64]:
        """The stamps of all steps of a series."""
        return self.frequency.stamps(int(self.starts[series]), np.arange(self.sizes[series]))

    def settle(self, columns: Sequence[NDArray[np.float64]]) -> None:
        """Decide about rows with one stamp, seeing their values. Raises DataError if they contradict each other."""
        twice = np.diff(self.slots, prepend=-1) == 0
        if not twice.any():
            return
        instants = self.rows.stamps.instants[self.order]
        again = twice & (np.diff(instants, prepend=instants[0] - 1) != 0)
        contrary = twice & ~again & self._contrary(columns)
        if contrary.any() and self.duplicates == "error":
            row = int(contrary.argmax())
            first, second = sorted((int(self.order[row - 1]), int(self.order[row])))
            raise DataError(
                f"{self.rows.where(second)}: series {self.rows.names[self._codes[row]]!r} has the stamp "
                f"{text(int(self._stamps[row]), self.rows.stamps.kind)} twice with different values, here and in "
                f"{self.rows.where(first)}; correct it, or say duplicates = 'mean' or 'last' (an hour that "
                "daylight saving repeats is known only by stamps with a time zone)"
            )
        if again.any():
            self.notes.append(f"{np.count_nonzero(again)} rows of hours that daylight saving repeats are averaged")
        if contrary.any():
            self.notes.append(f"{np.count_nonzero(contrary)} rows with a stamp again: the {self.duplicates} counts")
        same = np.count_nonzero(twice & ~again & ~contrary)
        if same:
            self.notes.append(f"{same} rows that repeat another one were left out")
        if self.duplicates == "last":
            self._keep_last(again)

    def _contrary(self, columns: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
        found = np.zeros(len(self.order), dtype=bool)
        for column in columns:
            values = column[self.order]
            before = np.concatenate([values[:1], values[:-1]])
            found |= (values != before) & ~(np.isnan(values) & np.isnan(before))
        return found

    def _keep_last(self, again: NDArray[np.bool_]) -> None:
        # lexsort is stable: rows of one stamp stand in the order in which they came.
        keep = np.concatenate([np.diff(self.slots) != 0, [True]]) | again | np.concatenate([again[1:], [False]])
        self.order, self.slots = self.order[keep], self.slots[keep]

    def fill(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values ``(steps,)`` of all grids: the mean of the rows of each step, NaN where there is none."""
        values, steps = column[self.order], int(self.offsets[-1])
        there = ~np.isnan(values)
        if (np.diff(self.slots) > 0).all():
            filled = np.full(steps, np.nan)
            filled[self.slots] = values
            return filled
        counts = np.bincount(self.slots[there], minlength=steps)
        sums = np.bincount(self.slots[there], weights=values[there], minlength=steps)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each once, of values that are sorted."""
    return values[np.diff(values, prepend=values[0] - 1) != 0]
