"""The forecaster in the dress of sktime: its conventions, and the same numbers as without it."""

import warnings

import numpy as np
import pandas as pd
import pytest

from recurra.tasks import Forecaster

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sktime = pytest.importorskip("sktime")
    from sktime.utils.estimator_checks import check_estimator

    from recurra.adapters.sktime import SktimeForecaster

SMALL = {"hidden": 2, "steps": 2, "history": 6, "settings": {"data.batch": 64, "model.decoder": 4}}


def series(rows: int = 60) -> pd.Series:
    values = np.sin(np.arange(rows)) + 0.1 * np.random.default_rng(0).normal(size=rows)
    return pd.Series(values, pd.period_range("2020-01", periods=rows, freq="M"), name="sold")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_it_says_what_the_forecaster_says() -> None:
    y = series()
    dressed = SktimeForecaster(**SMALL).fit(y[:58], fh=[1, 3])
    frame = pd.DataFrame({"unique_id": "y", "ds": y.index.to_timestamp(), "y": y.to_numpy()})
    plain = Forecaster(3, **SMALL).fit(frame[:58])
    want = plain.predict(level=[80])
    got = dressed.predict()
    assert got.index.tolist() == [y.index[57] + 1, y.index[57] + 3]
    assert np.allclose(got, want["mean"][[0, 2]])
    ends = dressed.predict_interval(coverage=0.8)
    assert np.allclose(ends, want[["lo-80", "hi-80"]].iloc[[0, 2]])
    dressed.update(y[58:], update_params=False)
    assert np.allclose(dressed.predict(), plain.update(frame[58:]).predict()["mean"][[0, 2]])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["test_clone", "test_constructor", "test_set_params", "test_obj_vs_cls_signature", "test_random_tags"]
)
def test_it_keeps_the_conventions(name: str) -> None:
    found = check_estimator(SktimeForecaster(**SMALL), raise_exceptions=False, verbose=False, tests_to_run=name)
    assert set(found.values()) == {"PASSED"}, found
