"""Location and scale of series, learned from their training part alone, and the way back.

scaled = (y - location) / scale

kind       location   scale
standard   mean       standard deviation
mean       0          mean of |y|, for counts and what has no values below 0 (Salinas et al. 2020)
none       0          1
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.data.panels import Panel
from recurra.errors import ConfigError, DataError, RunError

__all__ = ["KINDS", "Kind", "Placed", "Scaling"]

Kind = Literal["standard", "mean", "none"]
Per = Literal["series", "panel"]
KINDS = ("standard", "mean", "none")
FLAT = 1e-9  # of the mean: less deviation than that is rounding, of values that never change
Array = NDArray[np.float64]


class Placed(NamedTuple):
    """The series of a panel: their number from 1, 0 for one that training did not see; location and scale."""

    number: Tensor  # (N,) int64
    location: Tensor  # (N,) float64
    scale: Tensor


@dataclass(frozen=True)
class Scaling:
    """What was learned of the series of the training panel, as tensors in float64.

    names            (N,) of the series
    location, scale  (N + 1,) of each; first those of all values together, for a series without any
    past, known, static  (2, features) mean and deviation of each covariate, over all series
    """

    kind: Kind
    per: Per
    names: tuple[str, ...]
    location: Tensor
    scale: Tensor
    past: Tensor
    known: Tensor
    static: Tensor

    @classmethod
    def learn(
        cls, panel: Panel, ends: Sequence[int] | Tensor, kind: Kind = "standard", per: Per = "series"
    ) -> "Scaling":
        """Learn from the first ``ends[i]`` steps of series ``i``: nothing after them is looked at.

        per  "series": each its own location and scale; "panel": all the same. Raises ConfigError for another word,
             and DataError if there is no value in the training part.
        """
        if kind not in KINDS or per not in ("series", "panel"):
            raise ConfigError(
                f"scaling: expected one of {', '.join(KINDS)} by 'series' or 'panel', got {kind!r} by {per!r}"
            )
        ends = [int(end) for end in ends]
        parts = [series.y[:end] for series, end in zip(panel.series, ends, strict=True)]
        everything = np.concatenate(parts)
        if np.isnan(everything).all():
            raise DataError("there is no value in the training part; give more rows, or a smaller test part")
        whole = _statistics(everything, kind)
        each = [whole if per == "panel" or np.isnan(part).all() else _statistics(part, kind) for part in parts]
        location, scale = torch.tensor([whole, *each], dtype=torch.float64).unbind(1)
        past = _covariates([series.past[:end] for series, end in zip(panel.series, ends, strict=True)])
        known = _covariates([series.known[:end] for series, end in zip(panel.series, ends, strict=True)])
        static = _covariates([np.stack([series.static for series in panel.series])])
        # A series without a row in the training part is one that training does not know.
        names = tuple(series.name if end else "" for series, end in zip(panel.series, ends, strict=True))
        return cls(kind, per, names, location, scale, past, known, static)

    def place(self, panel: Panel, ends: Sequence[int] | Tensor | None = None) -> Placed:
        """Location and scale of the series of any panel.

        ends  (N,) steps by which a series that training did not see is placed, if ``per`` is "series"; None: all
        """
        numbers = {name: number for number, name in enumerate(self.names, 1) if name}
        index = [numbers.get(series.name, 0) for series in panel.series]
        values = torch.stack([self.location, self.scale], 1)[index]
        limits = [len(series.y) for series in panel.series] if ends is None else [int(end) for end in ends]
        for row, (series, end) in enumerate(zip(panel.series, limits, strict=True)):
            if not index[row] and self.per == "series" and not np.isnan(series.y[:end]).all():
                values[row] = torch.tensor(_statistics(series.y[:end], self.kind), dtype=torch.float64)
        return Placed(torch.tensor(index), values[:, 0].clone(), values[:, 1].clone())

    def learned(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        tensors = {name: getattr(self, name).tolist() for name in TENSORS}
        return {"kind": self.kind, "per": self.per, "names": list(self.names)} | tensors

    @classmethod
    def relearn(cls, values: Mapping[str, Any]) -> "Scaling":
        """The inverse of `learned`. Raises RunError if the values are not of it."""
        try:
            shapes = dict.fromkeys(TENSORS[2:], (2, -1))
            tensors = {
                name: torch.tensor(values[name], dtype=torch.float64).reshape(shapes.get(name, (-1,)))
                for name in TENSORS
            }
            found = cls(values["kind"], values["per"], tuple(values["names"]), **tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(f"the scaling of the run is broken: {type(error).__name__} {error}") from error
        if len(found.location) != len(found.names) + 1 or found.kind not in KINDS:
            raise RunError(
                f"the scaling of the run is broken: {len(found.names)} series, {len(found.location)} locations"
            )
        return found


TENSORS = ("location", "scale", "past", "known", "static")


def _statistics(y: Array, kind: str) -> tuple[float, float]:
    values = y[~np.isnan(y)]
    mean, deviation = float(values.mean()), float(values.std())
    if kind == "standard":
        return mean, deviation if deviation > FLAT * abs(mean) else 1.0
    return 0.0, (float(np.abs(values).mean()) or 1.0) if kind == "mean" else 1.0


def _covariates(parts: Sequence[Array]) -> Tensor:
    """Mean and deviation ``(2, F)`` of each column: of one that never changes 1, of one without values 0 and 1."""
    values = np.concatenate(parts)
    found = [_statistics(column, "standard") if not np.isnan(column).all() else (0.0, 1.0) for column in values.T]
    return torch.tensor(found, dtype=torch.float64).reshape(-1, 2).T.contiguous()
