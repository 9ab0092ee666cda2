"""Forecasting: no leak, honest intervals, the units of answers, streams, back-tests by hand, the command line."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.tasks.trials import forecast

from recurra.cli import main
from recurra.data.frames import Panel, Series
from recurra.data.frequency import Frequency
from recurra.errors import ConfigError, DataError, RunError, StateError
from recurra.heads.comparison import diebold_mariano
from recurra.run.fit import Fit
from recurra.tasks import forecast_drawing
from recurra.tasks.forecast import Forecast
from recurra.tasks.forecast_change import change, restore
from recurra.tasks.forecast_config import (
    ForecastConfig,
    ForecastData,
    ForecastIntervals,
    ForecastMeasure,
    ForecastOutput,
)
from recurra.tasks.forecast_measure import Backtest, Forecasts, compared
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_panel import appended, before, load_panel, save_panel, tail
from recurra.tasks.forecast_reach import newest
from recurra.tasks.forecast_table import score_table, verdict
from recurra.tasks.forecast_windows import HeldOut


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned four saws, in a folder."""
    folder = tmp_path_factory.mktemp("forecast")
    task = forecast(folder)
    task.fit(folder / "run", Fit(steps=30, learning_rate=0.03, warmup=3, evaluate_every=15), quiet=True)
    return folder / "run"


@pytest.fixture(scope="module")
def task(run: Path) -> Forecast:
    return Forecast.load(run)


def panel_of(*values: list[float], start: int = 0) -> Panel:
    empty = np.empty((0,))
    series = []
    for number, y in enumerate(values):
        stamps = np.arange(start, start + len(y))
        blank = np.empty((len(y), 0))
        series.append(Series("abcdef"[number], stamps, np.array(y, dtype=float), blank, blank, empty))
    return Panel(tuple(series), Frequency("integer"))


def poisoned(path: Path, after: int, value: str) -> None:
    """The rows after a step say something else."""
    head, *rows = path.read_text("utf-8").splitlines()
    cells = [row.split(",") for row in rows]
    cells = [[name, step, value if int(step) >= after else y] for name, step, y in cells]
    path.write_text("\n".join([head, *(",".join(row) for row in cells)]), encoding="utf-8")


@pytest.mark.parametrize("value", ["", "1e6"])
def test_training_reads_no_row_that_is_held_out(tmp_path: Path, value: str) -> None:
    clean = forecast(tmp_path)
    want = clean.data().train.epoch(0)
    poisoned(tmp_path / "saws.csv", 30, value)
    foul = Forecast(clean.config)
    foul.quiet = True
    if value == "":  # a part without a value has no window, which is said when it is asked for
        with pytest.raises(DataError, match="no window"):
            foul.data().valid.epoch(0)
    got = foul.data().train.epoch(0)
    assert foul.known_facts().learned()["scaling"] == clean.known_facts().learned()["scaling"]
    assert len(got) == len(want) > 0
    for one, two in zip(got, want, strict=True):
        assert all(a.equal(b) or (a.isnan() == b.isnan()).all() for a, b in zip(one, two, strict=True))
        assert one.target.isfinite().all()
        assert one.y.equal(two.y)


def test_a_forecast_does_not_see_what_came(task: Forecast) -> None:
    """Of each window of a back-test, the rows after its cut turned to NaN change nothing."""
    windows = task.held_out("test")
    assert isinstance(windows, HeldOut)
    want = task.backtest(windows)
    row, end = int(want.rows[1]), int(want.ends[1])
    series = windows.panel.series[row]
    cut = series._replace(**{name: getattr(series, name)[:end] for name in ("stamps", "y", "past", "known")})
    got = task.coming(task.known_facts().panel([cut]))
    assert torch.allclose(got.mean[0], want.said[""].mean[1], atol=1e-5)
    assert torch.allclose(got.quantiles[0], want.said[""].quantiles[1], atol=1e-5)


def test_calibrated_quantiles_hold_what_they_promise_where_they_were_learned(task: Forecast) -> None:
    valid = task.held_out("valid")
    assert isinstance(valid, HeldOut)
    windows = replace(valid, stride=1)
    test = task.backtest(windows)
    for level in (0.1, 0.25, 0.75, 0.9):
        below = (test.target <= test.at(level)).double().mean(0)
        count = len(test.rows)
        wrong = (below - level).abs().max()
        assert wrong <= 1.5 / math.sqrt(count), f"{level}: {below.tolist()} of {count}"
    assert task.conformal is not None
    assert task.said_levels[0] >= 0.01  # 0.005 would need 200 windows, the validation part has fewer
    assert set(task.said_levels) < set(task.levels)


