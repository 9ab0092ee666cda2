"""Baselines that statistics has known for long: autoregression, exponential smoothing, GARCH.

Their parameters are found by statsmodels and arch (``recurra[forecast]``), once, on the training part.
"""

import warnings
from importlib import import_module
from typing import Any

import numpy as np

from recurra.errors import ConfigError, DataError
from recurra.tasks.baseline import Array, Baseline, filled, season_before

__all__ = ["Autoregression", "ExponentialSmoothing", "Garch"]

LONGEST = (
    10_000  # the last values of the training part that parameters are fitted on: more cost time and say little
)
MOST_LAGS = 60


class Autoregression(Baseline):
    """Each value as a weighted sum of those before it (Yule 1927).

        y_t = c + sum over i = 1 .. p of a_i y_(t-i) + e_t

    Its order p is that with the lowest BIC (Schwarz 1978), up to a season and one step or 10 log10(T), whichever is
    more, at most 60. Missing values are taken from the step before, those before the first from the mean.
    """

    name = "autoregression"

    def least(self, horizon: int) -> int:
        return horizon + 20

    def learn(self, training: Array) -> None:
        self.mean = float(np.nanmean(training))
        series = self._known(training)[-LONGEST:]
        self.constant, self.weights = self.mean, np.zeros(0)
        if np.ptp(series):
            self.constant, self.weights = _autoregression(series, self._most(len(series)))

    def _known(self, series: Array) -> Array:
        return np.nan_to_num(filled(series), nan=self.mean)

    def _most(self, count: int) -> int:
        return min(max(self.season + 1, int(10 * np.log10(count))), MOST_LAGS, count // 4)

    def points(self, series: Array) -> Array:
        order, known = len(self.weights), self._known(series)
        constants, lags = self._ahead()
        if not order or not len(series):
            return np.tile(constants, (len(series), 1))
        padded = np.concatenate([np.full(order - 1, self.mean), known])
        newest_first = np.lib.stride_tricks.sliding_window_view(padded, order)[:, ::-1]
        return constants + newest_first @ lags.T

    def _ahead(self) -> tuple[Array, Array]:
        """Each step as a constant ``(H,)`` and weights ``(H, p)`` of the last values, the newest first."""
        order = len(self.weights)
        rows = np.zeros((self.horizon, 1 + order))
        past = np.concatenate([np.zeros((order, 1)), np.eye(order)], 1)  # the newest first
        for step in range(self.horizon):
            rows[step] = self.weights @ past
            rows[step, 0] += self.constant
            past = np.concatenate([rows[step : step + 1], past])[:order]
        return rows[:, 0], rows[:, 1:]


class ExponentialSmoothing(Baseline):
    """A level, a damped trend and a season, each a smoothed past (Holt 1957, Winters 1960; Hyndman et al. 2008).

        y_t = l_(t-1) + f b_(t-1) + s_(t-m) + e_t                l_t = l_(t-1) + f b_(t-1) + a e_t
        s_t = s_(t-m) + g e_t                                     b_t = f b_(t-1) + b e_t

    With or without trend, with or without season: what has the lowest AIC on the training part. A pass begins with
    the first season as it is: there are no forecasts before its end. Missing values are taken from a season before.
    """

    name = "exponential_smoothing"

    def least(self, horizon: int) -> int:
        return horizon + 3 * self.season + 10

    def learn(self, training: Array) -> None:
        known = self._known(training)
        series = known[_begin(known) :][-LONGEST:]
        self.parameters, self.kind = np.array([0.5]), (False, False)
        if np.ptp(series):
            seasons = (False, True) if self.season > 1 else (False,)
            kinds = [(trend, season) for trend in (False, True) for season in seasons]
            fits = [(kind, _fitted(_smoothing(series, kind, self.season))) for kind in kinds]
            self.kind, best = min(fits, key=lambda fit: fit[1].aic)
            self.parameters = np.asarray(best.params)

    def _known(self, series: Array) -> Array:
        return filled(series, self.season)

    def points(self, series: Array) -> Array:
        known, found = self._known(series), np.full((len(series), self.horizon), np.nan)
        begin = _begin(known)
        if len(known) - begin > self.season:
            model = _smoothing(known[begin:], self.kind, self.season)
            with np.errstate(
                divide="ignore", invalid="ignore"
            ):  # the likelihood of a series without errors, which nobody asks for
                states = np.asarray(model.smooth(self.parameters).states)
            found[begin + self.season :] = self._ahead(states)[self.season :]
        return found

    def _ahead(self, states: Array) -> Array:
        """Forecasts ``(T, H)`` from states ``(T, S)``: level, trend and season, as far as the model has them."""
        trend, season = self.kind
        steps = np.arange(1, self.horizon + 1)
        found = np.repeat(states[:, :1], self.horizon, 1)
        if trend:
            damping = self.parameters[-1]
            found += states[:, 1:2] * (damping**steps).cumsum()
        if season:
            found += season_before(states[:, -1], self.season, self.horizon)
        return found


class Garch(Baseline):
    """GARCH(1, 1) with Student t innovations, for returns: wild days come together (Engle 1982, Bollerslev 1986).

        y_t = m + e_t        v_(t+1) = w + a e_t^2 + b v_t        v_(t+h) = V + (a + b)^(h-1) (v_(t+1) - V)

    with V = w / (1 - a - b). Quantiles are those of the errors over sqrt(v), times the sqrt(v) of the step: that is
    filtered historical simulation (Barone-Adesi et al. 1999). A missing return leaves the variance as expected.
    """

    name = "garch"

    def least(self, horizon: int) -> int:
        return horizon + 100

    def learn(self, training: Array) -> None:
        returns = training[np.isfinite(training)]
        scale = float(returns.std())
        if not scale:
            raise DataError("garch: the training part is constant; expected returns, which change")
        model = _library("arch").arch_model(
            returns[-LONGEST:] / scale, mean="Constant", vol="GARCH", p=1, q=1, dist="t", rescale=False
        )
        fitted = model.fit(disp="off", show_warning=False).params
        self.mean = float(fitted["mu"]) * scale
        self.constant, self.first = float(fitted["omega"]) * scale**2, scale**2
        self.news, self.memory = float(fitted["alpha[1]"]), float(fitted["beta[1]"])

    def points(self, series: Array) -> Array:
        return np.full((len(series), self.horizon), self.mean)

    def variances(self, series: Array) -> Array:
        """The variance ``(T, horizon)`` of each of the steps after t, from ``series[: t + 1]``."""
        squares, now, expected = ((series - self.mean) ** 2).tolist(), self.first, np.empty(len(series))
        for place, square in enumerate(squares):
            seen = square if square == square else now  # NaN is not itself
            now = self.constant + self.news * seen + self.memory * now
            expected[place] = now
        # (a + b)^(h-1) v + w (1 + (a + b) + ... + (a + b)^(h-2)): V has no value where a + b is 1.
        powers = (self.news + self.memory) ** np.arange(self.horizon)
        return powers * expected[:, None] + self.constant * (powers.cumsum() - powers)

    def spread(self, series: Array) -> Array:
        return np.sqrt(self.variances(series))


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        raise ConfigError(
            f"this baseline needs {package}; install it with: pip install 'recurra[forecast]'"
        ) from error


def _autoregression(series: Array, most: int) -> tuple[float, Array]:
    """Constant, and the weights of the values before, the newest first."""
    tool = _library("statsmodels.tsa.ar_model")
    order = tool.ar_select_order(series, most, ic="bic").ar_lags or []
    fitted = tool.AutoReg(series, list(order)).fit().params
    return float(fitted[0]), np.asarray(fitted[1:])


def _begin(series: Array) -> int:
    """From where on all values are known."""
    unknown = np.flatnonzero(np.isnan(series))
    return int(unknown[-1]) + 1 if len(unknown) else 0


def _smoothing(series: Array, kind: tuple[bool, bool], season: int) -> Any:
    """statsmodels' model of a series, which begins with its first season as it is."""
    (trend, seasonal), level = kind, float(series[:season].mean())
    first: dict[str, Any] = {"initial_level": level}
    if trend:
        first["initial_trend"] = 0.0
    if seasonal:
        first["initial_seasonal"] = series[:season] - level
    return _library("statsmodels.tsa.exponential_smoothing.ets").ETSModel(
        series,
        trend="add" if trend else None,
        damped_trend=trend,
        seasonal="add" if seasonal else None,
        seasonal_periods=season if seasonal else None,
        initialization_method="known",
        **first,
    )


def _fitted(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stopped early is compared by its AIC like any other
        return model.fit(disp=False)
