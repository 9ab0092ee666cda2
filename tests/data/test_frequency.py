"""Frequencies: named, inferred, walked and counted as pandas does it; stamps; features of the calendar."""

import numpy as np
import pandas as pd
import pytest

from recurra.data import calendar
from recurra.data.frequency import Frequency, infer
from recurra.data.stamps import DAY, SECOND, parse, text, utc
from recurra.errors import ConfigError, DataError

# pandas' name, ours, the season
NAMED = [
    ("100ms", "100 milliseconds", 1),
    ("s", "second", 3600),
    ("10s", "10 seconds", 360),
    ("min", "minute", 1440),
    ("15min", "15 minutes", 96),
    ("h", "hour", 24),
    ("6h", "6 hours", 4),
    ("D", "day", 7),
    ("B", "business day", 5),
    ("W", "week", 52),
    ("2W", "2 weeks", 26),
    ("MS", "month", 12),
    ("ME", "month end", 12),
    ("QS", "quarter", 4),
    ("QE", "quarter end", 4),
    ("YS", "year", 1),
    ("YE", "year end", 1),
    ("5YS", "5 years", 1),
]


def days(*dates: str) -> np.ndarray:
    return np.array(dates, dtype="datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize(("name", "ours", "season"), NAMED)
def test_as_pandas(name: str, ours: str, season: int) -> None:
    stamps = pd.date_range("2019-11-29 07:00", periods=40, freq=name).to_numpy("datetime64[ns]").astype(np.int64)
    frequency = infer([stamps], integers=False)
    assert str(frequency) == ours
    assert frequency.season == season
    assert Frequency.of(ours) == frequency
    assert Frequency.of(name) == Frequency.of(pd.tseries.frequencies.to_offset(name).freqstr) == frequency
    assert (frequency.stamps(int(stamps[0]), np.arange(40)) == stamps).all()
    assert (frequency.positions(stamps, int(stamps[0])) == np.arange(40)).all()
    gappy = np.delete(stamps, [3, 4, 11, 30])
    assert infer([gappy], integers=False) == frequency


def test_names_that_are_not_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown 'hors'; did you mean 'hour'\?; expected a step such as"):
        Frequency.of("hors")
    with pytest.raises(ConfigError, match="expected a count of at least 1, got 0"):
        Frequency("day", 0)
    assert Frequency.of("2 quarters end") == Frequency("month end", 6)


def test_leap_days_and_ends_of_months() -> None:
    year = Frequency("month", 12).stamps(int(days("2020-02-29")[0]), np.arange(3))
    assert [text(stamp, "time") for stamp in year.tolist()] == ["2020-02-29", "2021-02-28", "2022-02-28"]
    end = Frequency("month end").stamps(int(days("2023-11-30")[0]), np.arange(4))
    assert [text(stamp, "time") for stamp in end.tolist()] == [
        "2023-11-30",
        "2023-12-31",
        "2024-01-31",
        "2024-02-29",
    ]


def test_what_most_series_have() -> None:
    work = days("2024-01-05", "2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12", "2024-01-15")
    every = np.arange(work[0], work[-1] + 1, DAY)
    assert infer([work], integers=False) == Frequency("business day")
    assert infer([work, work, every], integers=False) == Frequency("day"), "a weekend in one is a day in all"
    assert infer([np.array([3, 5, 9, 11])], integers=True) == Frequency("integer", 2)
    assert infer([np.array([3, 5, 8])], integers=True) == Frequency("integer", 1)
    with pytest.raises(DataError, match="no series has two rows"):
        infer([work[:1], work[:1]], integers=False)


def test_stamps_a_little_off() -> None:
    late = np.arange(50) * 3600 * SECOND + np.random.default_rng(0).integers(0, 20, 50) * SECOND
    assert infer([late], integers=False) == Frequency("hour")
    with pytest.raises(DataError, match=r"no regular distance \(from 1970-01-01 00:00:07, 1970-01-01 00:01:46 to"):
        infer([np.cumsum([7, 99, 1003, 71, 2040, 333]) * SECOND], integers=False)


def test_stamps_that_are_written() -> None:
    texts = ["2024-03-31 01:30:00+01:00", "2024-03-31T03:00+0200", "2024-03-31T03:30:00.25+02:00"]
    stamps = parse(texts, "row {}".format)
    assert [text(stamp, "time") for stamp in stamps.values.tolist()] == [
        "2024-03-31 01:30:00",
        "2024-03-31 03:00:00",
        "2024-03-31 03:30:00.250000000",
    ]
    assert np.diff(stamps.instants).tolist() == [30 * 60 * SECOND, 1800 * SECOND + SECOND // 4]
    assert parse(["2024-01-31T12:00:00Z"], str).zone == "UTC"
    assert parse(["7", "+8", "7"], str).values.tolist() == [7, 8, 7]
    assert parse(["2016", "2017"], str).kind == "integer"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2024-01-01", "1/2/2024"], "row 1: expected a time such as 2024-01-31 .* got '1/2/2024'"),
        (["2024-01-01", "2024-02-30"], "row 1: there is no such time, '2024-02-30'"),
        (["2024-01-01", ""], "row 1: expected a time .* got ''"),
        (["2024-01-01T00:00Z", "2024-01-02"], "row 1: expected a time zone as in the other rows"),
        (["9024-01-01"], "row 0: expected a time in the years 1678 to 2261, got 9024"),
    ],
)
def test_stamps_that_are_wrong(texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse(texts, "row {}".format)


def test_wall_clock_and_back() -> None:
    """As pandas; it refuses the hour that is skipped, which moves on here."""
    walls = days("2024-03-31T01:00", "2024-03-31T02:30", "2024-03-31T03:00", "2024-10-27T02:30", "2024-10-27T03:00")
    there = pd.DatetimeIndex(walls).tz_localize("Europe/Berlin", ambiguous=np.ones(5, bool), nonexistent="NaT")
    ours = utc(walls, "Europe/Berlin")
    known = ~there.isna()
    assert (ours[known] == there[known].as_unit("ns").asi8).all()
    assert text(int(ours[1]), "time") == "2024-03-31 01:30:00", "02:30 is not there; it is read as 03:30"


def test_the_calendar() -> None:
    stamps = days("2024-01-01T06:00", "2024-01-04T12:00", "2023-07-02T12:00")
    found = calendar.features(stamps, Frequency("hour"))
    names = calendar.names(Frequency("hour"))
    assert names == ("day sine", "day cosine", "week sine", "week cosine", "year sine", "year cosine")
    assert found.shape == (3, 6)
    day, week, year = found[:, :2], found[:, 2:4], found[:, 4:]
    assert day[0] == pytest.approx([1, 0], abs=1e-6), "six hours are a quarter of a day"
    assert week[1] == pytest.approx([0, -1], abs=1e-6), "Thursday noon is half a week from Monday"
    assert year[2] == pytest.approx([0, -1], abs=1e-6), "2 July at noon is half of 365 days"
    for name, _, _ in NAMED:
        frequency = Frequency.of(name)
        assert calendar.features(stamps, frequency).shape == (3, len(calendar.names(frequency)))
    assert calendar.names(Frequency("month", 12)) == calendar.names(Frequency("integer")) == ()
