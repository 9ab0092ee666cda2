"""The windows of a forecasting task: those of its parts, and those after the end of each series."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurra.data.cuts import Cuts
from recurra.data.frames import Panel
from recurra.data.horizons import Histories, Window, WindowBatches
from recurra.tasks.forecast_config import ForecastConfig
from recurra.tasks.forecast_facts import Facts
from recurra.tasks.forecast_network import WindowSizes

__all__ = ["HeldOut", "blank", "held_out", "histories", "newest", "training"]

ROWS = 512  # windows that are forecast side by side


@dataclass(frozen=True)
class HeldOut:
    """Windows of a part that is held out, and what baselines may learn before it.

    make      windows so many steps apart
    stride    of those that are measured
    panel     the series in the units of answers
    training  (N,) steps of each series from which baselines learn

    A part without a window raises DataError when its windows are asked for, not before.
    """

    make: Callable[[int], WindowBatches]
    stride: int
    panel: Panel
    training: Tensor

    @cached_property
    def batches(self) -> WindowBatches:
        """The windows that are measured."""
        return self.make(self.stride)

    @property
    def rows(self) -> Tensor:
        """The series of each window, from 0."""
        return self.batches.windows[:, 0]

    @property
    def ends(self) -> Tensor:
        """The first step of the target of each window."""
        return self.batches.windows[:, 1]

    def near(self, most: int) -> "HeldOut":
        """The last ``most`` windows of the first series, one step apart."""
        every = self.make(1)
        chosen = every.windows[every.windows[:, 0] == every.windows[0, 0]][-most:]
        return replace(self, make=lambda stride: replace(every, windows=chosen), stride=1)

    def epoch(self, number: int) -> Sequence[Window]:
        """All batches."""
        return self.batches.epoch(number)

    def shard(self, rank: int, world: int) -> Self:
        """The part of every batch that process ``rank`` of ``world`` measures."""
        return replace(self, make=lambda stride: self.make(stride).shard(rank, world))


def histories(panel: Panel, facts: Facts, config: ForecastConfig, **more: Any) -> Histories:
    """The series of a panel, scaled as in training."""
    return Histories(panel, facts.scaling, facts.history, config.horizon, **more)


def training(of: Histories, cuts: Cuts, config: ForecastConfig) -> WindowBatches:
    """The windows to train on, in another order each epoch."""
    windows = of.windows(*cuts.part("train"), stride=config.data.stride)
    return WindowBatches(of, windows, config.data.batch, shuffled=True)


def held_out(of: Histories, part: str, cuts: Cuts, config: ForecastConfig, panel: Panel) -> HeldOut:
    """The windows of a part; ``panel`` has the units of answers."""

    def batches(stride: int) -> WindowBatches:
        return WindowBatches(of, of.windows(*cuts.part(part), stride=stride), ROWS)

    return HeldOut(batches, config.measure.stride or config.horizon, panel, cuts.train)


def newest(panel: Panel, facts: Facts, config: ForecastConfig, future: NDArray[np.float64] | None) -> WindowBatches:
    """The windows after the end of each series; ``future`` are the known covariates there."""
    of = histories(panel, facts, config, future=future)
    return WindowBatches(of, of.last(), ROWS)


def blank(sizes: WindowSizes, batch: int) -> Window:
    """A batch of windows full of zeros."""
    steps, ahead = sizes.history, sizes.horizon
    return Window(
        y=torch.zeros(batch, steps),
        seen=torch.ones(batch, steps, dtype=torch.bool),
        past=torch.zeros(batch, steps, sizes.past),
        known=torch.zeros(batch, steps, sizes.known),
        lengths=torch.full((batch,), steps),
        target=torch.zeros(batch, ahead),
        ahead=torch.zeros(batch, ahead, sizes.known),
        static=torch.zeros(batch, sizes.static),
        series=torch.zeros(batch, dtype=torch.long),
        location=torch.zeros(batch),
        scale=torch.ones(batch),
    )
