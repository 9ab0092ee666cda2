"""What may come of some series, and its rows as tables have them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import ConfigError

__all__ = ["Coming", "columns_of", "edges"]


class Coming(NamedTuple):
    """A forecast of N series, H steps ahead, in their own units.

    names      (N,)
    stamps     (N, H) int64, as those of `recurra.data.frames.Series`
    mean       (N, H) float64
    levels     (Q,) between 0 and 1, rising
    quantiles  (N, H, Q) float64
    """

    names: tuple[str, ...]
    stamps: NDArray[np.int64]
    mean: Tensor
    levels: tuple[float, ...]
    quantiles: Tensor

    def quantile(self, level: float) -> Tensor:
        """The quantiles ``(N, H)`` of one of the levels."""
        near = [place for place, known in enumerate(self.levels) if abs(known - level) < 1e-9]
        if not near:
            raise ConfigError(
                f"expected one of the quantiles {', '.join(f'{q:g}' for q in self.levels)}, got {level:g}"
            )
        return self.quantiles[:, :, near[0]]

    def interval(self, level: float) -> tuple[Tensor, Tensor]:
        """The interval that shall hold ``level`` per cent: its lower and upper end, ``(N, H)`` each."""
        low, high = edges(level)
        return self.quantile(low), self.quantile(high)


def edges(level: float) -> tuple[float, float]:
    """The quantiles between which ``level`` per cent lie. Raises ConfigError if that is no per cent."""
    if not 0 < level < 100:
        raise ConfigError(f"level: expected per cent between 0 and 100, got {level}")
    return round(0.5 - level / 200, 12), round(0.5 + level / 200, 12)


def columns_of(coming: Coming, levels: Sequence[float]) -> dict[str, Any]:
    """The mean and the ends of intervals as columns of N H rows: ``mean``, ``lo-80``, ``hi-80``."""
    columns: dict[str, Any] = {"mean": coming.mean.flatten().numpy()}
    for level in levels:
        low, high = coming.interval(level)
        columns[f"lo-{level:g}"], columns[f"hi-{level:g}"] = low.flatten().numpy(), high.flatten().numpy()
    return columns
