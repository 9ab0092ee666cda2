"""Series from frames and files: the same from every library; what is wrong is named, what is mended is said."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recurra.data.frames import Columns, Panel, Reading, read_future, read_panel
from recurra.data.frequency import Frequency
from recurra.data.sheets import frame_like
from recurra.data.stamps import text
from recurra.errors import ConfigError, DataError

WITH = Columns(past=("wind",), known=("rain",), static=("height",))
LONG = """unique_id,ds,y,wind,rain,height
north,2024-01-01,3.5,NW,0,7
south,2024-01-01,7.1,,2,9
north,2024-01-02,,NE,1,7
north,2024-01-04,4.5,NW,0.5,7
south,2024-01-02,-1e1,NE,3,9
south,2024-01-03,0.25,NW,,9
"""


def write(folder: Path, content: str) -> Path:
    path = folder / "data.csv"
    path.write_text(content, encoding="utf-8")
    return path


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "a"} | columns)


def hours(*stamps: str) -> pd.DatetimeIndex:
    return pd.to_datetime(list(stamps))


def same(one: Panel, other: Panel) -> None:
    assert one.frequency == other.frequency
    assert one.past_names == other.past_names
    for a, b in zip(one.series, other.series, strict=True):
        assert a.name == b.name
        for left, right in zip(a[1:], b[1:], strict=True):
            np.testing.assert_array_equal(left, right)


def test_long_from_file_and_frames(tmp_path: Path) -> None:
    path = write(tmp_path, LONG)
    panel = read_panel(path, Reading(WITH))
    north, south = panel.series
    assert panel.frequency == Frequency("day")
    assert [text(stamp, "time") for stamp in north.stamps.tolist()] == [f"2024-01-0{i}" for i in range(1, 5)]
    np.testing.assert_array_equal(north.y, [3.5, np.nan, np.nan, 4.5])
    np.testing.assert_array_equal(south.y, [7.1, -10, 0.25])
    assert panel.past_names == ("wind=NE", "wind=NW")
    np.testing.assert_array_equal(north.past, [[0, 1], [1, 0], [np.nan] * 2, [0, 1]])
    np.testing.assert_array_equal(south.past, [[np.nan] * 2, [1, 0], [0, 1]])
    np.testing.assert_array_equal(south.known, [[2], [3], [np.nan]])
    assert (north.static, south.static) == (7, 9)
    assert panel.notes == (
        "1 steps without a row are missing values",
        "covariate wind=NE: 2 missing values take the one before",
        "covariate wind=NW: 2 missing values take the one before",
        "covariate rain: 2 missing values take the one before",
        "2 of 7 values are missing",
    )
    same(panel, read_panel(pd.read_csv(path, parse_dates=["ds"]), Reading(WITH)))
    same(panel, read_panel(pd.read_csv(path), Reading(WITH)))
    same(panel, read_panel(pl.read_csv(path, try_parse_dates=True), Reading(WITH)))
    (tmp_path / "series.csv").write_text(LONG.replace(",", ";"), encoding="utf-8")
    same(panel, read_panel(tmp_path, Reading(WITH)))
    mixed = pd.read_csv(path, parse_dates=["ds"]).iloc[[0, 1, 3, 2, 4, 5]]
    again = read_panel(mixed, Reading(WITH))
    same(panel, again)
    assert "rows were put in the order of their stamps" in again.notes


def test_static_covariates_of_their_own(tmp_path: Path) -> None:
    data = pd.read_csv(write(tmp_path, LONG), parse_dates=["ds"]).drop(columns="height")
    static = pd.DataFrame({"unique_id": ["south", "west", "north"], "height": [9, 1, 7], "coast": ["y", "n", "y"]})
    panel = read_panel(data, static=static)
    assert panel.static_names == ("height", "coast=n", "coast=y")
    assert [series.static.tolist() for series in panel.series] == [[7, 0, 1], [9, 0, 1]]
    with pytest.raises(DataError, match="no row of static covariates for the series 'south'"):
        read_panel(data, static=static[1:])
    with pytest.raises(DataError, match="row 3: expected one row for the series 'south', got another"):
        read_panel(data, static=pd.concat([static, static[:1]], ignore_index=True))
    with pytest.raises(DataError, match="row 2: expected a value for 'height', got nothing"):
        read_panel(data, static=static.replace(7, np.nan))
    with pytest.raises(
        DataError, match="series 'north': expected one value for the static covariate 'rain', got 3"
    ):
        read_panel(data, Reading(Columns(static=("rain",))))


def test_words_are_read_as_in_training(tmp_path: Path) -> None:
    panel = read_panel(write(tmp_path, LONG), Reading(WITH))
    later = write(tmp_path, LONG.replace("NE", "SW"))
    again = read_panel(later, Reading(WITH, words=panel.words))
    assert again.past_names == panel.past_names
    assert again.series[0].past[1].tolist() == [0, 0]
    assert "wind: 'SW' was not there in training, and says nothing" in again.notes


def test_wide(tmp_path: Path) -> None:
    panel = read_panel(write(tmp_path, "date,load,oil\n2016-07-01 00:00:00,5.5,30\n2016-07-01 01:00:00,,31\n"))
    assert [series.name for series in panel.series] == ["load", "oil"]
    assert panel.frequency == Frequency("hour")
    np.testing.assert_array_equal(panel.series[0].y, [5.5, np.nan])
    assert panel.notes[0].endswith("data.csv: 2 columns read as 2 series, stamps in 'date'")
    bare = read_panel(write(tmp_path, "0.5,1\n0.25,3\n0,5\n"))
    assert bare.frequency == Frequency("integer")
    assert [series.y.tolist() for series in bare.series] == [[0.5, 0.25, 0], [1, 3, 5]]
    with pytest.raises(DataError, match=r"expected the column 'y' of a long table, .* there are date, a, b"):
        read_panel(write(tmp_path, "date,a,b\n2016-07-01,5.5,x\n2016-07-02,1,2\n"))
    one = read_panel(
        write(tmp_path, "date,load,oil\n2016,1,2\n2017,3,4\n"), Reading(Columns("", "date", "oil", ("load",)))
    )
    assert one.series[0].past.tolist() == [[1], [3]]
    assert "there is no column ''" in one.notes[0]


def test_frequencies_that_differ() -> None:
    hourly = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024", periods=60, freq="h"), "y": 1.0})
    daily = pd.DataFrame({"unique_id": "b", "ds": pd.date_range("2024", periods=9, freq="D"), "y": 1.0})
    both = pd.concat([hourly, daily])
    with pytest.raises(DataError, match="'b': its rows are usually 24 steps of one hour apart"):
        read_panel(both)
    panel = read_panel(both, Reading(frequency=Frequency("hour")))
    assert len(panel.series[1].y) == 8 * 24 + 1
    with pytest.raises(
        DataError, match="row 3: series 'a': 2024-01-01 03:00:00 is no step of one day from 2024-01-01 on"
    ):
        read_panel(both, Reading(frequency=Frequency("day")))
    with pytest.raises(
        DataError, match=r"the frequency is day, but the stamps are of the kind 'integer', such as 1"
    ):
        read_panel(frame(ds=[1, 2], y=[1.0, 2]), Reading(frequency=Frequency("day")))
    late = hourly.assign(ds=hourly["ds"] + pd.to_timedelta(np.arange(60) % 3, "s"))
    panel = read_panel(late)
    assert panel.frequency == Frequency("hour")
    assert "40 stamps a little off the grid of one hour were moved" in panel.notes
    assert (panel.series[0].stamps == read_panel(hourly).series[0].stamps).all()
    with pytest.raises(DataError, match="3 rows from 1970-01-01 to 2024-01-01 01:00:00 are 473,354 steps"):
        read_panel(
            frame(ds=hours("1970-01-01 00", "2024-01-01 00", "2024-01-01 01"), y=1.0),
            Reading(frequency=Frequency("hour")),
        )


def test_a_week_that_is_late_and_a_number_that_is_off() -> None:
    weeks = pd.date_range("2024-01-01", periods=9, freq="7D")
    late = weeks + pd.to_timedelta([0, 0, 0, 5, 0, 0, 0, 0, 0], "h")
    panel = read_panel(frame(ds=late, y=1.0))
    assert panel.frequency == Frequency("week")
    assert (panel.series[0].stamps == weeks.as_unit("ns").asi8).all()
    with pytest.raises(DataError, match="row 2: series 'a': 21 is no step of one 10 integers from 0 on"):
        read_panel(frame(ds=[0, 10, 21, 30], y=1.0), Reading(frequency=Frequency("integer", 10)))


def test_stamps_that_come_twice(tmp_path: Path) -> None:
    twice = "ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-02,{}\n2024-01-03,5\n"
    panel = read_panel(write(tmp_path, twice.format("2")))
    assert panel.series[0].y.tolist() == [1, 2, 5]
    assert "1 rows that repeat another one were left out" in panel.notes
    path = write(tmp_path, twice.format("4"))
    with pytest.raises(DataError, match=r"line 4: series 'series' has the stamp 2024-01-02 twice .* in .*line 3"):
        read_panel(path)
    assert read_panel(path, Reading(duplicates="mean")).series[0].y.tolist() == [1, 3, 5]
    last = read_panel(path, Reading(duplicates="last"))
    assert last.series[0].y.tolist() == [1, 4, 5]
    assert "1 rows with a stamp again: the last counts" in last.notes
    with pytest.raises(ConfigError, match="duplicates: expected one of error, mean, last, got 'first'"):
        read_panel(path, Reading(duplicates="first"))  # type: ignore[arg-type]


@pytest.mark.parametrize("library", ["pandas", "polars", "csv"])
def test_daylight_saving(library: str, tmp_path: Path) -> None:
    """One hour is missing in March; the one that comes twice in October is averaged."""
    zone = "Europe/Berlin"
    stamps = pd.date_range("2024-03-30", "2024-10-28", freq="h", tz=zone)
    data: Any = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(len(stamps), dtype=float)})
    if library == "polars":
        naive = stamps.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]")
        there = pl.Series(naive).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        data = pl.DataFrame({"unique_id": ["a"] * len(stamps), "ds": there, "y": data["y"].to_numpy()})
    if library == "csv":
        data.to_csv(tmp_path / "a.csv", index=False)
        data = tmp_path / "a.csv"
    panel = read_panel(data)
    assert panel.zone == ("" if library == "csv" else zone), "a file has the distances from UTC alone"
    (series,) = panel.series
    place = {text(stamp, "time"): row for row, stamp in enumerate(series.stamps.tolist())}
    assert np.isnan(series.y[place["2024-03-31 02:00:00"]])
    assert series.y[place["2024-03-31 03:00:00"]] == 26
    autumn = place["2024-10-27 02:00:00"]
    assert np.diff(series.y[autumn - 2 : autumn + 3]).tolist() == [1, 1.5, 1.5, 1], "the mean of two hours"
    assert len(series.y) == len(stamps), "one more and one less"
    assert panel.notes[:3] == (
        f"stamps are read by the wall clock of their time zone{'' if library == 'csv' else f', {zone}'}",
        "1 steps without a row are missing values",
        "1 rows of hours that daylight saving repeats are averaged",
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_of_the_same_library(library: str) -> None:
    stamps = np.array(["2024-03-31T01:00", "2024-03-31T03:00"], dtype="datetime64[ns]").astype(np.int64)
    like = pd.DataFrame({"y": [1]}) if library == "pandas" else pl.DataFrame({"y": [1]})
    made = frame_like(
        {"unique_id": ["a", "b"], "ds": stamps, "mean": np.array([0.5, 2])}, like, ["ds"], "Europe/Berlin"
    )
    assert type(made) is type(like)
    assert [str(stamp) for stamp in made["ds"]] == ["2024-03-31 01:00:00+01:00", "2024-03-31 03:00:00+02:00"]
    again = read_panel(made, Reading(Columns(target="mean"), Frequency("hour"), least=1))
    assert [series.stamps.tolist() for series in again.series] == [[stamps[0]], [stamps[1]]]
    plain = frame_like({"ds": stamps}, like, ["ds"])
    assert [str(stamp) for stamp in plain["ds"]] == ["2024-03-31 01:00:00", "2024-03-31 03:00:00"]


def test_series_that_tell_nothing() -> None:
    days = pd.date_range("2024", periods=8, freq="D")
    parts = {
        "good": [1.0, 2, 3, 4, 5, 6, 7, 8],
        "same": [2.0] * 8,
        "gone": [np.nan] * 8,
        "short": [1.0, 2],
    }
    data = pd.concat([frame(unique_id=name, ds=days[: len(y)], y=y) for name, y in parts.items()])
    panel = read_panel(data, Reading(least=4))
    assert [series.name for series in panel.series] == ["good", "same"]
    assert panel.notes == (
        "left out, for all their values are missing: 'gone'",
        "left out, for they have fewer than 4 steps: 'short'",
        "warning: these series never change: 'same'",
    )
    with pytest.raises(
        DataError, match="no series is left: left out, for they have fewer than 9 steps: 'good', 'same'"
    ):
        read_panel(data[data.unique_id != "gone"], Reading(least=9))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ds,y\n2024-01-01,1\n2024-01-02,inf\n", "line 3: expected a finite number for 'y', got inf"),
        ("ds,y\n2024-01-01,1\n\n2024-01-02,two\n", "line 4: expected a number for 'y', got 'two'"),
        ("ds,y\n2024-01-01,1\n2024-01-02\n", "line 3: expected 2 cells as in the first line, got 1"),
        ("ds,y\n2024-01-01,1\n,2\n", "line 3: expected a time such as"),
        ("ds,y\n", "a header and no rows"),
        ("ds,y,y\n2024-01-01,1,2\n", "line 1: expected different names of columns"),
        ("unique_id,ds,y\na,2024-01-01,1\n,2024-01-01,1\n", "line 3: expected the name of a series in 'unique_id'"),
        (
            "unique_id,time,y\na,2024-01-01,1\n",
            "there is no column 'ds' for the stamps and covariates; there are unique_id,",
        ),
        ("unique_id,ds,z\na,2024-01-01,1\n", "there is no column 'y' for the stamps and the target"),
        (
            "unique_id,ds,y\na,2024-01-01,1\nb,2024-01-01,1\n",
            "no series has two rows, so their frequency is unknown",
        ),
    ],
)
def test_mistakes_in_files(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_panel(write(tmp_path, content))


def test_mistakes_in_frames() -> None:
    day = hours("2024-01-01", "2024-01-02", "2024-01-03")
    with pytest.raises(DataError, match="the data frame, row 2: expected a finite number for 'y', got -inf"):
        read_panel(frame(ds=day, y=[1, 2, -np.inf]))
    with pytest.raises(DataError, match="expected numbers in the column 'y', got String"):
        read_panel(frame(ds=day, y=["1", "2", "3"]))
    with pytest.raises(DataError, match="row 1: expected a time in 'ds', got nothing"):
        read_panel(frame(ds=[day[0], pd.NaT, day[2]], y=1.0))
    with pytest.raises(DataError, match="expected a path, or a data frame of pandas, polars or pyarrow, got list"):
        read_panel([1, 2])
    with pytest.raises(DataError, match="the data frame has no rows"):
        read_panel(frame(ds=day, y=1.0)[:0])
    with pytest.raises(ConfigError, match="'y' is named twice"):
        Columns(past=("y",))
    with pytest.raises(DataError, match="expected numbers in the column 'y', got Object"):
        read_panel(frame(ds=day, y=pd.Series([1, None, "x"], dtype=object)))
    mixed = read_panel(frame(ds=day, y=pd.Series([1, None, 2.5], dtype=object)))
    np.testing.assert_array_equal(mixed.series[0].y, [1, np.nan, 2.5])
    twice = pd.DataFrame([["a", day[0], 1.0, 2.0]], columns=["unique_id", "ds", "y", "y"])
    with pytest.raises(DataError, match="expected different names of columns"):
        read_panel(twice)
    names = [f"name {i}" for i in range(200)]
    with pytest.raises(
        DataError, match="expected numbers or a few words in the column 'z', got 200 different ones"
    ):
        read_panel(frame(ds=pd.date_range("2024", periods=200), y=1.0, z=names), Reading(Columns(past=("z",))))
    with pytest.raises(DataError, match=r"cannot read the text nothing\.csv: No such file"):
        read_panel("nothing.csv")


def test_without_the_library_of_data_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files need none."""
    monkeypatch.setitem(sys.modules, "narwhals", None)
    assert len(read_panel(write(tmp_path, LONG), Reading(WITH)).series) == 2
    with pytest.raises(
        ConfigError, match=r"data frames need narwhals; install it with: pip install 'recurra\[forecast\]'"
    ):
        read_panel(frame(ds=hours("2024-01-01"), y=1.0))


