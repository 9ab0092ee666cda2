"""How far apart the stamps of a series are: read from a name, inferred, walked forward, and the season that it has.

    unit                     a step of ``count`` of them
    integer                  adds count
    nanosecond ... week      adds a fixed time
    business day             goes on from Monday to Friday; holidays are missing values
    month, month end         the same day, or the last day, of a later month; a quarter is 3 months, a year 12

Stamps are int64: integers, or nanoseconds of the wall clock since 1970 (no time zone).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.config import suggest
from recurra.data.stamps import DAY, SECOND, text
from recurra.errors import ConfigError, DataError

__all__ = ["Frequency", "infer"]

Stamps = NDArray[np.int64]

FIXED = {  # nanoseconds
    "nanosecond": 1,
    "microsecond": 10**3,
    "millisecond": 10**6,
    "second": SECOND,
    "minute": 60 * SECOND,
    "hour": 3600 * SECOND,
    "day": DAY,
    "week": 7 * DAY,
}
UNITS = ("integer", *FIXED, "business day", "month", "month end")
NAMES = {  # what people write, pandas' short names too
    "quarter": ("month", 3),
    "quarter end": ("month end", 3),
    "year": ("month", 12),
    "year end": ("month end", 12),
    "s": ("second", 1),
    "min": ("minute", 1),
    "h": ("hour", 1),
    "d": ("day", 1),
    "b": ("business day", 1),
    "w": ("week", 1),
    "ms": ("month", 1),
    "m": ("month end", 1),
    "me": ("month end", 1),
    "qs": ("month", 3),
    "qe": ("month end", 3),
    "ys": ("month", 12),
    "ye": ("month end", 12),
} | {unit: (unit, 1) for unit in UNITS}
CYCLES = {  # the season of a unit, in units: a minute's is the day, so is an hour's, a day's is the week
    "second": 3600,
    "minute": 1440,
    "hour": 24,
    "day": 7,
    "business day": 5,
    "week": 52,
    "month": 12,
    "month end": 12,
}
ROUND = [  # steps that clocks are set to, for stamps that are a little late or early
    count * FIXED[unit]
    for unit, counts in {
        "second": (1, 2, 5, 10, 15, 20, 30),
        "minute": (1, 2, 5, 10, 15, 20, 30),
        "hour": (1, 2, 3, 4, 6, 8, 12),
        "day": (1,),
        "week": (1,),
    }.items()
    for count in counts
]
NEAR = 0.02  # of a step: how far the median distance may be from a round one


@dataclass(frozen=True)
class Frequency:
    """A step of ``count`` units. Raises ConfigError for a unit that there is not, or a count below 1."""

    unit: str
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ConfigError(f"frequency: unknown unit {self.unit!r}{suggest(self.unit, list(UNITS))}")
        if self.count < 1:
            raise ConfigError(f"frequency: expected a count of at least 1, got {self.count}")

    @classmethod
    def of(cls, text: str) -> "Frequency":
        """The frequency that a text names: ``hour``, ``15 minutes``, ``month end``, or pandas' ``h``, ``15min``."""
        match = re.fullmatch(
            r"\s*(\d*)\s*([A-Za-z ]+?)(?:-[A-Z]{3})?\s*", text
        )  # W-SUN is a week that begins on Sunday
        name = "" if match is None else "millisecond" if match[2] == "ms" else match[2].lower()
        for form in (name, name.removesuffix("s"), name.replace("s ", " ")):
            if match and form in NAMES:
                unit, count = NAMES[form]
                return cls(unit, count * int(match[1] or 1))
        names = [name for name in NAMES if len(name) > 3]
        raise ConfigError(
            f"frequency: unknown {text!r}{suggest(name, names)}; expected a step such as hour, 15 minutes, "
            "business day, month end"
        )

    def __str__(self) -> str:
        unit, count = self.unit, self.count
        kind, end = ("month", " end") if unit == "month end" else (unit, "")
        if kind == "month" and count % 12 == 0:
            kind, count = "year", count // 12
        elif kind == "month" and count % 3 == 0:
            kind, count = "quarter", count // 3
        return f"{kind}{end}" if count == 1 else f"{count} {kind}s{end}"

    @property
    def season(self) -> int:
        """Steps until the same comes again: 24 for hours, 7 for days, 5, 52, 12, 4; 1 if there is none."""
        cycle = CYCLES.get(self.unit, 1)
        return cycle // self.count if cycle % self.count == 0 else 1

    @property
    def step(self) -> int:
        """A step in nanoseconds, or in integers; of months and business days the usual one."""
        if self.unit == "integer":
            return self.count
        return self.count * FIXED.get(self.unit, DAY if self.unit == "business day" else 30 * DAY)

    def stamps(self, start: int | Stamps, positions: Any) -> Stamps:
        """The stamps that are so many steps after ``start``, one for all or one for each."""
        steps = np.asarray(positions, dtype=np.int64) * self.count
        start = np.asarray(start, dtype=np.int64)
        if self.unit == "integer":
            return start + steps
        if self.unit in FIXED:
            return start + steps * FIXED[self.unit]
        days, time = _days(start), start % DAY
        if self.unit == "business day":
            return np.busday_offset(days, steps, roll="forward").astype(np.int64) * DAY + time
        months = days.astype("datetime64[M]") + steps
        first, after = months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]")
        place = (days - days.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
        last = (after - first).astype(np.int64) - 1
        days = first + (last if self.unit == "month end" else np.minimum(place, last))
        return days.astype(np.int64) * DAY + time

    def positions(self, stamps: Stamps, start: int | Stamps) -> Stamps:
        """How many steps after ``start`` each stamp is; one that is between two steps gets the nearest."""
        if self.unit == "integer" or self.unit in FIXED:
            return (stamps - start + self.step // 2) // self.step
        if self.unit == "business day":
            return np.busday_count(_days(start), _days(stamps)) // self.count
        months = _days(stamps).astype("datetime64[M]") - _days(start).astype("datetime64[M]")
        return months.astype(np.int64) // self.count


def _days(stamps: Any) -> Any:
    return (np.asarray(stamps, dtype=np.int64) // DAY).astype("datetime64[D]")


def infer(groups: Sequence[Stamps], integers: bool) -> Frequency:
    """The frequency of most series; ``groups`` are the stamps of each, sorted and each once.

    Raises DataError if the stamps are at no regular distance, or if there is no series with two of them.
    """
    found: Counter[Frequency] = Counter()
    for stamps in groups:
        if len(stamps) > 1:
            found[_own(stamps, integers)] += len(stamps)
    if not found:
        raise DataError("no series has two rows, so their frequency is unknown; say it, such as frequency = 'day'")
    best = found.most_common(1)[0][0]
    if best.unit == "business day" and any(_weekend(stamps) for stamps in groups):
        return Frequency("day", best.count)
    return best


def _own(stamps: Stamps, integers: bool) -> Frequency:
    """The frequency of one series: the distance that is there most often, if the others are multiples of it."""
    distances, counts = np.unique(np.diff(stamps), return_counts=True)
    step = int(distances[counts.argmax()])
    if integers:
        return Frequency("integer", step if not (distances % step).any() else int(np.gcd.reduce(distances)))
    if (months := _months(stamps)) is not None:
        return months
    if step == DAY and stamps[-1] - stamps[0] >= 7 * DAY and not _weekend(stamps):
        return Frequency("business day")
    if (distances % step).any():
        step = _near(stamps) or step
    unit = next(unit for unit in reversed(FIXED) if step % FIXED[unit] == 0)
    return Frequency(unit, step // FIXED[unit])


def _weekend(stamps: Stamps) -> bool:
    return bool(((stamps // DAY + 3) % 7 >= 5).any())  # 1 January 1970 was a Thursday


def _months(stamps: Stamps) -> Frequency | None:
    """Months, if all stamps are of one day and time of the month, or of its last day; else None."""
    days = _days(stamps)
    months = days.astype("datetime64[M]")
    if np.ptp(stamps % DAY) or (np.diff(months.astype(np.int64)) < 1).any():
        return None
    last = ((months + 1).astype("datetime64[D]") - 1) == days
    same = np.ptp((days - months.astype("datetime64[D]")).astype(np.int64)) == 0
    if not last.all() and not same:
        return None
    distances, counts = np.unique(np.diff(months.astype(np.int64)), return_counts=True)
    return Frequency("month end" if last.all() else "month", int(distances[counts.argmax()]))


def _near(stamps: Stamps) -> int:
    """A round step near the median distance, or 0. Raises DataError if the distances are all over the place."""
    median = int(np.median(np.diff(stamps)))
    for step in ROUND:
        if abs(step - median) <= NEAR * step:
            return step
    counts = np.unique(np.diff(stamps), return_counts=True)[1]
    if counts.max() >= counts.sum() / 2:
        return 0
    first, second, third = (text(int(stamp), "time") for stamp in [*stamps[:2], stamps[-1]])
    raise DataError(
        f"the stamps are at no regular distance (from {first}, {second} to {third}); resample them first, or "
        "say the frequency if they are only a little late or early"
    )
