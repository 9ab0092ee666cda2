"""A forecast that moves on with every value: push what was observed, get what may come next."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra import files, tree
from recurra.data import calendar
from recurra.data.frames import Panel
from recurra.data.horizons import Window
from recurra.errors import DataError, StateError
from recurra.tasks.forecast_change import change
from recurra.tasks.forecast_coming import Coming
from recurra.tasks.forecast_config import ForecastConfig
from recurra.tasks.forecast_facts import Facts
from recurra.tasks.forecast_measure import Forecasts
from recurra.tasks.forecast_network import Forecast as Said
from recurra.tasks.forecast_network import ForecastNetwork, Observation
from recurra.tasks.forecast_recent import Latest

__all__ = ["ForecastStream"]

Array = NDArray[np.float64]
LATEST = ("errors", "pending")


class Forecasting(Protocol):
    """What a stream asks of the task that it belongs to."""

    @property
    def config(self) -> ForecastConfig: ...
    @property
    def said_levels(self) -> tuple[float, ...]: ...
    @property
    def told_levels(self) -> tuple[float, ...]: ...

    def known_facts(self) -> Facts: ...
    def trained_network(self) -> ForecastNetwork: ...
    def forecast_after(self, memory: Any, ahead: Tensor) -> Said: ...
    def latest(self, panel: Panel) -> Latest | None: ...
    def answered(
        self, said: Said, location: Tensor, scale: Tensor, levels: Sequence[float], moves: Tensor | None = None
    ) -> Forecasts: ...


class ForecastStream:
    """One series as it comes, in constant memory.

        stream = task.stream({"unique_id": "north", "ds": [...], "y": [...]})      what is known so far
        coming = stream.push(3.7)                                                  one more value; NaN: missing
        low, high = coming.interval(80)                                            (1, H) each

    The first rows are read as `predict` reads them; after that each value costs one step of the network, which then
    remembers more than `predict` is shown. Intervals that follow the latest errors follow those of the stream.
    ``memory`` is a value: `save` writes it to a file, `load` goes on from there in another process. The scale of a
    series stays what it was in training, or, of one that training did not know, in the first rows.

    ahead  (H, K) covariates that are known of the next steps, where there are such
    """

    def __init__(self, task: Forecasting, panel: Panel, window: Window, ahead: Array | None = None) -> None:
        self.task, self.name = task, panel.series[0].name
        self.network, self.frequency = task.trained_network(), panel.frequency
        series = panel.series[0]
        self.stamp = int(series.stamps[-1])
        seen = series.y[~np.isnan(series.y)]
        self.before = float(seen[-1]) if len(seen) else np.nan
        self.location, self.scale = window.location, window.scale
        self.past = window.past[:, window.y.shape[1] - 1] if window.past.shape[2] else window.past.new_zeros(1, 0)
        self.memory: Any = self._read(window)
        self.ahead = ahead
        self.said: Said | None = None  # of this moment
        self.latest = task.latest(panel)
        if self.latest is not None and (ahead is not None or not panel.known_names):
            self.coming()  # so that the next value is compared with it

    @torch.no_grad()
    def _read(self, window: Window) -> Any:
        return self.network.read(window)

    @torch.no_grad()
    def push(
        self,
        value: float,
        past: Sequence[float] | None = None,
        known: Sequence[float] | None = None,
        ahead: Array | None = None,
    ) -> Coming:
        """The next value of the series; what may come after it.

        past, known  covariates of the step that was observed, in the order of the configuration
        ahead        (H, K) those that are known of the next steps
        """
        y = np.array([value], dtype=np.float64)
        if np.isinf(y[0]):
            raise DataError(f"push: expected a finite value, or NaN for a missing one, got {value}")
        stamp = int(self.frequency.stamps(self.stamp, [1])[0])
        changed = change(self.task.config.data.change, y, f"series {self.name!r}", self.before)
        z = (torch.from_numpy(changed).float() - self.location) / self.scale
        if self.latest is not None:
            self.latest = self.latest.after(z.double())
        facts = self.task.known_facts()
        self.past = self._scaled("past", past, facts.past, facts.scaling.past)
        known_row = self._known(np.array([stamp]), None if known is None else np.array([known]))
        self.memory = self.network.push(self.memory, Observation(z, self.past, known_row))
        self.stamp, self.ahead, self.said = stamp, ahead, None
        self.before = self.before if np.isnan(value) else float(value)
        return self.coming()

    @torch.no_grad()
    def coming(self) -> Coming:
        """What may come after all that was observed."""
        task, horizon = self.task, self.task.config.horizon
        stamps = self.frequency.stamps(self.stamp, np.arange(1, horizon + 1))
        if self.said is None:
            self.said = task.forecast_after(self.memory, self._known(stamps, self.ahead)[None])
            self.latest = self.latest and self.latest.say(self.said.quantiles[0])
        moves = self.latest and self.latest.moves(torch.tensor(task.said_levels, dtype=torch.float64))
        found = task.answered(self.said, self.location, self.scale, task.told_levels, moves)
        return Coming((self.name,), stamps[None], found.mean, task.told_levels, found.quantiles)

    def _scaled(self, what: str, values: Any, names: Sequence[str], statistics: Tensor) -> Tensor:
        """Covariates of a step ``(1, F)`` in the units of the network; missing ones stay as they were."""
        if not names:
            return self.past.new_zeros(1, 0)
        if values is None or len(values) != len(names):
            raise DataError(f"push: expected {what} covariates {', '.join(names)}, got {values!r}")
        row = (torch.tensor([values], dtype=torch.float64) - statistics[0]) / statistics[1]
        return torch.where(row.isnan(), self.past.double(), row).float() if what == "past" else row.float()

    def _known(self, stamps: NDArray[np.int64], values: Array | None) -> Tensor:
        """The calendar and the known covariates of some steps ``(T, K)``."""
        facts = self.task.known_facts()
        cycles = torch.from_numpy(calendar.features(stamps, self.frequency))
        parts = [cycles] if self.task.config.data.calendar else []
        if facts.known:
            if values is None or np.shape(values) != (len(stamps), len(facts.known)) or np.isnan(values).any():
                raise DataError(
                    f"stream: expected {', '.join(facts.known)} for {len(stamps)} steps, got "
                    f"{'nothing' if values is None else np.shape(values)}"
                )
            parts.append(((torch.as_tensor(values) - facts.scaling.known[0]) / facts.scaling.known[1]).float())
        return torch.cat(parts, 1) if parts else torch.zeros(len(stamps), 0)

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file."""
        tensors = dict(zip(tree.names(self.memory, "memory"), tree.leaves(self.memory), strict=True))
        place = {
            "stamp": torch.tensor(self.stamp),
            "before": torch.tensor(self.before, dtype=torch.float64),
            "location": self.location,
            "scale": self.scale,
            "past": self.past,
        }
        latest = {} if self.latest is None else {name: getattr(self.latest, name) for name in LATEST}
        files.write_tensors(Path(path), tensors | place | latest)

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises StateError if it is of another network."""
        found = files.read_tensors(Path(path))
        names, leaves = tree.names(self.memory, "memory"), tree.leaves(self.memory)
        want = {name: leaf.shape for name, leaf in zip(names, leaves, strict=True)}
        if self.latest is not None:
            want |= {name: getattr(self.latest, name).shape for name in LATEST}
        if {name: leaf.shape for name, leaf in found.items() if name in want} != want:
            raise StateError(f"{path} holds the memory {sorted(found)} of another network")
        self.memory = tree.unflatten(self.memory, [found[name] for name in names])
        if self.latest is not None:
            self.latest = self.latest._replace(errors=found["errors"], pending=found["pending"])
        self.said = None
        self.stamp, self.before = int(found["stamp"]), float(found["before"])
        self.location, self.scale, self.past = found["location"], found["scale"], found["past"]
