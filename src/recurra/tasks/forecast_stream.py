"""A forecast that moves on with every value: push what was observed, get what may come next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from recurra.tasks.forecast_network import Observation

if TYPE_CHECKING:
    from recurra.tasks.forecast import Forecast

__all__ = ["ForecastStream"]

Array = NDArray[np.float64]


class ForecastStream:
    """One series as it comes, in constant memory.

        stream = task.stream({"unique_id": "north", "ds": [...], "y": [...]})      what is known so far
        coming = stream.push(3.7)                                                  one more value; NaN: missing
        low, high = coming.interval(80)                                            (1, H) each

    The first rows are read as `predict` reads them; after that each value costs one step of the network, which then
    remembers more than `predict` is shown. ``memory`` is a value: `save` writes it to a file, `load` goes on from
    there in another process. The scale of the series stays what it was in training, or, of a series that training
    did not know, in the first rows.

    ahead  (H, K) covariates that are known of the next steps, where there are such
    """

    def __init__(self, task: "Forecast", panel: Panel, window: Window, ahead: Array | None = None) -> None:
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
        facts = self.task.known_facts()
        self.past = self._scaled("past", past, facts.past, facts.scaling.past)
        known_row = self._known(np.array([stamp]), None if known is None else np.array([known]))
        self.memory = self.network.push(self.memory, Observation(z, self.past, known_row))
        self.stamp, self.ahead = stamp, ahead
        self.before = self.before if np.isnan(value) else float(value)
        return self.coming()

    @torch.no_grad()
    def coming(self) -> Coming:
        """What may come after all that was observed."""
        task, horizon = self.task, self.task.config.horizon
        stamps = self.frequency.stamps(self.stamp, np.arange(1, horizon + 1))
        said = task.forecast_after(self.memory, self._known(stamps, self.ahead)[None])
        found = task.answered(said, self.location, self.scale, task.told_levels)
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
        files.write_tensors(Path(path), tensors | place)

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises StateError if it is of another network."""
        found = files.read_tensors(Path(path))
        names, leaves = tree.names(self.memory, "memory"), tree.leaves(self.memory)
        want = {name: leaf.shape for name, leaf in zip(names, leaves, strict=True)}
        if {name: leaf.shape for name, leaf in found.items() if name in want} != want:
            raise StateError(f"{path} holds the memory {sorted(found)} of another network")
        self.memory = tree.unflatten(self.memory, [found[name] for name in names])
        self.stamp, self.before = int(found["stamp"]), float(found["before"])
        self.location, self.scale, self.past = found["location"], found["scale"], found["past"]
