"""Simple forecasts that a network must beat before anyone believes it, each with honest quantiles.

A baseline learns from the training part once. Then it reads a series like a filter and forecasts from every point
in time, from nothing but the values up to there: so hundreds of back-test windows cost one pass. Its quantiles come
from its own errors over the training part, for each step of the horizon; no distribution is assumed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recurra.errors import ConfigError, DataError

__all__ = ["Array", "Baseline", "Drift", "Historical", "Naive", "SeasonalNaive", "filled", "season_before"]

Array = NDArray[np.float64]
FEWEST = 2  # errors of a step, for its quantiles


class Baseline(ABC):
    """A forecast of one series from its past. Missing values are NaN, in what it learns from and in what it reads.

        v_q(t, h) = point(t, h) + spread(t, h) error_q(h)

    error_q(h)  quantile q of the errors (y_(t+h) - point) / spread over the training part
    spread      1, or what the baseline knows of how wild the next steps are

    season  steps after which the series repeats, such as 24 for hours; 1 where it does not

    Raises DataError for a training part that is too short or says nothing, ConfigError for a season below 1.
    """

    name: ClassVar[str]
    horizon: int

    def __init__(self, season: int = 1) -> None:
        if season < 1:
            raise ConfigError(f"{self.name}: expected a season of 1 step or more, got {season}")
        self.season = season

    def fit(self, training: Array, horizon: int) -> Self:
        """Learn from the training part ``(T,)`` to forecast 1 to ``horizon`` steps."""
        if horizon < 1:
            raise ConfigError(f"{self.name}: expected a horizon of 1 step or more, got {horizon}")
        series = np.asarray(training, dtype=np.float64)
        if series.ndim != 1 or np.isinf(series).any():
            raise DataError(f"{self.name}: expected a row of finite numbers (T,), got shape {series.shape}")
        if np.isfinite(series).sum() < self.least(horizon):
            raise DataError(
                f"{self.name}: expected {self.least(horizon)} known values or more to learn a horizon of {horizon} "
                f"with a season of {self.season}, got {np.isfinite(series).sum()}"
            )
        self.horizon = horizon
        self.learn(series)
        self.errors = _errors(series, self.points(series), self.spread(series))
        if min(map(len, self.errors)) < FEWEST:
            raise DataError(
                f"{self.name}: the training part has too few windows of which both the forecast and what came are "
                f"known, for a horizon of {horizon}; use a longer part or a shorter horizon"
            )
        return self

    def forecast(self, history: Array, horizon: int, levels: Sequence[float]) -> tuple[Array, Array]:
        """What comes after ``history (T,)``: one number for each step ``(H,)``, and quantiles ``(H, Q)``."""
        points, quantiles = self.back_test(history, [len(history) - 1], horizon, levels)
        return points[0], quantiles[0]

    def back_test(
        self, series: Array, origins: Sequence[int], horizon: int, levels: Sequence[float]
    ) -> tuple[Array, Array]:
        """Forecasts from many points of ``series (T,)``: points ``(N, H)``, quantiles ``(N, H, Q)``.

        origins  places of the last values that each forecast may know, from 0

        Raises DataError where too little is known before an origin.
        """
        if not 1 <= horizon <= self.horizon:
            raise ConfigError(f"{self.name}: learned 1 to {self.horizon} steps, asked for a horizon of {horizon}")
        read, places = np.asarray(series, dtype=np.float64), np.asarray(origins, dtype=np.int64)
        if len(places) and not 0 <= places.min() <= places.max() < len(read):
            raise DataError(f"{self.name}: expected origins within {len(read)} values, got {places.tolist()[:9]}")
        points, spread = self.points(read)[places, :horizon], self.spread(read)[places, :horizon]
        if np.isnan(points).any():
            unknown = int(places[np.isnan(points).any(1)][0])
            raise DataError(f"{self.name}: too little is known up to value {unknown + 1} to forecast from there")
        quantiles = np.stack([np.quantile(errors, levels) for errors in self.errors[:horizon]])
        return points, points[..., None] + spread[..., None] * quantiles

    def least(self, horizon: int) -> int:
        """Known values that `fit` needs."""
        return horizon + FEWEST

    @abstractmethod
    def learn(self, training: Array) -> None:
        """Learn from ``(T,)`` what `points` needs."""

    @abstractmethod
    def points(self, series: Array) -> Array:
        """Forecasts ``(T, horizon)``: row t of the steps after t, from ``series[: t + 1]``; NaN if unknown yet."""

    def spread(self, series: Array) -> Array:
        """How wild the same steps will be ``(T, horizon)``, from the same values."""
        return np.ones((len(series), self.horizon))


class Naive(Baseline):
    """The last value goes on: the best forecast of a random walk."""

    name = "naive"

    def learn(self, training: Array) -> None:
        pass

    def points(self, series: Array) -> Array:
        return np.repeat(filled(series)[:, None], self.horizon, 1)


class SeasonalNaive(Baseline):
    """The last season goes on: step h is the value a season before it, or as many seasons as are needed."""

    name = "seasonal_naive"

    def least(self, horizon: int) -> int:
        return horizon + self.season + FEWEST

    def learn(self, training: Array) -> None:
        pass

    def points(self, series: Array) -> Array:
        return season_before(filled(series, self.season), self.season, self.horizon)


class Drift(Baseline):
    """The last value goes on with the slope from the first to the last known value of the training part."""

    name = "drift"

    def learn(self, training: Array) -> None:
        places = np.flatnonzero(np.isfinite(training))
        first, last = places[0], places[-1]
        self.slope = (training[last] - training[first]) / (last - first)

    def points(self, series: Array) -> Array:
        return filled(series)[:, None] + self.slope * np.arange(1, self.horizon + 1)


class Historical(Baseline):
    """The distribution of all values of the training part, whatever came last: hard to beat for returns."""

    name = "historical"

    def learn(self, training: Array) -> None:
        self.mean = float(np.nanmean(training))

    def points(self, series: Array) -> Array:
        return np.full((len(series), self.horizon), self.mean)


def filled(series: Array, season: int = 1) -> Array:
    """A series ``(T,)`` with each missing value taken from a season before; NaN where nothing was known yet."""
    rows = -(-len(series) // season)
    flat = np.full(rows * season, np.nan)
    flat[: len(series)] = series
    table = flat.reshape(rows, season)
    last = np.maximum.accumulate(np.where(np.isnan(table), -1, np.arange(rows)[:, None]), axis=0)
    found = np.take_along_axis(table, last.clip(0), 0) if rows else table
    return np.where(last < 0, np.nan, found).reshape(-1)[: len(series)]


def season_before(values: Array, season: int, horizon: int) -> Array:
    """For t and each step h the last value up to t ``(T, horizon)`` that is whole seasons before t + h, or NaN."""
    padded = np.concatenate([np.full(season - 1, np.nan), values])  # place t + season - 1 holds time t
    return np.stack([padded[h % season :][: len(values)] for h in range(horizon)], 1)


def _errors(series: Array, points: Array, spread: Array) -> list[Array]:
    """For each step of the horizon: the known errors, in units of the spread."""
    found = []
    for step in range(points.shape[1]):
        end = max(0, len(series) - step - 1)
        errors = (series[step + 1 :] - points[:end, step]) / spread[:end, step]
        found.append(errors[np.isfinite(errors)])
    return found
