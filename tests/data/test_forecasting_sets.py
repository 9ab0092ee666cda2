"""Series to forecast: what the preparations write, and that it is read back as series."""

import csv
import gzip
import io
import math
from pathlib import Path

import numpy as np
import pytest

from recurra.data.frames import Columns, Reading, read_panel
from recurra.data.frequency import Frequency
from recurra.data.preparations import stocks, weather
from recurra.data.stamps import text
from recurra.errors import DataError


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


def table(path: Path, rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_beijing(tmp_path: Path, made: Path) -> None:
    rows = [
        ["1", "2010", "1", "1", "23", "NA", "-21", "-11", "1021", "NW", "1.79", "0", "0"],
        ["2", "2010", "1", "2", "0", "129", "-16", "-4", "1020", "cv", "2.5", "1", "0"],
    ]
    table(tmp_path / "hourly_beijing_pm.csv", [weather.BEIJING, *rows])
    weather.prepare_beijing(tmp_path, made)
    panel = read_panel(made, Reading(Columns(target="pm2.5", past=("temperature", "wind", "snow_hours"))))
    (series,) = panel.series
    assert (series.name, panel.frequency) == ("beijing", Frequency("hour"))
    np.testing.assert_array_equal(series.y, [np.nan, 129])
    assert series.past.tolist() == [[-11, 1, 0, 0], [-4, 0, 1, 1]]
    assert text(int(series.stamps[1]), "time") == "2010-01-02"


def test_new_york(tmp_path: Path, made: Path) -> None:
    """The hour that comes twice in autumn is averaged; the storm that never was is left out."""
    cells = [
        ("1", "0", "2013-11-03T04:00:00Z", "52", "6.9"),
        ("3", "1", "2013-11-03T05:00:00Z", "50", "1048.36058"),
        ("3", "1", "2013-11-03T06:00:00Z", "48", "NA"),
        ("3", "2", "2013-11-03T07:00:00Z", "47", "5"),
    ]
    rows = [
        ["JFK", "2013", "11", "3", hour, temperature, "1", "1", "1", wind, "NA", "0", "1009", "10", there]
        for _, hour, there, temperature, wind in cells
    ]
    table(tmp_path / "weather.csv", [[*weather.STATION, *weather.MEASURED, "time_hour"], *rows])
    assert weather.prepare_new_york(tmp_path, made) == {"impossible wind speeds": 1}
    panel = read_panel(made, Reading(Columns(target="temperature", past=("wind_speed",))))
    assert panel.series[0].y.tolist() == [52, 49, 47]
    np.testing.assert_array_equal(panel.series[0].past, [[6.9], [np.nan], [5]])
    assert "1 rows of hours that daylight saving repeats are averaged" in panel.notes


def test_melbourne(tmp_path: Path, made: Path) -> None:
    rows = [["1981-01-01", "20.7", "38.1"], ["1981-01-02", "17.9", "32.4"]]
    table(tmp_path / "daily_temperature_australia.csv", [["Date", "Min_Temp", "Max_Temp"], *rows])
    weather.prepare_melbourne(tmp_path, made)
    assert {s.name: s.y.tolist() for s in read_panel(made).series} == {
        "lowest": [20.7, 17.9],
        "highest": [38.1, 32.4],
    }


def test_companies(tmp_path: Path, made: Path) -> None:
    days = [[day, *(f"{price + number:.3f}" for number in range(20))] for day, price in PRICES.items()]
    table(tmp_path / "sp500_dataset.csv.gz", [["Date", *stocks.COMPANIES], *days])
    stocks.prepare_companies(tmp_path, made)
    panel = read_panel(made, Reading(Columns(target="return")))
    assert [series.name for series in panel.series] == stocks.COMPANIES
    amd = [math.log((b + 1) / (a + 1)) * 100 for a, b in zip([10, 11, 9], [11, 9, 9.5], strict=True)]
    assert panel.series[1].y[1:] == pytest.approx(amd, abs=1e-6)
    assert math.isnan(panel.series[1].y[0])


PRICES = {"1990-01-02": 10, "1990-01-03": 11, "1990-01-04": 9, "1990-01-05": 9.5}


def test_the_index(tmp_path: Path, made: Path) -> None:
    rows = [["1/4/1999", "9", "12", "8", "10", "10", "877"], ["1/5/1999", "10", "11", "10", "11", "11", "8"]]
    table(tmp_path / "sp500.csv.gz", [stocks.INDEX, *rows])
    stocks.prepare_index(tmp_path, made)
    assert (made / "series.csv").read_text("utf-8").split("\n")[1:3] == [
        f"sp500,1999-01-04,9,12,8,10,877,,{100 * math.log(1.5):.6f}",
        f"sp500,1999-01-05,10,11,10,11,8,{100 * math.log(1.1):.6f},{100 * math.log(1.1):.6f}",
    ]
    table(tmp_path / "sp500.csv.gz", [stocks.INDEX, rows[0], ["1/5/1999", "10", "11", "10", "0", "11", "8"]])
    with pytest.raises(DataError, match=r"expected two prices above 0, got '0' and '10'"):
        stocks.prepare_index(tmp_path, made)
    table(tmp_path / "sp500.csv.gz", [stocks.INDEX])
    with pytest.raises(DataError, match="the table of the package has no rows"):
        stocks.prepare_index(tmp_path, made)
