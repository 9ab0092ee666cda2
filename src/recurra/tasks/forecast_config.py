"""What a forecaster's recipe says: how far ahead, data, network, intervals, measurement."""

from dataclasses import dataclass
from typing import Any, Literal

from recurra.config import key, suggest
from recurra.data.frequency import Frequency
from recurra.errors import ConfigError
from recurra.heads.outputs import OUTPUTS
from recurra.tasks.checks import check_least
from recurra.tasks.forecast_baselines import BASELINES
from recurra.tasks.forecast_net import ForecastNet

__all__ = [
    "ForecastConfig",
    "ForecastData",
    "ForecastIntervals",
    "ForecastMeasure",
    "ForecastOutput",
]

DISTRIBUTIONS = ("gaussian", "student_t", "negative_binomial", "mixture")

QUANTILES = (0.005, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.995)


@dataclass(frozen=True)
class ForecastData:
    """What to read; the table [data] of a recipe."""

    path: str = key(
        "", "a CSV file, long (unique_id, ds, y) or wide (a stamp and a column a series), or a data set"
    )
    id: str = key("unique_id", "the column that names the series")
    time: str = key("ds", "the column of stamps: dates, times, or whole numbers")
    target: str = key("y", "the column to forecast")
    frequency: str = key("", "hour, 15 minutes, business day, month end, ...; empty: what most series have")
    duplicates: Literal["error", "mean", "last"] = key("error", "what counts of rows with the same stamp")
    past: tuple[str, ...] = key((), "covariates known until now, such as the wind that was measured")
    known: tuple[str, ...] = key((), "covariates known ahead, such as holidays; a forecast needs their future")
    static: tuple[str, ...] = key((), "covariates of a series, the same at all times")
    calendar: bool = key(True, "hour, weekday and day of the year, as the frequency has them, are known ahead")
    change: Literal["none", "log", "returns"] = key(
        "none",
        "none; log: ln(1 + y), the mean of an answer is then its median; returns: 100 ln(y / the value before)",
    )
    split: tuple[float | str, ...] = key(
        (0.7, 0.1, 0.2),
        "training, validation, test: shares, numbers of rows, or the two dates where the last begin",
    )
    held_out: tuple[int, ...] = key(
        (), "instead of split: steps at the end of each series to validate and to test on"
    )
    scaling: Literal["standard", "mean", "none"] = key(
        "standard", "by the training part: (y - mean) / deviation, y / mean |y|, or as it is"
    )
    per: Literal["series", "panel"] = key("series", "of that scaling: each series by itself, or one for all")
    stride: int = key(1, "steps between the beginnings of training windows")
    batch: int = key(64, "windows in a batch")


@dataclass(frozen=True)
class ForecastOutput:
    """What is said of each step; the table [output] of a recipe."""

    kind: str = key("quantiles", f"quantiles, a distribution, or a number alone: {', '.join(OUTPUTS)}")
    quantiles: tuple[float, ...] = key(QUANTILES, "of quantiles: the levels that are learned")
    parts: int = key(3, "of mixture: normal distributions in it")
    objective: Literal["", "l1", "l2", "likelihood", "crps"] = key(
        "", "the loss: l1 or l2 of point, likelihood or crps of a distribution; empty: l2, likelihood"
    )


@dataclass(frozen=True)
class ForecastIntervals:
    """How sure a forecast is of itself; the table [intervals] of a recipe."""

    levels: tuple[int, ...] = key((80, 95), "per cent of the values that intervals shall hold")
    conformal: Literal["none", "shift", "stretch"] = key(
        "shift", "quantiles move, step by step, to what the validation part tells: by as much, or by their spread"
    )
    recent: int = key(
        0, "quantiles move by the errors of so many values before each forecast instead; 0: as validated"
    )
    paths: int = key(200, "of the autoregressive kind: sample paths of a forecast")
    seed: int = key(0, "of the paths")


@dataclass(frozen=True)
class ForecastMeasure:
    """What a forecast is measured by; the table [measure] of a recipe."""

    stride: int = key(0, "steps between forecasts of the held-out parts; 0: the horizon")
    returns: bool = key(False, "the values are returns: compared by CRPS, with direction and volatility beside it")
    season: int = key(0, "steps of a season, for MASE and the seasonal baseline; 0: as the frequency has it")
    baselines: tuple[str, ...] = key(
        ("naive", "seasonal_naive", "drift", "autoregression", "exponential_smoothing"),
        f"forecasts to beat: {', '.join(BASELINES)}",
    )