def test_the_future(tmp_path: Path) -> None:
    columns = Columns(known=("rain",))
    panel = read_panel(write(tmp_path, LONG), Reading(columns))
    stamps = pd.to_datetime(["2024-01-04", "2024-01-05", "2024-01-05", "2024-01-06", "2024-01-09"])
    future = pd.DataFrame(
        {"unique_id": ["south", "south", "north", "north", "north"], "ds": stamps, "rain": range(5)}
    )
    assert read_future(future, panel, columns, 2).tolist() == [[[2], [3]], [[0], [1]]]
    with pytest.raises(DataError, match="no 'rain' for the series 'north' at 2024-01-06, step 2 of 2 ahead"):
        read_future(future.drop(3), panel, columns, 2)
    with pytest.raises(DataError, match="no 'rain' for the series 'south' at 2024-01-05, step 2 of 2 ahead"):
        read_future(future.replace(1, np.nan), panel, columns, 2)
    with pytest.raises(DataError, match="the future frame is missing: expected rain for 2 steps ahead"):
        read_future(None, panel, columns, 2)
    everywhere = future[1:2].drop(columns="unique_id")
    with pytest.raises(DataError, match="'north' at 2024-01-06"):
        read_future(everywhere, panel, columns, 2)
    assert read_future(None, read_panel(tmp_path / "data.csv"), Columns(), 3).shape == (2, 3, 0)