def test_answers_are_the_networks_words_moved_and_scaled(task: Forecast) -> None:
    panel = task.read_panel(task.config.data.path)
    got = task.coming(panel)
    data = task.data()
    scaling = task.known_facts().scaling
    of = data.test.make(1).histories  # type: ignore[attr-defined]
    window = of.gather(of.last())
    said = task.trained_network().predict(window, torch.tensor(task.said_levels))
    assert task.conformal is not None
    quantiles = task.conformal(said.quantiles)
    location, scale = scaling.location[1:, None, None], scaling.scale[1:, None, None]
    assert torch.allclose(got.quantiles, location + scale * quantiles, atol=1e-4)
    assert got.stamps.tolist() == [[60, 61, 62]] * 4
    asked = task.coming(panel, (0.3, 0.5))
    assert torch.allclose(asked.quantile(0.5), got.quantile(0.5))
    with pytest.raises(ConfigError, match=r"one of the quantiles 0\.3, 0\.5"):
        asked.quantile(0.4)


def test_a_back_test_by_hand(task: Forecast) -> None:
    windows = task.held_out("test")
    assert isinstance(windows, HeldOut)
    test = task.backtest(windows)
    assert test.ends.tolist() == [45, 48, 51, 54, 57] * 4
    measured = task.scores(test, windows.stride)
    off, naive = [], []
    for row, end, median in zip(test.rows, test.ends, test.median(), strict=True):
        y = windows.panel.series[int(row)].y
        off.append(np.abs(y[end : end + 3] - median.numpy()))
        naive.append(np.abs(y[end : end + 3] - y[end - 1] - np.median(_steps(y[:30]), axis=0)))
    assert measured["mae"] == pytest.approx(np.mean(off))
    told = task.evaluate()
    deviations = np.repeat([np.std(windows.panel.series[row].y[:30]) for row in range(4)], 5)
    assert told["scaled_mae"] == pytest.approx(np.mean(np.mean(off, 1) / deviations), rel=1e-4)
    squares = (test.target - test.said["naive"].mean).square().mean(1).numpy()
    assert told["naive.scaled_mse"] == pytest.approx(np.mean(squares / deviations**2), rel=1e-4)
    assert any(f"MAE {told['scaled_mae']:.4f}; of naive" in line for line in task.lines(told))
    assert "scaled_mse" not in measured
    assert measured["naive.mae"] == pytest.approx(np.mean(naive))
    mine = torch.tensor(np.reshape(off, (4, 5, 3)).mean((0, 2)))
    best = min(("naive", "drift"), key=lambda name: measured[f"{name}.mae"])
    theirs = (test.target - test.median(best)).abs().reshape(4, 5, 3).mean((0, 2))
    assert measured["p_value"] == pytest.approx(diebold_mariano(mine, theirs, 1).p_value)


def _steps(y: np.ndarray) -> np.ndarray:
    """Errors of the naive forecast, 1 to 3 steps ahead, over the training part."""
    return np.stack([y[h : len(y) - 3 + h] - y[: len(y) - 3] for h in (1, 2, 3)], 1)


def test_a_table_marks_the_best_of_each_column() -> None:
    measured = {"mae": 1.0, "crps": 3.0, "coverage_80": 0.79, "naive.mae": 2.0, "naive.crps": 2.5}
    lines = score_table(measured | {"naive.coverage_80": 0.5, "p_value": 0.2})
    assert [line.split() for line in lines] == [
        ["MAE", "CRPS", "in", "80", "%"],
        ["forecaster", "1*", "3", "79.0%"],
        ["naive", "2", "2.5*", "50.0%"],
    ]
    assert "MAE 50.0% lower than that of the best baseline, naive" in verdict(measured | {"p_value": 0.2}, "mae")
    assert "chance alone" in verdict(measured | {"p_value": 0.2}, "mae")
    assert verdict({"mae": 1.0}, "mae") == ""


def test_returns_are_told_with_sign_and_volatility() -> None:
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    z = torch.special.ndtri(levels)
    target = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    good = Forecasts(0.1 * target, 0.1 * target[..., None] + z)
    wide = Forecasts(-target, (3 * z).expand(200, 2, 3))
    test = Backtest(
        torch.zeros(200).long(),
        2 * torch.arange(200),
        torch.arange(200),
        target,
        torch.ones(200),
        levels,
        {"": good, "w": wide},
    )
    measured = compared(test, (80,), 1, returns=True)
    assert measured["direction"] == 1
    near = test._replace(ends=torch.arange(200))  # each value is in two windows, and counts once
    assert compared(near, (80,), 2, returns=True)["direction_low"] < measured["direction_low"] < 1
    assert measured["w.direction"] == 0
    assert test.variance().mean() == pytest.approx(1, rel=0.02)
    assert measured["qlike"] == pytest.approx(float(target.square().mean()), rel=0.05)  # log 1 + r / 1
    assert measured["w.qlike"] == pytest.approx(math.log(9) + float(target.square().mean()) / 9, rel=0.05)
    assert measured["p_value"] < 0.01
    assert measured["coverage_80"] == pytest.approx(0.85, abs=0.05)


