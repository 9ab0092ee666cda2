"""The forecaster on data frames: libraries, back-tests that see nothing ahead, new rows, saving, manners."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone

from recurra.errors import ConfigError, DataError, DataWarning, RunError
from recurra.tasks import Forecaster

HOURS = pd.date_range("2024-01-01", periods=120, freq="h").to_numpy()
SMALL = {"history": 8, "hidden": 6, "steps": 6, "settings": {"model.decoder": 8, "data.batch": 16}}


def frame(names: str = "ab", rows: int = 120) -> pd.DataFrame:
    """Days of different heights, with a covariate that says when the sun is up."""
    parts = []
    for height, name in enumerate(names, 1):
        hour = np.arange(rows) % 24
        noise = 0.1 * np.random.default_rng(height).normal(size=rows)
        y = height * (10 + np.sin(2 * np.pi * hour / 24) + noise)
        parts.append(pd.DataFrame({"unique_id": name, "ds": HOURS[:rows], "y": y, "sun": (hour > 6).astype(float)}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster(3, **SMALL).fit(frame())


def test_a_frame_goes_in_and_one_of_its_kind_comes_out(fitted: Forecaster) -> None:
    got = fitted.predict(level=[80, 99])
    assert list(got.columns) == ["unique_id", "ds", "mean", "lo-80", "hi-80", "lo-99", "hi-99"]
    assert got["unique_id"].tolist() == ["a"] * 3 + ["b"] * 3
    assert got["ds"].tolist() == 2 * [pd.Timestamp("2024-01-06") + pd.Timedelta(hours=h) for h in range(3)]
    assert got["ds"].dtype == frame()["ds"].dtype
    assert (got["lo-99"] <= got["lo-80"]).all()
    assert (got["lo-80"] <= got["hi-80"]).all()
    assert (got["hi-80"] <= got["hi-99"]).all()
    rows = frame()
    table = pl.DataFrame({name: rows[name].to_list() for name in rows})
    other = fitted.predict(table, level=[80, 99])
    assert np.allclose(other["mean"].to_numpy(), got["mean"])  # of the library that it was fitted on
    same = Forecaster(3, **SMALL).fit(table)
    assert isinstance(same.predict(), pl.DataFrame)
    assert same.predict().schema["ds"] == table.schema["ds"]
    assert np.allclose(same.predict(level=[80, 99])["mean"].to_numpy(), got["mean"])


def test_a_back_test_is_what_predict_says_of_the_rows_before(fitted: Forecaster) -> None:
    rows = frame()
    got = fitted.cross_validation(rows, n_windows=2, step=5, level=[80])
    assert list(got.columns) == ["unique_id", "ds", "cutoff", "y", "mean", "lo-80", "hi-80"]
    assert sorted(got["cutoff"].unique().tolist()) == [pd.Timestamp(HOURS[111]), pd.Timestamp(HOURS[116])]
    assert (got["ds"] > got["cutoff"]).all()
    together = got.merge(rows, on=["unique_id", "ds"])
    assert (together["y_x"] == together["y_y"]).all()
    early = rows[rows["ds"] <= HOURS[111]]
    twin = Forecaster(3, **SMALL).fit(early)
    want = twin.predict(level=[80])
    first = got[got["cutoff"] == HOURS[111]].reset_index(drop=True)
    assert np.allclose(first[["mean", "lo-80", "hi-80"]], want[["mean", "lo-80", "hi-80"]])
    poisoned = rows.assign(y=rows["y"].where(rows["ds"] <= HOURS[111], np.nan))
    blind = fitted.cross_validation(poisoned, n_windows=2, step=5, level=[80])
    assert np.allclose(blind[blind["cutoff"] == HOURS[111]]["mean"], first["mean"])
    with pytest.raises(ConfigError, match="n_windows and step from 1"):
        fitted.cross_validation(rows, n_windows=0)
    with pytest.raises(DataError, match="more than 123 steps, the longest has 120"):
        fitted.cross_validation(rows, n_windows=41)
    short = pd.concat([rows, frame("b").head(6).assign(unique_id="c")])
    with pytest.warns(DataWarning, match="1 series of 8 steps or fewer left out, 8 steps before"):
        assert set(fitted.cross_validation(short, n_windows=2, step=5)["unique_id"]) == {"a", "b", "c"}


def test_new_rows_move_it_on_without_training(fitted: Forecaster, tmp_path: Path) -> None:
    rows = frame("ab")
    early = Forecaster.load(saved(fitted, tmp_path))
    weights = [weight.clone() for weight in early.task_.trained_network().parameters()]
    more = pd.DataFrame({"unique_id": "a", "ds": HOURS[:5] + np.timedelta64(120, "h"), "y": 9.0})
    early.update(more)
    whole = pd.concat([rows[["unique_id", "ds", "y"]], more])
    want = fitted.predict(whole)
    got = early.predict()
    assert np.allclose(got["mean"], want["mean"])
    assert got["ds"].tolist() == want["ds"].tolist()
    assert all(a.equal(b) for a, b in zip(weights, early.task_.trained_network().parameters(), strict=True))
    stream = Forecaster.load(tmp_path / "saved").stream("a")
    for _ in range(5):
        coming = stream.push(9.0)
    assert pd.to_datetime(coming.stamps[0]).tolist() == want["ds"][:3].tolist()
    assert np.allclose(coming.mean[0], want["mean"][:3], rtol=0.05)  # it remembers more than eight steps
    with pytest.raises(ConfigError, match="expected the name of one of 2 series"):
        early.stream()


def saved(fitted: Forecaster, folder: Path) -> Path:
    fitted.save(folder / "saved")
    return folder / "saved"


def test_what_is_saved_is_the_same(fitted: Forecaster, tmp_path: Path) -> None:
    again = Forecaster.load(saved(fitted, tmp_path))
    pd.testing.assert_frame_equal(again.predict(), fitted.predict())
    assert again.get_params() == fitted.get_params()
    (tmp_path / "saved" / "forecaster.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="is broken"):
        Forecaster.load(tmp_path / "saved")


def test_it_has_the_manners_of_scikit_learn(fitted: Forecaster) -> None:
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    with pytest.raises(RunError, match="not trained yet"):
        twin.predict()
    assert twin.set_params(hidden=5).hidden == 5
    assert repr(twin).startswith("Forecaster(horizon=3, history=8, hidden=5")
    with pytest.raises(ConfigError, match="did you mean 'hidden'"):
        twin.set_params(hiden=5)
    with pytest.raises(ConfigError, match=r"unknown key 'model\.hiden'"):
        Forecaster(settings={"model.hiden": 3}).config()


def test_scores_stand_beside_those_of_baselines(fitted: Forecaster) -> None:
    got = fitted.set_params(level=(80,)).evaluate(frame(), n_windows=3)
    fitted.set_params(level=(80, 95))
    assert got["model"].tolist()[:3] == ["forecaster", "naive", "seasonal_naive"]
    assert list(got.columns) == ["model", "mae", "rmse", "mase", "smape", "wql", "crps", "coverage_80", "width_80"]
    days = frame().groupby("unique_id")["y"].apply(lambda y: y.to_numpy()[-9:] - y.to_numpy()[-33:-24])
    seasonal = got[got["model"] == "seasonal_naive"]
    assert float(seasonal["mae"].iloc[0]) == pytest.approx(np.abs(np.concatenate(days.tolist())).mean(), rel=0.1)


def test_a_series_that_training_did_not_know(fitted: Forecaster) -> None:
    got = fitted.predict(frame("abc")[["unique_id", "ds", "y"]])
    new = got[got["unique_id"] == "c"]
    assert len(new) == 3
    assert ((new["mean"] > 20) & (new["mean"] < 40)).all()  # of its own size


def test_covariates_that_are_known_ahead() -> None:
    rows = frame()
    forecaster = Forecaster(3, **SMALL, known=("sun",)).fit(rows)
    stamps = [pd.Timestamp("2024-01-06") + pd.Timedelta(hours=h) for h in range(3)]
    future = pd.DataFrame({"unique_id": ["a"] * 3 + ["b"] * 3, "ds": stamps * 2, "sun": 0.0})
    dark = forecaster.predict(future=future)
    light = forecaster.predict(future=future.assign(sun=1.0))
    assert not np.allclose(dark["mean"], light["mean"])
    with pytest.raises(DataError, match="future frame is missing"):
        forecaster.predict()
    with pytest.raises(DataError, match="the future has no 'sun' for the series 'b'"):
        forecaster.predict(future=future[:5])
    validated = forecaster.cross_validation(rows)
    assert len(validated) == 6


def test_columns_of_other_names_and_kinds() -> None:
    rows = frame().rename(columns={"unique_id": "shop", "ds": "day", "y": "sold"}).drop(columns="sun")
    rows["shop"] = rows["shop"].map({"a": 1, "b": 2})
    rows["day"] = np.tile(np.arange(120), 2)
    got = Forecaster(2, id="shop", time="day", target="sold", level=(), **SMALL).fit(rows).predict()
    assert list(got.columns) == ["shop", "day", "mean"]
    assert got["shop"].dtype == rows["shop"].dtype
    assert got["day"].tolist() == [120, 121, 120, 121]


def bad(**changes: Any) -> pd.DataFrame:
    return frame().assign(**changes)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (bad(y=np.inf), "finite"),
        (bad(y=np.nan), "no series is left"),
        (frame(rows=4), "no window"),
        (pd.concat([frame(), frame().assign(y=0.0)]), "stamp"),
        (frame().drop(columns="ds"), "no column 'ds'"),
    ],
)
def test_frames_that_cannot_be_learned_from(rows: pd.DataFrame, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Forecaster(3, **SMALL).fit(rows)


def test_an_autoregressive_forecaster_draws_the_same_paths_again() -> None:
    made = Forecaster(2, **SMALL | {"steps": 3}, kind="autoregressive", output="student_t", layer="lstm")
    made.fit(frame())
    assert torch.equal(made.quantiles([0.1, 0.9]), made.quantiles([0.1, 0.9]))
