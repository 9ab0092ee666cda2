"""Forecasts of data frames: the face of `Forecast` that data scientists know.

    Forecaster(horizon=24).fit(df).predict(level=[80, 95])

A long frame ``unique_id, ds, y`` of pandas, polars or pyarrow goes in, one of the same library comes out.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from recurra import config as configs
from recurra import files
from recurra.data.frames import Panel, read_future
from recurra.errors import ConfigError, DataWarning, RunError
from recurra.run.fit import Fit
from recurra.tasks.forecast import Forecast
from recurra.tasks.forecast_coming import Coming, columns_of, edges
from recurra.tasks.forecast_config import ForecastConfig
from recurra.tasks.forecast_frames import Dress, answer_frame, described, dress_of, dressed
from recurra.tasks.forecast_measure import scored
from recurra.tasks.forecast_panel import appended, before, load_panel, save_panel, tail
from recurra.tasks.forecast_stream import ForecastStream

__all__ = ["Forecaster"]

PARAMETERS = "forecaster.json"
HISTORY = "history"


class Forecaster:
    """A recurrent network for many series, from data frames to data frames.

    >>> forecaster = Forecaster(horizon=24).fit(df)                                          # doctest: +SKIP
    >>> forecaster.predict(level=[80, 95])       # unique_id, ds, mean, lo-80, hi-80, ...    # doctest: +SKIP

    horizon        steps ahead
    history        steps back that the network reads; 0: three horizons, or two seasons if that is more
    layer          a recurrent layer by name: gru, lstm, sru, ...
    hidden, kind, output, normalisation   as in a recipe: ``model.hidden``, ``model.kind``, ``output.kind``, ...
    past, known, static                   columns of covariates: known until now, known ahead, of a series
    id, time, target                      the names of the other columns
    level          per cent that intervals shall hold
    valid          share of the newest rows: they choose the weights and set the intervals right, no more
    steps, learning_rate, seed            of the training
    settings       every other key of a recipe: ``{"model.dropout": 0.2, "data.change": "log"}``

    Everything is kept as it was given, so `get_params`, `set_params` and scikit-learn's ``clone`` work.
    ``task_`` is the trained `Forecast`, ``panel_`` the newest rows of the data, from which `predict` goes on.
    """

    def __init__(
        self,
        horizon: int = 24,
        *,
        history: int = 0,
        layer: str = "gru",
        hidden: int = 64,
        kind: str = "direct",
        output: str = "quantiles",
        normalisation: str = "series",
        past: Sequence[str] = (),
        known: Sequence[str] = (),
        static: Sequence[str] = (),
        id: str = "unique_id",
        time: str = "ds",
        target: str = "y",
        level: Sequence[int] = (80, 95),
        valid: float = 0.15,
        steps: int = 1000,
        learning_rate: float = 0.003,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.horizon = horizon
        self.history = history
        self.layer = layer
        self.hidden = hidden
        self.kind = kind
        self.output = output
        self.normalisation = normalisation
        self.past = past
        self.known = known
        self.static = static
        self.id = id
        self.time = time
        self.target = target
        self.level = level
        self.valid = valid
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed
        self.settings = settings
        self.task_: Forecast
        self.panel_: Panel
        self._dress: Dress

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that it was made with."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **parameters: Any) -> Self:
        """Change arguments; a trained network stays until the next `fit`."""
        for name, value in parameters.items():
            if name not in self._names():
                raise ConfigError(f"Forecaster: unknown argument {name!r}{configs.suggest(name, self._names())}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = {k: v for k, v in self.get_params().items() if v != defaults[k].default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def config(self) -> ForecastConfig:
        """The configuration that the arguments ask for."""
        plain: dict[str, Any] = {"horizon": self.horizon, "history": self.history}
        plain["data"] = {name: getattr(self, name) for name in ("id", "time", "target", "past", "known", "static")}
        plain["model"] = {name: getattr(self, name) for name in ("layer", "hidden", "kind", "normalisation")}
        plain["output"] = {"kind": self.output}
        plain["intervals"] = {"levels": list(self.level)}
        for name, value in (self.settings or {}).items():
            *tables, last = name.split(".")
            plain = configs.merge(plain, _nested([*tables, last], value))
        return configs.from_dict(ForecastConfig, plain)

    def fit(self, df: Any, static: Any = None, out: str | Path | None = None) -> Self:
        """Train on a long data frame; ``static`` has a row of static covariates for each series.

        out  keep the run folder there, with curves and a recipe; None: it is thrown away, the forecaster stays
        """
        task = Forecast(self.config())
        panel = task.read_panel(df, static)
        self._dress = dress_of(df, self.id, self.time)
        return self._train(task, panel, out)

    def _train(self, task: Forecast, panel: Panel, out: str | Path | None) -> Self:
        longest = max(len(series.y) for series in panel.series)
        held_out = max(self.horizon, round(self.valid * longest))
        data = dataclasses.replace(task.config.data, held_out=(held_out, 0))
        self.task_ = Forecast(dataclasses.replace(task.config, data=data), panel)
        fit = Fit(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=min(100, self.steps // 10),
            evaluate_every=max(50, min(200, self.steps // 5)),
            seed=self.seed,
        )
        with TemporaryDirectory(prefix="recurra-") as folder:
            self.task_.fit(out if out is not None else Path(folder) / "run", fit, quiet=out is None)
        self.panel_ = tail(panel, self._kept())
        return self

    def _kept(self) -> int:
        """Steps that are kept of each series: what forecasts read, and one before them for a return."""
        recent = self._task().config.intervals.recent
        return self._task().known_facts().history + 1 + (recent + self.horizon if recent else 0)

    def _task(self) -> Forecast:
        task = vars(self).get("task_")
        if task is None:
            raise RunError("this Forecaster is not trained yet; call fit(df) or load(folder)")
        return task

    def predict(self, df: Any = None, future: Any = None, level: Sequence[float] | None = None) -> Any:
        """What follows each series: a frame with ``unique_id, ds, mean`` and ``lo-80, hi-80`` for each level.

        df      the newest rows of some series, also of new ones; None: those of `fit` and `update`
        future  known covariates of the horizon, a row for each series and step
        """
        levels = list(self.level if level is None else level)
        coming = self._coming(df, future, sorted({edge for level in levels for edge in edges(level)} | {0.5}))
        return answer_frame(coming, levels, self._dress, self._task().known_facts().zone)

    def quantiles(self, levels: Sequence[float], df: Any = None, future: Any = None) -> Tensor:
        """The quantiles ``(N, H, Q)`` of what follows each series, for levels between 0 and 1."""
        return self._coming(df, future, levels).quantiles

    def _coming(self, df: Any, future: Any, levels: Sequence[float]) -> Coming:
        task = self._task()
        panel = self.panel_ if df is None else task.read_panel(df)
        ahead = read_future(future, panel, task.reading().columns, self.horizon) if self.known else None
        return task.coming(panel, levels, ahead)

    def update(self, df: Any) -> Self:
        """New rows: forecasts go on from the last of them. No weight changes; series may be new ones."""
        self.panel_ = tail(appended(self.panel_, self._task().read_panel(df)), self._kept())
        return self

    def stream(self, id: str | None = None) -> ForecastStream:
        """The series of that name, to go on value by value; the only one if there is no other."""
        task, names = self._task(), [series.name for series in self.panel_.series]
        if (id is None and len(names) > 1) or (id is not None and id not in names):
            known = configs.suggest(str(id), names)
            raise ConfigError(f"stream: expected the name of one of {len(names)} series, got {id!r}{known}")
        place = 0 if id is None else names.index(id)
        return task.stream_of(dataclasses.replace(self.panel_, series=(self.panel_.series[place],)))

    def cross_validation(
        self,
        df: Any,
        n_windows: int = 1,
        step: int | None = None,
        refit: bool = False,
        level: Sequence[float] | None = None,
    ) -> Any:
        """Forecasts from the last ``n_windows`` moments that leave a horizon to compare with, ``step`` steps apart.

        refit  train anew at each moment; else once, on what is before the first of them
        step   None: the horizon

        This forecaster stays as it is. A frame with ``unique_id, ds, cutoff, y, mean`` and the ends of intervals;
        ``cutoff`` is the last stamp known.
        """
        if n_windows < 1 or (step is not None and step < 1):
            raise ConfigError(f"cross_validation: expected n_windows and step from 1, got {n_windows} and {step}")
        levels, step = list(self.level if level is None else level), step or self.horizon
        panel, dress = Forecast(self.config()).read_panel(df), dress_of(df, self.id, self.time)
        parts: list[dict[str, Any]] = []
        twin = type(self)(**self.get_params())
        for number in range(n_windows):
            drop = self.horizon + (n_windows - 1 - number) * step
            known = before(panel, drop)
            _warn_of_short(len(panel.series) - len(known.series), drop)
            if refit or not parts:
                twin._train(Forecast(twin.config()), known, None)
            parts.append(_compared(twin._task(), panel, known, levels))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns = {{"id": self.id, "ds": self.time}.get(name, name): values for name, values in columns.items()}
        return dress.frame(columns, [self.time, "cutoff"], panel.zone)

    def evaluate(self, df: Any, n_windows: int = 5, step: int | None = None) -> Any:
        """Scores of the trained network beside simple baselines, at the last moments of ``df``: a row for each.

        The rows of the last ``n_windows`` windows should be newer than those of `fit`; the rows before them are
        what forecasts read, and what baselines learn from.
        """
        task, step = self._task(), step or self.horizon
        panel = task.read_panel(df)
        reach = self.horizon + (n_windows - 1) * step
        windows = task.windows_of(
            panel, torch.tensor([len(series.y) - reach for series in panel.series]).clamp(min=0)
        )
        test = task.backtest(dataclasses.replace(windows, stride=step))
        names = {"": "forecaster"} | {name: name for name in test.said if name}
        rows = [{"model": shown} | scored(test, self.level, name, task.returns) for name, shown in names.items()]
        return self._dress.frame({column: [row[column] for row in rows] for column in rows[0]}, [])

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write a folder that `load` reads: the run folder of a task, and the newest rows beside it."""
        task, folder = self._task(), Path(path)
        task.save(folder, overwrite)
        save_panel(self.panel_, folder / HISTORY)
        about = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self.get_params().items()
        }
        files.write_json(folder / PARAMETERS, {"frames": described(self._dress), "parameters": about})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises RunError if something in it is missing or broken."""
        folder = Path(path)
        about = files.read_table(folder / PARAMETERS)
        try:
            given: dict[str, Any] = {name: _restored(value) for name, value in about["parameters"].items()}
            found = cls(**given)
            found.task_, found.panel_ = Forecast.load(folder), load_panel(folder / HISTORY)
            found._dress = dressed(about["frames"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder / PARAMETERS} is broken ({error}); was it made by a Forecaster?") from error
        return found


def _warn_of_short(count: int, drop: int) -> None:
    if count:
        warnings.warn(
            f"cross_validation: {count} series of {drop} steps or fewer left out, {drop} steps before the end",
            DataWarning,
            stacklevel=3,
        )


def _compared(task: Forecast, panel: Panel, known: Panel, levels: Sequence[float]) -> dict[str, Any]:
    """Forecasts of the horizon after ``known``, beside what came of it in ``panel``, as columns."""
    whole, horizon = {series.name: series for series in panel.series}, task.config.horizon
    after = [whole[one.name] for one in known.series]
    ends = [len(one.y) for one in known.series]
    ahead = np.stack([series.known[end : end + horizon] for series, end in zip(after, ends, strict=True)])
    asked = sorted({edge for level in levels for edge in edges(level)} | {0.5})
    coming = task.coming(known, asked, ahead)
    came = np.stack([series.y[end : end + horizon] for series, end in zip(after, ends, strict=True)])
    if task.config.data.change == "returns":
        changed = {series.name: series.y for series in task.changed(panel).series}
        came = np.stack(
            [changed[one.name][end : end + horizon] for one, end in zip(known.series, ends, strict=True)]
        )
    return {
        "id": np.repeat(np.array(coming.names), horizon),
        "ds": coming.stamps.reshape(-1),
        "cutoff": np.repeat([series.stamps[-1] for series in known.series], horizon),
        "y": came.reshape(-1),
        **columns_of(coming, levels),
    }


def _restored(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _nested(names: Sequence[str], value: Any) -> dict[str, Any]:
    return {names[0]: value if len(names) == 1 else _nested(names[1:], value)}
