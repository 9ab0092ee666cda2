"""Where a stamp stands in the day, the week and the year: a sine and a cosine of each cycle.

frequency             cycles
seconds, below        hour, day
minutes, hours        day, week, year
days, business days   week, month, year
weeks                 year
months                year; none if a step is a whole year
integers              none

sin(2 pi p), cos(2 pi p)        p from 0 to 1: the part of the cycle that has gone by
"""

import numpy as np
from numpy.typing import NDArray

from recurra.data.frequency import Frequency
from recurra.data.stamps import DAY

__all__ = ["features", "names"]

HOUR = DAY // 24
CYCLES = {
    "nanosecond": ("hour", "day"),
    "microsecond": ("hour", "day"),
    "millisecond": ("hour", "day"),
    "second": ("hour", "day"),
    "minute": ("day", "week", "year"),
    "hour": ("day", "week", "year"),
    "day": ("week", "month", "year"),
    "business day": ("week", "month", "year"),
    "week": ("year",),
    "month": ("year",),
    "month end": ("year",),
    "integer": (),
}


def _cycles(frequency: Frequency) -> tuple[str, ...]:
    if frequency.unit in ("month", "month end") and frequency.count % 12 == 0:
        return ()
    return CYCLES[frequency.unit]


def names(frequency: Frequency) -> tuple[str, ...]:
    """What the features of a frequency are called: ``day sine``, ``day cosine``, ``week sine`` ..."""
    return tuple(f"{cycle} {wave}" for cycle in _cycles(frequency) for wave in ("sine", "cosine"))


def features(stamps: NDArray[np.int64], frequency: Frequency) -> NDArray[np.float32]:
    """The features ``(T, C)`` of stamps ``(T,)``, in the order of `names`."""
    columns = []
    for cycle in _cycles(frequency):
        angle = 2 * np.pi * _part(stamps, cycle)
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, 1).astype(np.float32) if columns else np.empty((len(stamps), 0), np.float32)


def _part(stamps: NDArray[np.int64], cycle: str) -> NDArray[np.float64]:
    """The part of the cycle that has gone by, from 0 to below 1."""
    if cycle == "hour":
        return stamps % HOUR / HOUR
    if cycle == "day":
        return stamps % DAY / DAY
    if cycle == "week":
        return (stamps + 3 * DAY) % (7 * DAY) / (7 * DAY)  # from Monday; 1 January 1970 was a Thursday
    unit = "M" if cycle == "month" else "Y"
    begin = stamps.astype("datetime64[ns]").astype(f"datetime64[{unit}]")
    first, after = (place.astype("datetime64[ns]").astype(np.int64) for place in (begin, begin + 1))
    return (stamps - first) / (after - first)
