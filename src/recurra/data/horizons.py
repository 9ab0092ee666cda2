"""Windows of series to learn forecasting from, and to measure it by: a history and the horizon after it.

               history (L)          target (H)
    ... o o o [o o o o o o o o o o][x x x x] o o ...
                                    cut

A part (training, validation, test) is a stretch of time. A window is of a part if its whole target lies there; its
history may reach back. So training windows never touch a row that is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.data import calendar
from recurra.data.panels import Array, Panel
from recurra.data.scaling import Scaling
from recurra.errors import ConfigError, DataError

__all__ = ["Histories", "Window", "WindowBatches"]


class Window(NamedTuple):
    """B histories of up to L steps, right padded, and the H steps after each; float32, scaled.

    y         (B, L) history, 0 where it is missing or padding
    seen      (B, L) bool: there is a value
    past      (B, L, P) covariates, 0 in padding
    known     (B, L, K) features of the calendar, then covariates known ahead
    lengths   (B,) int64 steps of the history
    target    (B, H), NaN where it is missing or not known yet
    ahead     (B, H, K) as ``known``, of the steps to forecast
    static    (B, S) covariates of the series
    series    (B,) int64 number of the series from 1; 0: one that training did not see
    location  (B,), scale (B,): y location + scale is in the units of the series
    """

    y: Tensor
    seen: Tensor
    past: Tensor
    known: Tensor
    lengths: Tensor
    target: Tensor
    ahead: Tensor
    static: Tensor
    series: Tensor
    location: Tensor
    scale: Tensor


class Histories:
    """All series of a panel as tensors, one after the other, from which windows are gathered by their index.

    scaling   learned from the training part
    lookback  L, steps of a history at most
    horizon   H, steps to forecast
    ends      (N,) steps by which a series is placed that training did not see; None: all
    future    (N, H, K) known covariates of the steps after each series, as `read_future` gives them

    A missing covariate takes the value before it, or the mean of training if there is none before. Raises
    ConfigError for a lookback or horizon below 1.
    """

    def __init__(
        self,
        panel: Panel,
        scaling: Scaling,
        lookback: int,
        horizon: int,
        ends: Sequence[int] | Tensor | None = None,
        future: Array | None = None,
    ) -> None:
        if lookback < 1 or horizon < 1:
            raise ConfigError(f"expected lookback and horizon of at least 1, got {lookback} and {horizon}")
        _check_names(panel, scaling)
        self.panel, self.scaling, self.lookback, self.horizon = panel, scaling, lookback, horizon
        self.placed = scaling.place(panel, ends)
        self.lengths = torch.tensor([len(series.y) for series in panel.series])
        # After each series H steps that are not known yet, so that its last window is one like the others.
        self.begins = torch.cat([torch.zeros(1, dtype=torch.long), (self.lengths + horizon).cumsum(0)[:-1]])
        self.y, self.seen = self._targets()
        self.past = _joined([_extended(_filled(s.past, scaling.past), horizon) for s in panel.series])
        self.known = self._known(future)
        static = np.stack([_filled(s.static[None], scaling.static)[0] for s in panel.series])
        self.static = torch.from_numpy(static).float()

    def _targets(self) -> tuple[Tensor, Tensor]:
        whole = []
        for series, location, scale in zip(
            self.panel.series, self.placed.location.tolist(), self.placed.scale.tolist(), strict=True
        ):
            whole.append(np.append((series.y - location) / scale, np.full(self.horizon, np.nan)))
        y = torch.from_numpy(np.concatenate(whole)).float()
        seen = ~y.isnan()
        return y.masked_fill(~seen, 0.0), seen

    def _known(self, future: Array | None) -> Tensor:
        """Features of the calendar and known covariates; those after the end are 0 where no future was given."""
        frequency, steps = self.panel.frequency, np.arange(1, self.horizon + 1)
        rows = []
        for number, series in enumerate(self.panel.series):
            stamps = np.append(series.stamps, frequency.stamps(int(series.stamps[-1]), steps))
            known = _filled(series.known, self.scaling.known)
            after = np.zeros((self.horizon, known.shape[1]))
            if future is not None:
                after = _filled(future[number], self.scaling.known)
            rows.append(np.hstack([calendar.features(stamps, frequency), np.vstack([known, after])]))
        return _joined(rows)

    def windows(
        self, first: Sequence[int] | Tensor, last: Sequence[int] | Tensor, stride: int = 1, least: int = 1
    ) -> Tensor:
        """The windows ``(W, 2)`` whose targets lie in the steps ``first[i]`` to ``last[i] - 1`` of series ``i``.

        Each is the number of its series, from 0, and its cut: the first step of the target. Windows are ``stride``
        steps apart and have a history of ``least`` steps or more. One without a value in its history, or without
        one in its target, tells nothing and is left out.
        """
        if stride < 1 or least < 1:
            raise ConfigError(f"expected a stride and a least history of 1 or more, got {stride} and {least}")
        begin = torch.as_tensor(first).clamp_min(least)
        counts = ((torch.as_tensor(last) - self.horizon - begin) // stride + 1).clamp_min(0)
        series = torch.arange(len(counts)).repeat_interleave(counts)
        number = torch.arange(len(series)) - (counts.cumsum(0) - counts)[series]
        found = torch.stack([series, begin[series] + number * stride], 1)
        before, after = self._counts(found)
        return found[(before > 0) & (after > 0)]

    def _counts(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Values that there are in the history and in the target of each window."""
        sums = torch.cat([torch.zeros(1, dtype=torch.long), self.seen.long().cumsum(0)])
        series, cut = windows.unbind(1)
        place = self.begins[series] + cut
        history = sums[place] - sums[place - cut.clamp_max(self.lookback)]
        return history, sums[place + self.horizon] - sums[place]

    def last(self) -> Tensor:
        """The window ``(N, 2)`` after the end of each series: what is not known yet."""
        return torch.stack([torch.arange(len(self.lengths)), self.lengths], 1)

    def gather(self, windows: Tensor) -> Window:
        """The batch of some windows ``(B, 2)``, in their order."""
        series, cut = windows.unbind(1)
        place, lengths = self.begins[series] + cut, cut.clamp_max(self.lookback)
        steps = torch.arange(self.lookback)
        there = steps < lengths[:, None]
        rows = ((place - lengths)[:, None] + steps).clamp_max(len(self.y) - 1)
        ahead = place[:, None] + torch.arange(self.horizon)
        seen = self.seen[rows] & there
        return Window(
            y=self.y[rows].masked_fill(~seen, 0.0),
            seen=seen,
            past=self.past[rows].masked_fill(~there[..., None], 0.0),
            known=self.known[rows].masked_fill(~there[..., None], 0.0),
            lengths=lengths,
            target=self.y[ahead].masked_fill(~self.seen[ahead], torch.nan),
            ahead=self.known[ahead],
            static=self.static[series],
            series=self.placed.number[series],
            location=self.placed.location[series].float(),
            scale=self.placed.scale[series].float(),
        )


