"""Weather: Beijing and its air (Liang et al. 2015), three airports of New York, and Melbourne day by day."""

from datetime import datetime
from pathlib import Path

from recurra.data.preparations.long_series import missing, write
from recurra.data.preparations.tables import read_table

__all__ = ["prepare_beijing", "prepare_melbourne", "prepare_new_york"]

BEIJING = ["No", "year", "month", "day", "hour", "pm2.5", "DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir"]
AIR = ["temperature", "dew_point", "pressure", "wind", "wind_speed", "snow_hours", "rain_hours", "pm2.5"]
STATION = ["origin", "year", "month", "day", "hour"]
MEASURED = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
AIRPORT = [
    "temperature",
    "dew_point",
    "humidity",
    "wind_direction",
    "wind_speed",
    "wind_gust",
    "rain",
    "pressure",
    "visibility",
]
STRONGEST = 253.0  # miles an hour: the strongest gust that was ever measured (Barrow Island 1996)


def prepare_beijing(folder: Path, target: Path) -> None:
    """Write the hours of 2010 to 2014; hours in which no particles were counted stay missing."""
    (path,) = folder.rglob("hourly_beijing_pm.csv")
    rows = []
    for row in read_table(path, BEIJING):
        particles, dew, temperature, pressure, *wind_and_rain = row[5:]
        rows.append(
            ["beijing", _hour(row).isoformat(" "), temperature, dew, pressure, *wind_and_rain, missing(particles)]
        )
    write(target, AIR, rows)


def prepare_new_york(folder: Path, target: Path) -> dict[str, int]:
    """Write the hours of 2013 by the local clock with its distance from UTC; a wind that cannot be is left out."""
    (path,) = folder.rglob("weather.csv")
    rows, impossible = [], 0
    for row in read_table(path, [*STATION, *MEASURED, "time_hour"]):
        local, there = _hour(row), datetime.fromisoformat(row[-1].replace("Z", ""))
        west = round((there - local).total_seconds() / 3600)  # hours behind UTC: 4 in summer, 5 in winter
        measured = [missing(cell) for cell in row[5:-1]]
        speed = MEASURED.index("wind_speed")
        if measured[speed] and float(measured[speed]) > STRONGEST:
            measured[speed], impossible = "", impossible + 1
        rows.append([row[0], f"{local.isoformat(' ')}-{west:02d}:00", *measured])
    write(target, AIRPORT, rows)
    return {"impossible wind speeds": impossible}


def prepare_melbourne(folder: Path, target: Path) -> None:
    """Write the lowest and the highest temperature of each day as two series."""
    (path,) = folder.rglob("daily_temperature_australia.csv")
    days = list(read_table(path, ["Date", "Min_Temp", "Max_Temp"]))
    lowest = [["lowest", day, low] for day, low, _ in days]
    write(target, ["y"], lowest + [["highest", day, high] for day, _, high in days])


def _hour(row: list[str]) -> datetime:
    """The second to the fifth cell: year, month, day and hour."""
    year, month, day, hour = map(int, row[1:5])
    return datetime(year, month, day, hour)
