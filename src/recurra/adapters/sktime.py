"""`Forecaster` as a forecaster of sktime: for its pipelines, splitters, tuners and comparisons.

from recurra.adapters.sktime import SktimeForecaster

SktimeForecaster(layer="gru").fit(y, fh=[1, 2, 3]).predict_interval(coverage=0.9)
"""

from typing import Any, ClassVar

import numpy as np

from recurra.errors import ConfigError
from recurra.tasks.forecaster import Forecaster

try:
    import pandas as pd
    from sktime.forecasting.base import BaseForecaster
except ImportError as error:
    raise ConfigError(f"this adapter needs sktime ({error}); install it with: pip install sktime") from error

__all__ = ["SktimeForecaster"]


class SktimeForecaster(BaseForecaster):
    """One series after the other, by sktime's conventions; sktime itself makes one for each column of a frame.

    layer, hidden, kind, output, steps, learning_rate, seed, settings   as those of `Forecaster`
    history   steps back that the network reads; 0: three horizons

    The horizon is the largest step of ``fh``, which `fit` must be told. Forecasts of steps in the training part are
    refused, as what comes later would leak into them. Covariates are not read: use `Forecaster` for these.

    >>> from sktime.datasets import load_airline                                             # doctest: +SKIP
    >>> forecaster = SktimeForecaster(steps=200).fit(load_airline(), fh=range(1, 13))        # doctest: +SKIP
    >>> forecaster.predict_interval(coverage=0.8)                                            # doctest: +SKIP
    """

    _tags: ClassVar[dict[str, Any]] = {
        "authors": ["recurra"],
        "python_dependencies": ["torch", "narwhals"],
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": False,
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": True,
        "capability:random_state": True,
        "capability:update": True,
        "requires-fh-in-fit": True,
    }

    def __init__(
        self,
        layer: str = "gru",
        hidden: int = 64,
        kind: str = "direct",
        output: str = "quantiles",
        history: int = 0,
        steps: int = 500,
        learning_rate: float = 0.003,
        random_state: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.layer = layer
        self.hidden = hidden
        self.kind = kind
        self.output = output
        self.history = history
        self.steps = steps
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.settings = settings
        super().__init__()

    def _fit(self, y: Any, X: Any, fh: Any) -> "SktimeForecaster":
        horizon = int(max(fh.to_relative(self.cutoff)))
        names = ("layer", "hidden", "kind", "output", "history", "steps", "learning_rate", "settings")
        given = {name: getattr(self, name) for name in names}
        self.forecaster_ = Forecaster(horizon, level=(80, 95), seed=self.random_state or 0, **given)
        self.forecaster_.fit(_frame(y))
        self.name_ = y.name
        return self

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> "SktimeForecaster":
        """New values move the forecaster on; weights change only in `fit`."""
        self.forecaster_.update(_frame(y))
        return self

    def _predict(self, fh: Any, X: Any) -> Any:
        values = self.forecaster_.predict(level=())["mean"].to_numpy()
        return pd.Series(values[self._steps(fh)], index=self._index(fh), name=self.name_)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> Any:
        values = self.forecaster_.quantiles(alpha)[0].numpy()[self._steps(fh)]
        names = self._get_varnames()
        columns = pd.MultiIndex.from_product([names, alpha])
        return pd.DataFrame(values, index=self._index(fh), columns=columns)

    def _steps(self, fh: Any) -> Any:
        return fh.to_relative(self.cutoff).to_numpy().astype(int) - 1

    def _index(self, fh: Any) -> Any:
        return fh.to_absolute_index(self.cutoff)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small networks for sktime's own checks."""
        small = {"hidden": 4, "steps": 2, "settings": {"data.batch": 8}}
        return [small, small | {"layer": "lstm", "kind": "autoregressive", "output": "gaussian"}]


def _frame(y: Any) -> Any:
    """A series of sktime as a long frame. Periods are taken at their beginning."""
    index = y.index.to_timestamp() if isinstance(y.index, pd.PeriodIndex) else y.index
    return pd.DataFrame({"unique_id": "y", "ds": index, "y": np.asarray(y, dtype=float)})