@dataclass(frozen=True)
class ForecastConfig:
    """A forecaster: horizon, history, data, network, output, intervals, measurement."""

    horizon: int = key(24, "steps ahead")
    history: int = key(0, "steps back that the network reads; 0: three horizons, or two seasons if that is more")
    data: ForecastData = key(ForecastData(), "what to read")
    model: ForecastNet = key(ForecastNet(), "the network")
    output: ForecastOutput = key(ForecastOutput(), "what is said of each step")
    intervals: ForecastIntervals = key(ForecastIntervals(), "how sure it is of itself")
    measure: ForecastMeasure = key(ForecastMeasure(), "what it is measured by")

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(f"horizon: expected at least 1, got {self.horizon}")
        if self.history < 0:
            raise ConfigError(f"history: expected 0 or more, got {self.history}")
        _check_data(self.data)
        _check_output(self.output, self.model.kind)
        if self.output.kind == "negative_binomial" and (self.data.scaling, self.data.change) != ("none", "none"):
            raise ConfigError(
                "output.kind: negative_binomial forecasts counts as they are; expected data.scaling = 'none' and "
                f"data.change = 'none', got {self.data.scaling!r} and {self.data.change!r}; "
                "model.normalisation = 'mean' brings series of different size together"
            )
        _check_intervals(self.intervals)
        _check_measure(self.measure)


def _check_data(data: ForecastData) -> None:
    check_least("data", data, 1, "stride", "batch")
    names = [data.id, data.time, data.target, *data.past, *data.known, *data.static]
    if data.frequency:
        Frequency.of(data.frequency)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"data: expected each column in one place, {twice[0]!r} is in several")
    if not data.held_out:
        _check_split(data.split)
    elif len(data.held_out) != 2 or data.held_out[0] < 1 or data.held_out[1] < 0:
        raise ConfigError(
            f"data.held_out: expected steps of validation, from 1, and of test, from 0, got {list(data.held_out)}"
        )


def _check_split(split: tuple[Any, ...]) -> None:
    numbers = [value for value in split if isinstance(value, float)]
    dates = len(split) == 2 and not numbers
    three = len(split) == len(numbers) == 3 and min(numbers) > 0
    shares = three and sum(numbers) <= 1 + 1e-6
    rows = three and all(number.is_integer() for number in numbers)
    if not (dates or shares or rows):
        raise ConfigError(
            "data.split: expected three shares such as [0.7, 0.1, 0.2], three numbers of rows such as "
            "[8640, 2880, 2880], or the dates where validation and test begin such as "
            '["2013-01-01", "2014-01-01"], '
            f"got {list(split)}"
        )


def _check_output(output: ForecastOutput, kind: str) -> None:
    if output.kind not in OUTPUTS:
        raise ConfigError(f"output.kind: unknown output {output.kind!r}{suggest(output.kind, list(OUTPUTS))}")
    check_least("output", output, 1, "parts")
    levels = output.quantiles
    if not levels or sorted(set(levels)) != list(levels) or not 0 < levels[0] <= levels[-1] < 1:
        raise ConfigError(f"output.quantiles: expected rising numbers between 0 and 1, got {list(levels)}")
    if 0.5 not in levels:
        raise ConfigError(f"output.quantiles: expected 0.5, the median, among them, got {list(levels)}")
    if kind == "autoregressive" and output.kind not in DISTRIBUTIONS:
        raise ConfigError(
            f"output.kind: model.kind = 'autoregressive' draws sample paths, so it needs one of "
            f"{', '.join(DISTRIBUTIONS)}; got {output.kind!r}"
        )


def _check_intervals(intervals: ForecastIntervals) -> None:
    check_least("intervals", intervals, 2, "paths")
    check_least("intervals", intervals, 0, "recent")
    if intervals.recent and intervals.conformal == "none":
        raise ConfigError(
            "intervals.recent: expected intervals.conformal = 'shift' or 'stretch' with it, got 'none'"
        )
    if any(not 0 < level < 100 for level in intervals.levels):
        raise ConfigError(f"intervals.levels: expected per cent between 0 and 100, got {list(intervals.levels)}")


def _check_measure(measure: ForecastMeasure) -> None:
    check_least("measure", measure, 0, "stride", "season")
    for name in measure.baselines:
        if name not in BASELINES:
            raise ConfigError(f"measure.baselines: unknown baseline {name!r}{suggest(name, list(BASELINES))}")
