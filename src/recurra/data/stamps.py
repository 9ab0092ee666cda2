"""Stamps of rows as int64: integer steps, or nanoseconds of the wall clock since 1970.

A wall clock has no time zone. Stamps that have one are read as people there read their clock, because days and
weeks go by it: an hour that daylight saving repeats comes twice then, and one that it skips is missing.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

__all__ = ["DAY", "SECOND", "Stamps", "parse", "text", "utc", "wall"]

SECOND = 10**9
DAY = 86_400 * SECOND
EPOCH = datetime(1970, 1, 1)
ISO = re.compile(r"(\d{4}-\d\d(?:-\d\d(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?)?)?)\s*(Z|[+-]\d\d:?\d\d)?")
EXPECTED = "a time such as 2024-01-31 or 2024-01-31 13:00:00, or a whole number"


class Stamps(NamedTuple):
    """The stamps of rows.

    values    (N,) int64, by the wall clock
    kind      what they are
    zone      the name of the time zone that they came with; "" for none, or a distance from UTC alone
    instants  (N,) int64, the same by the clock of UTC: two rows of an hour that comes twice differ here
    """

    values: NDArray[np.int64]
    kind: Literal["time", "integer"]
    zone: str
    instants: NDArray[np.int64]


def parse(texts: Sequence[str], where: Callable[[int], str]) -> Stamps:
    """Read stamps that are written out; ``where`` names a row. Raises DataError for one that is neither."""
    known = list(dict.fromkeys(texts))  # many series have the same stamps: each is read once
    read = _parse(known, lambda row: where(texts.index(known[row])))
    if len(known) == len(texts):
        return read
    numbers = {value: number for number, value in enumerate(known)}
    rows = np.fromiter(map(numbers.__getitem__, texts), dtype=np.int64, count=len(texts))
    return read._replace(values=read.values[rows], instants=read.instants[rows])


def _parse(texts: Sequence[str], where: Callable[[int], str]) -> Stamps:
    if all(re.fullmatch(r"\s*[+-]?\d+\s*", value) for value in texts):
        whole = np.array([int(value) for value in texts], dtype=np.int64)
        return Stamps(whole, "integer", "", whole)
    parts = [ISO.fullmatch(value.strip()) for value in texts]
    for row, (value, match) in enumerate(zip(texts, parts, strict=True)):
        if match is None:
            raise DataError(f"{where(row)}: expected {EXPECTED}, got {value!r}")
    zones = [match[2] or "" for match in parts if match]
    if len(set(zones)) > 1 and "" in zones:
        row = zones.index("")
        raise DataError(f"{where(row)}: expected a time zone as in the other rows, got {texts[row]!r}")
    values = wall(_times([match[1] for match in parts if match], texts, where), where)
    offsets = {zone: _offset(zone) for zone in set(zones)}
    instants = values - np.array([offsets[zone] for zone in zones], dtype=np.int64)
    return Stamps(values, "time", "UTC" if set(zones) <= {"Z", "+00:00", "+0000"} else "", instants)


def _times(parts: list[str], texts: Sequence[str], where: Callable[[int], str]) -> NDArray[np.datetime64]:
    try:
        return np.array(parts, dtype="datetime64[ns]" if any("." in part for part in parts) else "datetime64[s]")
    except ValueError:
        row = next(row for row, part in enumerate(parts) if not _is_time(part))
        raise DataError(f"{where(row)}: there is no such time, {texts[row]!r}; expected {EXPECTED}") from None


def _is_time(part: str) -> bool:
    try:
        np.datetime64(part)
    except ValueError:
        return False
    return True


def _offset(zone: str) -> int:
    if zone in ("", "Z"):
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return (-minutes if zone[0] == "-" else minutes) * 60 * SECOND


def wall(times: NDArray[np.datetime64], where: Callable[[int], str]) -> NDArray[np.int64]:
    """Nanoseconds since 1970. Raises DataError for a row without a time, or one out of the years 1678 to 2261."""
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    wrong = np.isnat(times) | (years < 1678) | (years > 2261)
    if wrong.any():
        row = int(wrong.argmax())
        came = "nothing" if np.isnat(times[row]) else str(times[row])
        raise DataError(f"{where(row)}: expected a time in the years 1678 to 2261, got {came}")
    return times.astype("datetime64[ns]").astype(np.int64)


def text(stamp: int, kind: str) -> str:
    """A stamp as people write it: ``7``, ``2024-01-31`` or ``2024-01-31 13:00:00``."""
    if kind == "integer":
        return str(stamp)
    unit = "D" if stamp % DAY == 0 else "s" if stamp % SECOND == 0 else "ns"
    return str(np.datetime64(int(stamp), "ns").astype(f"datetime64[{unit}]")).replace("T", " ")


def utc(values: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """The instants of a wall clock in a time zone; of an hour that comes twice the first, a skipped one later."""
    place = ZoneInfo(zone)
    offsets = [
        (EPOCH + timedelta(microseconds=int(value) // 1000)).replace(tzinfo=place).utcoffset() or timedelta(0)
        for value in values
    ]
    return values - np.array([int(offset.total_seconds()) for offset in offsets], dtype=np.int64) * SECOND
