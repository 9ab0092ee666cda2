"""Training, validation and test part of series, cut by time: at one moment for all, or before each end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.data.panels import Panel
from recurra.data.stamps import parse, text
from recurra.errors import ConfigError, DataError

__all__ = ["Cuts", "cut", "cut_ends"]


class Cuts(NamedTuple):
    """Where the parts of each series end, in steps, ``(N,)`` int64; a part begins where the one before ends."""

    train: Tensor
    valid: Tensor
    test: Tensor

    def part(self, name: str) -> tuple[Tensor, Tensor]:
        """The first step of a part of each series, and the first after it."""
        begins = {"train": torch.zeros_like(self.train), "valid": self.train, "test": self.valid}
        return begins[name], getattr(self, name)

    def notes(self, panel: Panel) -> tuple[str, ...]:
        """What people want to know: when the parts begin and end, and which series have no training part."""
        found = []
        for name in ("train", "valid", "test"):
            first, last = self.part(name)
            rows = [
                (int(s.stamps[a]), int(s.stamps[b - 1]))
                for s, a, b in zip(panel.series, first.tolist(), last.tolist(), strict=True)
                if b > a
            ]
            if rows:
                begin, end = (
                    text(stamp, panel.kind) for stamp in (min(a for a, _ in rows), max(b for _, b in rows))
                )
                found.append(f"{name}: {int((last - first).sum())} steps from {begin} to {end}")
        new = [s.name for s, end in zip(panel.series, self.train.tolist(), strict=True) if not end]
        if new:
            found.append(f"{len(new)} series begin after the training part, such as {new[0]!r}")
        return tuple(found)


def cut(panel: Panel, split: Sequence[float] | Sequence[int] | Sequence[str]) -> Cuts:
    """Cut all series at the same moments.

    split  three shares of the time from the first stamp to the last, such as (0.7, 0.1, 0.2); three whole
           numbers of steps, such as (8640, 2880, 2880): what is after them is not used; or two stamps, at which
           validation and test begin, such as ("2013-01-01", "2014-01-01")

    Raises ConfigError for anything else, and DataError for a part without a step.
    """
    frequency = panel.frequency
    start = min(int(series.stamps[0]) for series in panel.series)
    places = [frequency.positions(series.stamps, start) for series in panel.series]
    steps = max(int(place[-1]) for place in places) + 1
    if len(split) == 2 and all(isinstance(moment, str) for moment in split):
        moments = _moments([str(moment) for moment in split], panel)
        ends = [np.array([*np.searchsorted(s.stamps, moments), len(s.stamps)]) for s in panel.series]
    else:
        limits = _limits(split, steps)
        ends = [np.searchsorted(place, limits) for place in places]
    cuts = Cuts(*torch.from_numpy(np.stack(ends).astype(np.int64)).unbind(1))
    for name in ("train", "valid", "test"):
        first, last = cuts.part(name)
        if not (last > first).any():
            raise DataError(f"the {name} part has no step, of {steps}; expected another split than {list(split)}")
    return cuts


def _moments(split: Sequence[str], panel: Panel) -> list[int]:
    stamps = parse(split, lambda row: f"split, stamp {row + 1}")
    if stamps.kind != panel.kind or stamps.values[0] >= stamps.values[1]:
        raise ConfigError(f"split: expected two stamps as in the data, the first one earlier, got {list(split)}")
    return stamps.values.tolist()


def _limits(split: Sequence[float] | Sequence[int] | Sequence[str], steps: int) -> list[int]:
    numbers = [share for share in split if isinstance(share, int | float)]
    if len(numbers) != 3 or len(split) != 3 or min(numbers) <= 0:
        raise ConfigError(
            "split: expected three shares such as (0.7, 0.1, 0.2), three numbers of steps, or two stamps at which "
            f"validation and test begin, got {list(split)}"
        )
    sums = np.cumsum(numbers)
    if sums[-1] <= 1 + 1e-6:
        return [round(float(share) * steps) for share in sums]
    if any(number != int(number) for number in numbers) or sums[-1] > steps:
        raise ConfigError(f"split: expected shares up to 1 together, or up to {steps} steps, got {list(split)}")
    return [int(total) for total in sums]


def cut_ends(panel: Panel, valid: int, test: int) -> Cuts:
    """Hold out the last ``test`` steps of each series, and ``valid`` before them; a short one gives what it has."""
    if valid < 0 or test < 0:
        raise ConfigError(f"expected 0 or more steps to hold out, got {valid} and {test}")
    lengths = torch.tensor([len(series.stamps) for series in panel.series])
    return Cuts((lengths - test - valid).clamp_min(0), (lengths - test).clamp_min(0), lengths)