def test_returns_are_drawn_as_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(forecast_drawing, "draw_copying", lambda *given: drawn.append(given))
    windows: Any = SimpleNamespace(
        panel=panel_of([1.0, -2.0, np.nan, 3.0]), rows=torch.zeros(3), ends=torch.tensor([1, 2, 3])
    )
    quantiles = torch.tensor([[-1.0, 0.5, 2.0]]).expand(3, 1, 3)
    forecast_drawing.draw_next_price(
        windows, Forecasts(quantiles[..., 1], quantiles), torch.tensor([0.1, 0.5, 0.9]), Path("next.png")
    )
    _, prices, forecast, *_ = drawn[0]
    assert np.allclose(prices, 100 * np.exp([-0.01, np.nan, 0.02]), equal_nan=True)
    assert np.allclose(forecast, 100 * np.exp(np.array([0.01, -0.01, -0.01]) + 0.005))


def test_what_is_forecast_of_a_series() -> None:
    y = np.array([100.0, np.nan, 110.0, 99.0])
    got = change("returns", y, "a")
    assert got == pytest.approx([np.nan, np.nan, 100 * math.log(1.1), 100 * math.log(0.9)], nan_ok=True)
    assert change("returns", y[2:], "a", 100.0) == pytest.approx(got[2:])
    logs = change("log", np.array([0.0, 3.0, np.nan]), "a")
    assert restore("log", torch.from_numpy(logs)).numpy() == pytest.approx([0.0, 3.0, np.nan], nan_ok=True)
    assert change("none", y, "a") is y
    with pytest.raises(
        DataError, match=r"series 'a': data.change = 'returns' needs values above 0, got -1 in row 1"
    ):
        change("returns", np.array([1.0, -1.0]), "series 'a'")


def test_a_stream_is_saved_and_goes_on_in_another_one(task: Forecast, tmp_path: Path) -> None:
    raw = {"unique_id": "b", "ds": [0, 1], "y": [3.0, 5.0]}
    stream = task.stream(raw)
    stream.push(7.0)
    stream.save(tmp_path / "memory.safetensors")
    want = stream.push(math.nan)
    other = task.stream({"unique_id": "d", "ds": [5], "y": [1.0]})
    other.load(tmp_path / "memory.safetensors")
    got = other.push(math.nan)
    assert got.quantiles.equal(want.quantiles)
    assert got.stamps.tolist() == want.stamps.tolist() == [[4, 5, 6]]
    with pytest.raises(DataError, match="finite value"):
        stream.push(math.inf)
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "memory.safetensors").read_bytes()[:50])
    with pytest.raises(RunError):
        stream.load(tmp_path / "other.safetensors")


def test_a_stream_refuses_the_memory_of_another_network(task: Forecast, tmp_path: Path) -> None:
    stream = task.stream({"unique_id": "b", "ds": [0, 1], "y": [3.0, 5.0]})
    stream.memory = stream.memory._replace(h=stream.memory.h[:, :3])
    stream.save(tmp_path / "memory.safetensors")
    with pytest.raises(StateError, match="another network"):
        task.stream({"unique_id": "b", "ds": [0], "y": [3.0]}).load(tmp_path / "memory.safetensors")


def test_the_newest_steps_of_windows_are_those_of_a_shorter_history(task: Forecast) -> None:
    of = task.data().test.make(1).histories  # type: ignore[attr-defined]
    windows = torch.tensor([[0, 2], [1, 5], [2, 40], [3, 60]])
    whole = of.gather(windows)
    of.lookback = 4
    short = of.gather(windows)
    of.lookback = 12
    for name, one, two in zip(short._fields, newest(whole, 4), short, strict=True):
        one = one[:, :4] if name in ("y", "seen", "past", "known") else one
        assert one.nan_to_num(7.0).equal(two.nan_to_num(7.0)), name


def test_how_far_back_it_looks(task: Forecast) -> None:
    reach = task.reach("valid", 1)
    assert [glimpse.steps for glimpse in reach.glimpses] == [1, 2, 4, 8, 12]
    assert reach.glimpses[-1].moved == 0
    assert reach.glimpses[0].error > reach.glimpses[-1].error
    assert reach.steps in (2, 4, 8, 12)


