"""Intervals that follow the latest errors: against loops, blind to the future, alike in predict and in a stream."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tasks.trials import forecast

from recurra.data.frames import Panel, Series
from recurra.data.frequency import Frequency
from recurra.errors import ConfigError, StateError
from recurra.heads.conformal import fit_conformal
from recurra.run.fit import Fit
from recurra.tasks.forecast import Forecast
from recurra.tasks.forecast_config import ForecastIntervals
from recurra.tasks.forecast_windows import histories

RECENT, STEPS, HORIZON = 40, 70, 3


@pytest.fixture(scope="module", params=["shift", "stretch"])
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Forecast:
    """A forecaster that hardly learned, so that there are errors; it reads all of each series, as a stream does."""
    task = forecast(tmp_path_factory.mktemp("recent"))
    intervals = ForecastIntervals((50, 80), conformal=request.param, recent=RECENT)
    task = Forecast(replace(task.config, intervals=intervals, history=90))
    task.fit(tmp_path_factory.mktemp("run") / "run", Fit(steps=4, warmup=1, evaluate_every=4), quiet=True)
    return task


def noisy(steps: int = STEPS, seed: int = 0, gap: int | None = None) -> Panel:
    """A series whose scale is known, of noise."""
    y = np.random.default_rng(seed).normal(4, 2, STEPS)[:steps]
    if gap is not None:
        y[gap] = math.nan
    empty = np.empty((steps, 0))
    return Panel((Series("b", np.arange(steps), y, empty, empty, empty[0]),), Frequency("integer"))


def test_moves_against_loops(task: Forecast) -> None:
    """The forecast after each step by what `predict` had said before it, one moment after the other."""
    panel = noisy(gap=50)
    windows = task.windows_of(panel, torch.tensor([60]))
    got = task.backtest(replace(windows, stride=1))
    of = histories(panel, task.known_facts(), task.config, ends=torch.tensor([60]))
    conformal = task.conformal
    assert conformal is not None
    count = len(conformal.levels)
    for place, end in enumerate(got.ends.tolist()):
        errors, said = torch.zeros(RECENT, HORIZON), torch.zeros(RECENT, HORIZON, count)
        for back in range(RECENT):
            for step in range(HORIZON):
                target = end - 1 - back
                window = of.gather(torch.tensor([[0, target - step]]))
                errors[back, step] = window.target[0, step]
                said[back, step] = task._scaled_quantiles(window)[0, step]
        moved = fit_conformal(errors, said, conformal.levels, conformal.kind)
        window = of.gather(torch.tensor([[0, end]]))
        want = moved(task._scaled_quantiles(window).double()) * window.scale + window.location
        assert torch.allclose(got.said[""].quantiles[place], want[0], atol=1e-5)
    assert len(got.ends) == STEPS - 60 - HORIZON + 1


def test_moves_do_not_see_what_comes(task: Forecast) -> None:
    panel = noisy()
    y = panel.series[0].y.copy()
    y[61:] = math.nan
    blind = replace(panel, series=(panel.series[0]._replace(y=y),))
    want, got = (task.backtest(task.windows_of(one, torch.tensor([60]))).said[""] for one in (panel, blind))
    assert torch.allclose(want.quantiles[0], got.quantiles[0], atol=1e-5)


def test_a_stream_says_what_predict_says(task: Forecast, tmp_path: Path) -> None:
    stream = task.stream_of(noisy(20))
    whole = noisy(STEPS, gap=55)
    for step in range(20, STEPS):
        if step == 50:  # it goes on in another one
            stream.save(tmp_path / "memory.safetensors")
            stream = task.stream_of(noisy(20))
            stream.load(tmp_path / "memory.safetensors")
        coming = stream.push(whole.series[0].y[step])
        known = replace(whole, series=(_cut(whole.series[0], step + 1),))
        want = task.coming(known)
        assert torch.allclose(coming.quantiles, want.quantiles, atol=1e-4), step


def test_too_few_errors_leave_what_was_validated(task: Forecast) -> None:
    panel = noisy(1)
    moved = task.coming(panel).quantiles
    plain = Forecast(replace(task.config, intervals=replace(task.config.intervals, recent=0)))
    plain.facts, plain.conformal, plain.trained = task.facts, task.conformal, task.trained
    assert moved.equal(plain.coming(panel).quantiles)


def test_intervals_follow_a_calmer_year(task: Forecast) -> None:
    """Noise of a tenth: after so many values the intervals hold 80 % again, those that were validated hold all."""
    y = np.random.default_rng(3).normal(4, 0.2, 400)
    empty = np.empty((400, 0))
    panel = Panel((Series("b", np.arange(400), y, empty, empty, empty[0]),), Frequency("integer"))
    windows = task.windows_of(panel, torch.tensor([100]))
    followed = task.scores(task.backtest(replace(windows, stride=1)), 1)
    plain = Forecast(replace(task.config, intervals=replace(task.config.intervals, recent=0)))
    plain.facts, plain.conformal, plain.trained = task.facts, task.conformal, task.trained
    kept = plain.scores(plain.backtest(replace(windows, stride=1)), 1)
    assert abs(followed["coverage_80"] - 0.8) < 0.08 < abs(kept["coverage_80"] - 0.8)
    assert followed["crps"] < kept["crps"]


def test_refusals(task: Forecast, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'shift' or 'stretch'"):
        replace(task.config, intervals=ForecastIntervals(conformal="none", recent=20))
    with pytest.raises(ConfigError, match="recent"):
        replace(task.config, intervals=ForecastIntervals(recent=-1))
    stream = task.stream_of(noisy(20))
    assert stream.latest is not None
    stream.latest = stream.latest._replace(errors=stream.latest.errors[1:])
    stream.save(tmp_path / "memory.safetensors")
    with pytest.raises(StateError, match="another network"):
        task.stream_of(noisy(20)).load(tmp_path / "memory.safetensors")


def _cut(series: Series, end: int) -> Series:
    return series._replace(**{name: getattr(series, name)[:end] for name in ("stamps", "y", "past", "known")})
