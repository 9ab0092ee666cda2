"""Prices of stocks by day, with the returns that a forecast is of: prices themselves are close to a random walk.

return_t = 100 ln(close_t / close_{t-1})        percent, from one day of trade to the next
range_t  = 100 ln(high_t / low_t)               percent; it tells of the day's volatility (Parkinson 1980)
"""

import gzip
import math
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from recurra.data.preparations.long_series import write
from recurra.data.preparations.tables import read_table
from recurra.errors import DataError

__all__ = ["prepare_companies", "prepare_index"]

COMPANIES = [
    *("AAPL", "AMD", "BAC", "BBY", "CVX", "GE", "HD", "JNJ", "JPM", "KO"),
    *("LLY", "MRK", "MSFT", "PEP", "PFE", "PG", "RRC", "UNH", "WMT", "XOM"),
]
INDEX = ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]


def prepare_companies(folder: Path, target: Path) -> None:
    """Write the closing prices of the companies, adjusted for splits and dividends, and their returns."""
    (packed,) = folder.rglob("sp500_dataset.csv.gz")
    days = list(read_table(_unpacked(packed), ["Date", *COMPANIES]))
    rows = []
    for number, company in enumerate(COMPANIES, 1):
        prices = [day[number] for day in days]
        rows += [
            [company, day[0], price, change]
            for day, price, change in zip(days, prices, _returns(prices), strict=True)
        ]
    write(target, ["close", "return"], rows)


def prepare_index(folder: Path, target: Path) -> None:
    """Write the index day by day: open, high, low, close, volume, return and range."""
    (packed,) = folder.rglob("sp500.csv.gz")
    days = list(read_table(_unpacked(packed), INDEX))
    rows = []
    for day, change in zip(days, _returns([day[4] for day in days]), strict=True):
        stamp = datetime.strptime(day[0], "%m/%d/%Y").date().isoformat()
        rows.append(["sp500", stamp, *day[1:5], day[6], change, _percent(day[2], day[3])])
    write(target, ["open", "high", "low", "close", "volume", "return", "range"], rows)


def _unpacked(packed: Path) -> Path:
    path = packed.with_suffix("")
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def _returns(prices: list[str]) -> list[str]:
    """One for each price: the first has none."""
    return ["", *(_percent(price, before) for before, price in pairwise(prices))][: len(prices)]


def _percent(above: str, below: str) -> str:
    try:
        return f"{100 * math.log(float(above) / float(below)):.6f}"
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(f"expected two prices above 0, got {above!r} and {below!r}") from error
