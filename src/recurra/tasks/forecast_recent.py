"""Intervals that follow the world: quantiles moved by what the latest forecasts of the same series missed.

Conformal prediction with a window of errors that moves on (Xu and Xie 2021), for each quantile and step by itself:
a calm year after a wild one gets narrower intervals, without training.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.data.horizons import Histories, Window, WindowBatches
from recurra.heads.conformal import Kind, misses, moves

__all__ = ["Latest", "recent_moves"]

Said = Callable[[Window], Tensor]  # the quantiles (B, H, Q) of windows, in scaled units
ROWS = 512  # windows that are forecast side by side
TOGETHER = 64  # windows whose errors lie side by side in memory


class Latest(NamedTuple):
    """What is known of the latest forecasts of a series, to go on value by value.

    errors   (N, H, Q)  of the forecasts of the last N values, the newest last, by step and level; NaN: not known
    pending  (H, H, Q)  the quantiles that were said at the last H moments, the newest last
    kind     what errors are measured in
    """

    errors: Tensor
    pending: Tensor
    kind: Kind

    @classmethod
    def of(cls, histories: Histories, said: Said, kind: Kind, recent: int) -> "Latest":
        """At the end of the only series; nothing was said there yet."""
        track = _tracks(histories, histories.last(), said, kind, recent)[0]
        errors, earlier = track.errors[:-1], track.quantiles[:-1]
        blank = torch.full_like(track.quantiles[:1], torch.nan)
        pending = torch.cat([_padded(earlier, histories.horizon - 1)[len(earlier) :], blank])
        return cls(_padded(errors, recent)[-recent:], pending, kind)

    def say(self, quantiles: Tensor) -> "Latest":
        """``quantiles (H, Q)`` are what is said at this moment."""
        return self._replace(pending=torch.cat([self.pending[:-1], quantiles[None].double()]))

    def after(self, value: Tensor) -> "Latest":
        """The next value ``(1,)`` has come, NaN where it is missing; nothing is said yet after it."""
        horizon = len(self.pending)
        steps = torch.arange(horizon)
        due = self.pending[horizon - 1 - steps, steps]  # the first step was said last, the last one H moments ago
        error = misses(value.expand(1, horizon), due[None], self.kind)
        blank = torch.full_like(self.pending[:1], torch.nan)
        return Latest(torch.cat([self.errors[1:], error]), torch.cat([self.pending[1:], blank]), self.kind)

    def moves(self, levels: Tensor) -> Tensor:
        """How far quantiles move ``(1, H, Q)``; NaN where too few errors are known."""
        return moves(self.errors, levels)[None]


class _Track(NamedTuple):
    """Forecasts of a series at M moments that follow each other, from step ``first`` on.

    quantiles  (M, H, Q)
    errors     (M, H, Q), a row for each step that was forecast, not for each moment: it was so at H of them
    """

    first: int
    quantiles: Tensor
    errors: Tensor


def recent_moves(batches: WindowBatches, said: Said, levels: Tensor, kind: Kind, recent: int) -> Tensor:
    """How far the quantiles of each window move ``(W, H, Q)``, by the errors of the ``recent`` values before it.

    No error is of a value that the window does not know. NaN where too few are known.
    """
    windows, histories = batches.windows, batches.histories
    found = torch.full((len(windows), histories.horizon, len(levels)), torch.nan, dtype=torch.float64)
    for row, track in _tracks(histories, windows, said, kind, recent).items():
        here = (windows[:, 0] == row).nonzero()[:, 0]
        # Row r of the padded errors is about step first + r - recent: a window that begins at
        # step first + r reads so many rows from r on.
        whole = _padded(track.errors, recent).unfold(0, recent, 1)
        for places in here.split(TOGETHER):
            errors = whole[windows[places, 1] - track.first]
            found[places] = moves(errors.movedim(-1, 0), levels)
    return found


def _tracks(histories: Histories, windows: Tensor, said: Said, kind: Kind, recent: int) -> dict[int, _Track]:
    """The series of some windows: forecasts at every moment whose errors one of these windows needs."""
    spans = {}
    for row in windows[:, 0].unique().tolist():
        cuts = windows[windows[:, 0] == row, 1]
        last = int(cuts.max())
        spans[row] = range(max(1, int(cuts.min()) - recent - histories.horizon + 1), last + 1)
    moments = torch.tensor([(row, cut) for row, span in spans.items() for cut in span]).reshape(-1, 2)
    parts = [histories.gather(some) for some in moments.split(ROWS)]
    quantiles = torch.cat([said(part).double() for part in parts])
    errors = misses(torch.cat([part.target for part in parts]), quantiles, kind)
    sizes = [len(span) for span in spans.values()]
    pairs = zip(quantiles.split(sizes), errors.split(sizes), strict=True)
    return {
        row: _Track(span.start, mine, _by_target(off))
        for (row, span), (mine, off) in zip(spans.items(), pairs, strict=True)
    }


def _by_target(errors: Tensor) -> Tensor:
    """Errors by moment ``(M, H, Q)``, put into the rows of the steps that they are about."""
    found = torch.full_like(errors, torch.nan)
    for step in range(min(errors.shape[1], len(errors))):
        found[step:, step] = errors[: len(errors) - step, step]
    return found


def _padded(errors: Tensor, rows: int) -> Tensor:
    """Rows that are not known before the first."""
    return torch.cat([errors.new_full((rows, *errors.shape[1:]), torch.nan), errors])
