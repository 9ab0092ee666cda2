"""Baselines by hand, against statsmodels and arch step by step, and against poison in the future."""

import re
import sys

import numpy as np
import pytest

from recurra.errors import ConfigError, DataError
from recurra.tasks.baseline import filled, season_before
from recurra.tasks.forecast_baselines import BASELINES, Baseline, Garch
from recurra.tasks.statistical_baselines import Autoregression, ExponentialSmoothing

pytest.importorskip("statsmodels")
pytest.importorskip("arch")

NAN = np.nan
LEVELS = (0.1, 0.5, 0.9)
HORIZON = 9
EVERY = pytest.mark.parametrize("name", list(BASELINES))


def series() -> np.ndarray:
    """300 values with a season of 4, a slow walk, wild and calm stretches, and some missing."""
    random = np.random.default_rng(1)
    time = np.arange(300)
    noise = random.normal(size=300) * np.where(time // 40 % 2, 0.3, 1.0)
    values = 20 + np.array([0, 2, 5, 3])[time % 4] + 0.2 * random.normal(size=300).cumsum() + noise
    values[random.random(300) < 0.05] = NAN
    return values


@pytest.fixture(scope="module")
def learned() -> dict[str, Baseline]:
    return {name: kind(4).fit(series()[:200], HORIZON) for name, kind in BASELINES.items()}


def test_simple_baselines_by_hand() -> None:
    history = np.array([1.0, 2.0, 4.0, 3.0, NAN, 7.0, NAN])
    training = np.tile(history, 4)
    expected = {
        "naive": [7] * 6,
        "seasonal_naive": [NAN, 7, 3, NAN, 7, 3],
        "drift": [7 + 6 / 26 * h for h in range(1, 7)],
        "historical": [np.nanmean(training)] * 6,
    }
    training[-1] = 7.0
    training[-2] = NAN
    expected["drift"] = [7 + 6 / 27 * h for h in range(1, 7)]
    expected["historical"] = [np.nanmean(training)] * 6
    expected["seasonal_naive"] = [2, 7, 3, 2, 7, 3]
    for name, points in expected.items():
        found, _ = BASELINES[name](3).fit(training, 6).forecast(history, 6, LEVELS)
        assert found == pytest.approx(points), name


def test_missing_values_come_from_a_season_before() -> None:
    values = np.array([NAN, 1, 2, 3, NAN, NAN, NAN, NAN, 8])
    assert filled(values).tolist()[1:] == [1, 2, 3, 3, 3, 3, 3, 8]
    assert filled(values, 3).tolist() == pytest.approx([NAN, 1, 2, 3, 1, 2, 3, 1, 8], nan_ok=True)
    assert filled(np.zeros(0), 3).tolist() == []
    for season in (1, 2, 5):
        found = season_before(np.arange(12.0), season, 7)
        for t in range(12):
            for h in range(1, 8):
                place = t + h - season * -(-h // season)
                assert found[t, h - 1] == pytest.approx(place if place >= 0 else NAN, nan_ok=True)


@EVERY
def test_quantiles_are_those_of_its_own_errors(name: str, learned: dict[str, Baseline]) -> None:
    baseline, known = learned[name], series()[:200]
    places = list(range(8, 190))
    points, quantiles = baseline.back_test(known, places, HORIZON, LEVELS)
    came = np.stack([known[place + 1 : place + 1 + HORIZON] for place in places])
    there = ~np.isnan(came)
    for level, values in zip(LEVELS, np.moveaxis(quantiles, -1, 0), strict=True):
        assert (came < values)[there].mean() == pytest.approx(level, abs=0.03)
    spread = baseline.spread(known)[places]
    errors = (came[:, 2] - points[:, 2]) / spread[:, 2]
    middle = np.nanquantile(errors, 0.5)
    assert quantiles[0, 2, 1] == pytest.approx(points[0, 2] + spread[0, 2] * middle, abs=0.15)


@EVERY
def test_a_back_test_equals_forecasts_one_by_one_and_never_sees_the_future(
    name: str, learned: dict[str, Baseline]
) -> None:
    baseline, values = learned[name], series()
    origins = [40, 199, 200, 250]
    points, quantiles = baseline.back_test(values, origins, HORIZON, LEVELS)
    for place, origin in enumerate(origins):
        point, around = baseline.forecast(values[: origin + 1], HORIZON, LEVELS)
        assert points[place] == pytest.approx(point)
        assert quantiles[place] == pytest.approx(around)
        poisoned = values.copy()
        poisoned[origin + 1 :] = 1e9
        assert np.array_equal(baseline.back_test(poisoned, [origin], HORIZON, LEVELS)[1][0], quantiles[place])
    shorter = baseline.forecast(values, 3, LEVELS)[1]
    assert np.array_equal(shorter, baseline.forecast(values, HORIZON, LEVELS)[1][:3])


@EVERY
def test_what_came_after_the_training_part_is_not_learned(name: str, learned: dict[str, Baseline]) -> None:
    again = BASELINES[name](4).fit(series()[:200], HORIZON)
    first = learned[name].forecast(series(), HORIZON, LEVELS)[1]
    assert np.array_equal(again.forecast(series(), HORIZON, LEVELS)[1], first)


def test_autoregression_equals_statsmodels() -> None:
    from statsmodels.tsa.ar_model import AutoReg, ar_select_order

    values = filled(series())[20:]
    baseline = Autoregression(4).fit(values[:200], HORIZON)
    order = ar_select_order(values[:200], 23, ic="bic").ar_lags
    fitted = AutoReg(values[:200], order).fit()
    expected = fitted.apply(values).forecast(HORIZON)
    assert len(order) > 3
    assert baseline.forecast(values, HORIZON, LEVELS)[0] == pytest.approx(expected)


@pytest.mark.parametrize("season", [1, 4])
def test_exponential_smoothing_equals_statsmodels(season: int) -> None:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    values = filled(series(), 4)[20:]
    baseline = ExponentialSmoothing(season).fit(values[:200], HORIZON)
    trend, seasonal = baseline.kind
    assert seasonal == (season > 1)
    level = values[:season].mean()
    model = ETSModel(
        values,
        trend="add" if trend else None,
        damped_trend=trend,
        seasonal="add" if seasonal else None,
        seasonal_periods=season if seasonal else None,
        initialization_method="known",
        initial_level=level,
        initial_trend=0.0 if trend else None,
        initial_seasonal=values[:season] - level if seasonal else None,
    )
    expected = model.smooth(baseline.parameters).forecast(HORIZON)
    assert baseline.forecast(values, HORIZON, LEVELS)[0] == pytest.approx(np.asarray(expected))


def test_the_trend_of_exponential_smoothing_equals_statsmodels() -> None:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    random = np.random.default_rng(2)
    values = random.normal(size=150).cumsum().cumsum() + 5 * np.tile([0.0, 1, 3], 50)
    baseline = ExponentialSmoothing(3).fit(values, HORIZON)
    assert baseline.kind == (True, True)
    model = ETSModel(
        values,
        trend="add",
        damped_trend=True,
        seasonal="add",
        seasonal_periods=3,
        initialization_method="known",
        initial_level=values[:3].mean(),
        initial_trend=0.0,
        initial_seasonal=values[:3] - values[:3].mean(),
    )
    expected = model.smooth(baseline.parameters).forecast(HORIZON)
    assert baseline.forecast(values, HORIZON, LEVELS)[0] == pytest.approx(np.asarray(expected))


def test_garch_equals_arch() -> None:
    from arch import arch_model

    random, returns, variance = np.random.default_rng(3), np.empty(600), 1.0
    for place in range(600):
        returns[place] = 0.01 * variance**0.5 * random.normal()
        variance = 0.4 + 0.3 * (returns[place] / 0.01) ** 2 + 0.3 * variance
    baseline = Garch().fit(returns[:500], HORIZON)
    model = arch_model(returns / baseline.first**0.5, vol="GARCH", p=1, q=1, dist="t", rescale=False)
    fitted = model.fit(disp="off", last_obs=500, show_warning=False)
    expected = fitted.forecast(horizon=HORIZON, start=499).variance.to_numpy() * baseline.first
    found = baseline.variances(returns)[499:]
    assert np.allclose(found, expected, rtol=1e-6)  # arch begins with another variance, whose trace is gone
    returns[550] = NAN
    gap = baseline.variances(returns)
    assert gap[550, 0] == pytest.approx(gap[549, 1])
    assert np.isfinite(baseline.back_test(returns, [550], HORIZON, LEVELS)[1]).all()


@EVERY
def test_bad_input_gets_one_clear_error(name: str, learned: dict[str, Baseline]) -> None:
    kind, baseline = BASELINES[name], learned[name]
    least = kind(4).least(HORIZON)
    with pytest.raises(DataError, match=f"{name}: expected {least} known values or more"):
        kind(4).fit(np.full(500, NAN), HORIZON)
    with pytest.raises(DataError, match=f"{name}: expected a row of finite numbers"):
        kind(4).fit(np.full(500, np.inf), HORIZON)
    with pytest.raises(ConfigError, match="a season of 1 step or more, got 0"):
        kind(0)
    with pytest.raises(ConfigError, match="a horizon of 1 step or more, got 0"):
        kind(4).fit(series(), 0)
    with pytest.raises(ConfigError, match="learned 1 to 9 steps, asked for a horizon of 10"):
        baseline.forecast(series(), 10, LEVELS)
    with pytest.raises(DataError, match=re.escape("origins within 300 values, got [300]")):
        baseline.back_test(series(), [300], HORIZON, LEVELS)


@pytest.mark.parametrize("name", ["naive", "seasonal_naive", "drift", "exponential_smoothing"])
def test_nothing_known_is_said(name: str, learned: dict[str, Baseline]) -> None:
    with pytest.raises(DataError, match="too little is known up to value 3"):
        learned[name].forecast(np.full(3, NAN), HORIZON, LEVELS)


def test_a_constant_series() -> None:
    for name, kind in BASELINES.items():
        if name == "garch":
            with pytest.raises(DataError, match="the training part is constant"):
                kind(4).fit(np.full(200, 3.0), HORIZON)
            continue
        points, quantiles = kind(4).fit(np.full(200, 3.0), HORIZON).forecast(np.full(30, 3.0), HORIZON, LEVELS)
        assert points == pytest.approx(3.0), name
        assert quantiles == pytest.approx(3.0), name


def test_without_its_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.tsa.ar_model", None)
    with pytest.raises(ConfigError, match=r"needs statsmodels; install it with: pip install 'recurra\[forecast\]'"):
        Autoregression().fit(series(), HORIZON)
