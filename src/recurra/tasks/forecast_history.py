"""Histories of forecasts as tensors: missing values filled, the horizon joined on, level and spread."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra import lengths as ragged

__all__ = ["NORMALISATIONS", "Level", "Normalisation", "aligned", "filled", "joined", "level", "ragged_lengths"]

Normalisation = Literal["series", "mean", "last", "instance"]
NORMALISATIONS: tuple[Normalisation, ...] = ("series", "mean", "last", "instance")

# A sensor that stood still says nothing of how far its values may go: spreads below a hundredth of that of the
# series, whose scaled spread is about 1, are taken for this.
LEAST_SPREAD = 1e-2


class Level(NamedTuple):
    """Where the values of each row lie: ``z = (y - location) / scale``, both ``(B,)``."""

    location: Tensor
    scale: Tensor

    def normalise(self, y: Tensor) -> Tensor:
        """y ``(B, ...)`` as the network reads it."""
        return (y - self.like(self.location, y)) / self.like(self.scale, y)

    def restore(self, z: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return z * self.like(self.scale, z) + self.like(self.location, z)

    @staticmethod
    def like(value: Tensor, y: Tensor) -> Tensor:
        """A value of each row ``(B,)`` for all of y ``(B, ...)``."""
        return value.view(-1, *[1] * (y.dim() - 1))


def level(kind: Normalisation, y: Tensor, seen: Tensor) -> Level:
    """The level of each history y ``(B, L)``, of which only what was ``seen (B, L)`` counts.

        series     location 0, scale 1                            the data's scaling is all there is
        mean       location 0, scale 1 + mean |y|                 DeepAR (Salinas et al. 2020), for counts
        last       location the last value, scale 1               NLinear (Zeng et al. 2023), SegRNN
        instance   location mean y, scale standard deviation      RevIN (Kim et al. 2022)

    Deviation: reversible instance normalisation (RevIN) has no gain and shift of its own to learn; the weights
    around it have them. Histories in which nothing was seen have location 0 and scale 1.
    """
    zero, one = y.new_zeros(len(y)), y.new_ones(len(y))
    if kind == "series" or y.shape[1] == 0:
        return Level(zero, one)
    if kind == "last":
        return Level(filled(y, seen)[0][:, -1], one)
    count = seen.sum(1).clamp(min=1)
    y = torch.where(seen, y, 0)
    if kind == "mean":
        return Level(zero, 1 + y.abs().sum(1) / count)
    mean = y.sum(1) / count
    variance = torch.where(seen, y - mean[:, None], 0).square().sum(1) / count
    scale = variance.sqrt()
    return Level(mean, torch.where(scale < LEAST_SPREAD, one, scale))


def filled(y: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """y ``(B, L)`` with the last value seen where there is none, 0 before the first; and where a value stands."""
    steps = torch.arange(y.shape[1], device=y.device)
    newest = torch.where(seen, steps, -1).cummax(1).values if y.shape[1] else seen.long()
    known = newest >= 0
    return torch.where(known, y.gather(1, newest.clamp(min=0)), 0), known


def ragged_lengths(lengths: Tensor, time: int) -> Tensor | None:
    """Lengths ``(B,)`` as layers take them: None where all rows are full, which is faster."""
    return None if bool((lengths == time).all()) else lengths


def joined(history: Tensor, horizon: Tensor, lengths: Tensor, rest: float = 0.0) -> Tensor:
    """A history ``(B, L, ...)`` and what follows ``(B, H, ...)`` in one row ``(B, L + H, ...)``; then ``rest``."""
    time, ahead = history.shape[1], horizon.shape[1]
    if ragged_lengths(lengths, time) is None:
        return torch.cat([history, horizon], 1)

    def spread(values: Tensor) -> Tensor:
        return values.view(*values.shape, *[1] * (history.dim() - 2))

    valid = spread(ragged.mask(lengths, time, history.device))
    whole = torch.cat([torch.where(valid, history, rest), torch.full_like(horizon, rest)], 1)
    index = lengths.to(history.device)[:, None] + torch.arange(ahead, device=history.device)
    return whole.scatter(1, spread(index).expand_as(horizon), horizon)


def aligned(history: Tensor, lengths: Tensor, time: int) -> Tensor:
    """The last steps of each row ``(B, L, ...)`` at the right end of ``(B, time, ...)``, with zeros before them."""
    source = torch.arange(time, device=history.device) - time + lengths.to(history.device)[:, None]
    index = source.clamp(0, max(0, history.shape[1] - 1))
    if history.shape[1] == 0:
        return history.new_zeros(len(history), time, *history.shape[2:])
    shape = (*index.shape, *[1] * (history.dim() - 2))
    taken = history.gather(1, index.view(shape).expand(*index.shape, *history.shape[2:]))
    return torch.where((source >= 0).view(shape), taken, torch.zeros_like(taken))
