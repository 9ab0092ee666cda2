"""The face of every forecasting network: what it loses on a window, what it forecasts, and how it moves on.

m  = read(history)              the memory after a history
m' = push(m, observation)       after one more value
p(y_{T+1} .. y_{T+H}) = forecast(m, covariates that are known ahead)
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.data.horizons import Window
from recurra.errors import ShapeError
from recurra.heads.output import Output
from recurra.layers import LAYERS, Dropout, Recurrent, RecurrentDropout, Stack
from recurra.tasks.forecast_history import Level
from recurra.tasks.forecast_net import ForecastNet

__all__ = ["Forecast", "ForecastNetwork", "Observation", "WindowSizes", "forecast_layers"]

PATHS = 200  # sample paths, unless somebody asks for another number


class WindowSizes(NamedTuple):
    """What the windows of a data set have: steps of the longest history and of the horizon, numbers of covariates
    (past only, known ahead, of the series), and of series."""

    history: int
    horizon: int
    past: int = 0
    known: int = 0
    static: int = 0
    series: int = 0


class Observation(NamedTuple):
    """One more value of each series: y ``(B,)``, NaN where it is missing, past ``(B, P)`` and known ``(B, K)``."""

    y: Tensor
    past: Tensor
    known: Tensor


class Forecast(NamedTuple):
    """What may come, in the units of the window.

    mean       (B, H)
    quantiles  (B, H, Q)  at the levels that were asked for
    samples    (B, S, H)  whole paths; None from a network that makes none
    """

    mean: Tensor
    quantiles: Tensor
    samples: Tensor | None


class ForecastNetwork(nn.Module, ABC):
    """A network that forecasts every series of a data set: one set of weights for all of them.

    A subclass writes `loss`, `read`, `push` and `forecast`. The memory is tensors in tuples, batch first in every
    leaf, as the state of a layer is: `recurra.tree` takes rows of it, and it can be saved.

    Each series has a vector of its own, learned with the rest. In training it is hidden from a share of the
    windows, ``newcomers``: what stands in its place then is what a series that training did not know gets.
    """

    output: Output

    def __init__(self, net: ForecastNet, sizes: WindowSizes) -> None:
        super().__init__()
        self.net, self.sizes = net, sizes
        self.embedding = nn.Embedding(sizes.series + 1, net.embedding) if net.embedding else None

    @abstractmethod
    def loss(self, window: Window) -> tuple[Tensor, int]:
        """The sum of the losses over all values that are not missing, and their number."""

    @abstractmethod
    def read(self, window: Window) -> Any:
        """The memory after the histories; targets are not looked at."""

    @abstractmethod
    def push(self, memory: Any, observation: Observation) -> Any:
        """The memory after one more value of each series, in the units of the window."""

    @abstractmethod
    def forecast(
        self,
        memory: Any,
        ahead: Tensor,
        levels: Tensor,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """What may come after a memory, given what is known of it: ahead ``(B, H, K)``, levels ``(Q,)``."""

    @torch.no_grad()
    def predict(
        self, window: Window, levels: Tensor, paths: int = PATHS, generator: torch.Generator | None = None
    ) -> Forecast:
        """What may come after the histories of a window; of those without a value, what the weights expect."""
        return self.forecast(self.read(window), window.ahead, levels, paths, generator)

    @torch.no_grad()
    def initial(self, static: Tensor, series: Tensor) -> Any:
        """The memory before any value: static ``(B, S)``, series ``(B,)``."""
        batch, sizes = len(series), self.sizes
        like = next(self.parameters())
        none = like.new_zeros(batch, 0)
        window = Window(
            y=none,
            seen=none.bool(),
            past=like.new_zeros(batch, 0, sizes.past),
            known=like.new_zeros(batch, 0, sizes.known),
            lengths=torch.zeros(batch, dtype=torch.long),
            target=none,
            ahead=like.new_zeros(batch, 0, sizes.known),
            static=static,
            series=series,
            location=like.new_zeros(batch),
            scale=like.new_ones(batch),
        )
        return self.read(window)

    def context(self, window: Window) -> Tensor:
        """What stays the same over time ``(B, C)``: static covariates and the vector of the series."""
        return torch.cat([window.static, self.vectors(window.series)], 1)

    def vectors(self, series: Tensor) -> Tensor:
        """The learned vectors ``(B, E)``; in training some are hidden."""
        if self.embedding is None:
            return next(self.parameters()).new_zeros(len(series), 0)
        if self.training and self.net.newcomers:
            hidden = torch.rand(series.shape, device=series.device) < self.net.newcomers
            series = series.masked_fill(hidden, 0)
        return self.embedding(series)

    def check(self, window: Window) -> None:
        """Raise ShapeError if a window is not one of this network's."""
        want = (self.sizes.past, self.sizes.known, self.sizes.static)
        got = (window.past.shape[-1], window.known.shape[-1], window.static.shape[-1])
        if want != got:
            raise ShapeError(
                f"{type(self).__name__}: expected windows with {want[0]} past, {want[1]} known and {want[2]} "
                f"static covariates, got {got[0]}, {got[1]} and {got[2]}"
            )


def count(target: Tensor) -> int:
    """How many values of a target are there."""
    return int((~target.isnan()).sum())


def said(output: Output, hidden: Tensor, level: Level) -> Tensor:
    """Parameters ``(B, ..., K)`` in the units of the window, of hidden ``(B, ..., F)``."""
    parameters = output(hidden)
    like = parameters[..., 0]
    return output.rescale(parameters, level.like(level.location, like), level.like(level.scale, like))


def foretold(output: Output, parameters: Tensor, levels: Tensor) -> Forecast:
    """Parameters ``(B, H, K)`` in the units of the window as a forecast without paths."""
    return Forecast(output.mean(parameters), output.quantile(parameters, levels.to(parameters)), None)


def of_paths(samples: Tensor, levels: Tensor) -> Forecast:
    """Sample paths ``(B, S, H)`` as a forecast."""
    side_by_side = samples.transpose(1, 2).contiguous()
    quantiles = side_by_side.quantile(levels.to(samples), -1).permute(1, 2, 0)
    return Forecast(side_by_side.mean(-1), quantiles, samples)


def forecast_layers(net: ForecastNet, size: int) -> Stack:
    """Recurrent layers that read ``size`` numbers a step, with dropout after each."""
    layers: list[Recurrent] = []
    make: Any = LAYERS[net.layer]
    for place in range(net.depth):
        cell = make(size if place == 0 else net.hidden, net.hidden)
        layers.append(RecurrentDropout(cell, net.recurrent_dropout) if net.recurrent_dropout else cell)
        layers.append(Dropout(net.dropout))
    return Stack(*layers)