@dataclass(frozen=True)
class WindowBatches:
    """Batches of windows; none is dropped, and each window comes once in a pass.

    windows   (W, 2) of ``histories``
    batch     windows in a batch
    shuffled  another order each epoch; else as they are
    draw      of shuffled windows so many come in an epoch, others in the next; 0: all
    """

    histories: Histories
    windows: Tensor
    batch: int
    shuffled: bool = False
    draw: int = 0
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1 or self.draw < 0:
            raise ConfigError(f"expected batch >= 1 and draw >= 0, got {self.batch} and {self.draw}")
        if not len(self.windows):
            horizon = self.histories.horizon
            raise DataError(
                f"no window of {horizon} steps and a history fits into this part; give longer series or parts, "
                "or a smaller horizon"
            )

    def shard(self, rank: int, world: int) -> "WindowBatches":
        """The windows of process ``rank`` of ``world`` in every batch."""
        if len(self.windows) < world or self.batch % world:
            raise ConfigError(
                f"batch: expected a multiple of the {world} processes and as many windows, got {self.batch}, "
                f"{len(self.windows)} windows"
            )
        return replace(self, rank=rank, world=world)

    def epoch(self, number: int) -> Sequence[Window]:
        """All batches of one pass, made when they are asked for; the same for the same number."""
        order = torch.arange(len(self.windows))
        if self.shuffled:
            order = self._order(number)
        groups = [group for group in order.split(self.batch) if len(group) >= self.world]
        return _Pass(self, groups)

    def _order(self, number: int) -> Tensor:
        """Shuffled windows; with ``draw`` the next so many of one long shuffle, begun again when it is used up."""
        total = len(self.windows)
        share = min(self.draw or total, total)
        rounds, place = divmod(number * share, total)
        order = _shuffle(total, rounds)[place : place + share]
        missing = share - len(order)
        return torch.cat([order, _shuffle(total, rounds + 1)[:missing]]) if missing else order


def _shuffle(total: int, seed: int) -> Tensor:
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class _Pass(Sequence[Window]):
    source: WindowBatches
    groups: Sequence[Tensor]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        source = self.source
        chosen = self.groups[index][source.rank :: source.world]
        return source.histories.gather(source.windows[chosen])


def _filled(values: Array, statistics: Tensor) -> Array:
    """Covariates ``(T, F)``, standardised; a missing one takes the value before, the first ones the mean: 0."""
    mean, deviation = statistics.numpy()
    rows = np.where(np.isnan(values), 0, np.arange(1, len(values) + 1)[:, None])
    before = np.maximum.accumulate(rows, 0)
    scaled = np.vstack([np.zeros(values.shape[1]), (values - mean) / deviation])
    return np.take_along_axis(scaled, before, 0)


def _extended(values: Array, horizon: int) -> Array:
    return np.vstack([values, np.zeros((horizon, values.shape[1]))])


def _joined(parts: Sequence[Array]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts)).float()


def _check_names(panel: Panel, scaling: Scaling) -> None:
    groups = {"past": panel.past_names, "known": panel.known_names, "static": panel.static_names}
    for group, names in groups.items():
        expected = getattr(scaling, group).shape[1]
        if len(names) != expected:
            raise DataError(
                f"expected {expected} {group} covariates as in training, got {len(names)}: {', '.join(names)}"
            )