def test_panels_are_cut_joined_and_saved(tmp_path: Path) -> None:
    panel = panel_of([1, 2, 3, 4], [5, 6])
    assert [one.y.tolist() for one in tail(panel, 3).series] == [[2, 3, 4], [5, 6]]
    assert [one.y.tolist() for one in before(panel, 2).series] == [[1, 2]]
    with pytest.raises(DataError, match="more than 4 steps, the longest has 4"):
        before(panel, 4)
    joined = appended(panel, panel_of([40, 50], start=3))
    assert joined.series[0].y.tolist() == [1, 2, 3, 40, 50]
    gap = appended(tail(panel, 2), panel_of([9], start=5))
    assert gap.series[0].stamps.tolist() == [2, 3, 4, 5]
    assert gap.series[0].y == pytest.approx([3, 4, np.nan, 9], nan_ok=True)
    with pytest.raises(DataError, match="expected rows after 2, what is kept begins there; the last one is at 0"):
        appended(tail(panel, 2), panel_of([9]))
    with pytest.raises(DataError, match="integer"):
        appended(panel, replace(panel, frequency=Frequency("day")))
    save_panel(gap, tmp_path / "panel")
    again = load_panel(tmp_path / "panel")
    assert again.frequency == gap.frequency
    assert again.series[0].y == pytest.approx(gap.series[0].y, nan_ok=True)
    (tmp_path / "panel.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="no series as they were saved"):
        load_panel(tmp_path / "panel")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: ForecastConfig(horizon=0), "horizon: expected at least 1"),
        (lambda: ForecastConfig(history=-1), "history: expected 0 or more"),
        (lambda: ForecastConfig(data=ForecastData(past=("y",))), "'y' is in several"),
        (lambda: ForecastConfig(data=ForecastData(split=(0.5, 0.6, 0.2))), "data.split"),
        (lambda: ForecastConfig(data=ForecastData(frequency="fortnight")), "frequency"),
        (lambda: ForecastConfig(data=ForecastData(held_out=(0, 3))), "data.held_out"),
        (lambda: ForecastConfig(output=ForecastOutput("quantile")), "did you mean 'quantiles'"),
        (lambda: ForecastConfig(output=ForecastOutput(quantiles=(0.1, 0.9))), "0.5, the median"),
        (lambda: ForecastConfig(output=ForecastOutput(quantiles=(0.5, 0.1))), "rising numbers"),
        (lambda: ForecastConfig(model=ForecastNet(kind="autoregressive")), "draws sample paths"),
        (lambda: ForecastConfig(output=ForecastOutput("negative_binomial")), "counts as they are"),
        (lambda: ForecastConfig(intervals=ForecastIntervals(levels=(100,))), "between 0 and 100"),
        (lambda: ForecastConfig(measure=ForecastMeasure(baselines=("naiv",))), "did you mean 'naive'"),
    ],
)
def test_configurations_that_cannot_be(wrong: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        wrong()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"ds": [1, 2], "y": [1.0]}, "columns of one length"),
        ([1.0, 2.0], "dict of columns"),
        ({"unique_id": ["a", "b"], "ds": [1, 1], "y": [1.0, 2.0]}, "rows of one series, got 2"),
        ({"ds": [1, 2], "y": [1.0, math.inf]}, "finite"),
    ],
)
def test_questions_that_cannot_be_answered(task: Forecast, raw: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        task.predict(raw)


def test_the_command_line_from_a_file_to_a_table(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    forecast(tmp_path)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> list[str]:
        with pytest.raises(SystemExit) as stop:
            main(list(words))
        assert stop.value.code == 0
        return capsys.readouterr().out.splitlines()

    small = ("--set", "horizon=2", "--set", "history=6", "--set", "model.hidden=4", "--set", "fit.steps=2")
    small = (*small, "--set", "measure.baselines=['naive', 'drift']")
    call("train", "forecast", "--data", "saws.csv", *small, "--out", "run", "--quiet")
    rows = call("predict", "run", "--data", "saws.csv")
    assert rows[0] == "unique_id,ds,mean,lo-80,hi-80,lo-95,hi-95"
    assert [row.split(",")[:2] for row in rows[1:4]] == [["a", "60"], ["a", "61"], ["b", "60"]]
    answers = [json.loads(line) for line in call("predict", "run", "--data", "saws.csv", "--json")]
    assert [answer["unique_id"] for answer in answers] == list("abcd")
    assert answers[0]["mean"] == pytest.approx([float(row.split(",")[2]) for row in rows[1:3]], rel=1e-5)
    table = call("evaluate", "run", "--pictures", "pictures")
    assert table[0].split()[:3] == ["MAE", "RMSE", "MASE"]
    assert [line.split()[0] for line in table[1:4]] == ["forecaster", "naive", "drift"]
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {"fans.png", "windows.png", "error_by_step.png", "calibration.png", "next.png"}
    told = json.loads(call("diagnose", "history", "run", "--json", "--out", "reach.png")[0])
    assert [shown["steps"] for shown in told["shown"]] == [1, 2, 4, 6]
    assert (tmp_path / "reach.png").stat().st_size > 1000
