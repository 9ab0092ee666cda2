"""A network that forecasts a step, draws a value, reads it, and goes on: DeepAR (Salinas et al. 2020).

h_t      = layers([z_{t-1} ; z_{t-lags} ; seen ; a_{t-1} ; x_t ; v], h_{t-1})
p(z_t)   = output(h_t)

z normalised values, a covariates of the past, x covariates that are known ahead, v what belongs to the series. In
training z are the values that came (teacher forcing), over the history and the horizon. In a forecast they are
drawn from p: many paths, whose shares say how likely anything is that depends on several steps, a sum or a maximum.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra import tree
from recurra.data.horizons import Window
from recurra.errors import ConfigError
from recurra.heads.output import Output
from recurra.layers import Dropout, RecurrentDropout, Stack, Stream
from recurra.tasks.forecast_history import Level, aligned, filled, joined, level, ragged_lengths
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_network import (
    PATHS,
    Forecast,
    ForecastNetwork,
    Observation,
    WindowSizes,
    count,
    forecast_layers,
    of_paths,
    said,
)

__all__ = ["AutoregressiveNetwork"]

ROWS = 2048  # paths that are drawn side by side: more do not fit into the caches of a processor


class AutoregressiveNetwork(ForecastNetwork):
    """The equations above.

    Past covariates are not known over the horizon: there they are 0, in training too, and one more input says so.
    Deviation: missing values of the history are filled with the last one, and an input says so; the paper draws
    them. Where the history itself says the level of its values ("last" and "instance"), its own steps would be
    easier than any horizon, so only the horizon is trained on.
    """

    def __init__(self, net: ForecastNet, sizes: WindowSizes, output: Callable[[int], Output]) -> None:
        super().__init__(net, sizes)
        self.lags = (1, *(lag for lag in sorted(net.lags) if lag > 1))
        past = sizes.past + 1 if sizes.past else 0
        size = 2 * len(self.lags) + past + sizes.known + sizes.static + net.embedding
        self.layers = forecast_layers(net, size)
        self.output = output(net.hidden)

    def loss(self, window: Window) -> tuple[Tensor, int]:
        self.check(window)
        its, ahead = level(self.net.normalisation, window.y, window.seen), window.target.shape[1]
        history = torch.where(window.seen, window.y, torch.nan)
        y = joined(history, window.target, window.lengths, rest=torch.nan)
        known = joined(window.known, window.ahead, window.lengths)
        h, _ = self.layers(
            self._inputs(window, y, its, known), None, ragged_lengths(window.lengths + ahead, y.shape[1])
        )
        if self.net.normalisation in ("last", "instance"):
            row = torch.arange(len(h), device=h.device)[:, None]
            steps = window.lengths.to(h.device)[:, None] + torch.arange(ahead, device=h.device)
            h, y = h[row, steps], window.target
        return self.output.loss(said(self.output, h, its), y).sum(), count(y)

    def read(self, window: Window) -> Any:
        self.check(window)
        its, time = level(self.net.normalisation, window.y, window.seen), max(self.lags)
        y = torch.where(window.seen, window.y, torch.nan)
        _, state = self.layers(
            self._inputs(window, y, its, window.known), None, ragged_lengths(window.lengths, y.shape[1])
        )
        z, seen = self._values(y, its)
        return tree.State(
            layers=state,
            z=aligned(z, window.lengths, time),
            seen=aligned(seen, window.lengths, time),
            past=aligned(self._past(window.past), window.lengths, 1)[:, 0],
            same=self.context(window),
            location=its.location,
            scale=its.scale,
        )

    def push(self, memory: Any, observation: Observation) -> Any:
        """The level stays that of the history which was read; without one it is that of the data's scaling."""
        _, state = self.layers.step(self._input(memory, observation.known), memory.layers)
        seen = ~observation.y.isnan()
        z = torch.where(seen, (observation.y - memory.location) / memory.scale, memory.z[:, -1])
        past = self._past(observation.past[:, None])[:, 0]
        return self._moved(memory, z, seen.to(z), past)._replace(layers=state)

    @torch.no_grad()
    def forecast(
        self,
        memory: Any,
        ahead: Tensor,
        levels: Tensor,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """Mean and quantiles are those of the paths. Raises ConfigError for less than one of them."""
        if paths < 1:
            raise ConfigError(
                f"an autoregressive network forecasts by sample paths; expected at least 1, got {paths}"
            )
        samples = self._samples(memory, ahead, paths, generator)
        return of_paths(samples, levels)

    def _samples(self, memory: Any, ahead: Tensor, paths: int, generator: torch.Generator | None) -> Tensor:
        """Paths ``(B, S, H)`` of all rows, some rows at a time, and as many times at once as torch has threads.

        Each part draws from a generator of its own, so that the paths do not depend on who is done first.
        """
        size = max(1, ROWS // paths)
        places = range(0, len(ahead), size)
        if not places:
            return ahead.new_zeros(0, paths, ahead.shape[1])
        device = generator.device if generator is not None else None
        seeds = torch.randint(2**62, (len(places),), generator=generator, device=device)

        def part(place: int, seed: int) -> Tensor:
            own, rows = torch.Generator(ahead.device).manual_seed(seed), slice(place, place + size)
            return self._draw(tree.rows(memory, rows), ahead[rows], paths, own)

        with ThreadPoolExecutor(torch.get_num_threads() if ahead.is_cpu else 1) as pool:
            return torch.cat(list(pool.map(part, places, seeds.tolist())))

    @torch.no_grad()
    def _draw(self, memory: Any, ahead: Tensor, paths: int, generator: torch.Generator) -> Tensor:
        """Paths ``(B, S, H)`` in the units of the window."""
        (batch, steps), time = ahead.shape[:2], memory.z.shape[1]
        every = torch.arange(batch, device=ahead.device).repeat_interleave(paths)
        its = Level(memory.location[every], memory.scale[every])
        shared = self._shared(memory, ahead)
        z = torch.cat([memory.z[every], memory.z.new_empty(len(every), steps)], 1)
        drawn: list[Tensor] = []
        # Until the first value is drawn, all paths of a row are the same.
        h, state = self.layers.step(self._input(memory, ahead[:, 0]), memory.layers)
        h, stream = h[every], _stream(self.layers, tree.rows(state, every), len(every))
        for k in range(steps):
            if k > 0:
                z[:, time + k - 1] = its.normalise(drawn[-1])
                own = z[:, [time + k - lag for lag in self.lags]]
                h = stream.step(torch.cat([own, shared[every, k]], 1))
            drawn.append(self.output.sample(said(self.output, h, its), generator))
        return torch.stack(drawn, 1).view(batch, paths, steps)

    def _shared(self, memory: Any, ahead: Tensor) -> Tensor:
        """What all paths of a row read over the horizon ``(B, H, F)``: all inputs but the values."""
        batch, steps = ahead.shape[:2]
        seen = torch.cat([memory.seen, memory.seen.new_ones(batch, steps)], 1)
        flags = _lagged(seen, self.lags)[:, memory.seen.shape[1] :]
        past = memory.past.new_zeros(batch, steps, memory.past.shape[1])
        return torch.cat([flags, past, ahead, memory.same[:, None].expand(-1, steps, -1)], 2)

    def _input(self, memory: Any, known: Tensor) -> Tensor:
        """What the layers read in one step ``(B, F)``."""
        places = [-lag for lag in self.lags]
        return torch.cat([memory.z[:, places], memory.seen[:, places], memory.past, known, memory.same], 1)

    def _moved(self, memory: Any, z: Tensor, seen: Tensor, past: Tensor) -> Any:
        """The memory with one more value."""

        def longer(values: Tensor, newest: Tensor) -> Tensor:
            return torch.cat([values[:, 1:], newest[:, None]], 1)

        return memory._replace(z=longer(memory.z, z), seen=longer(memory.seen, seen), past=past)

    def _inputs(self, window: Window, y: Tensor, its: Level, known: Tensor) -> Tensor:
        """What the layers read in all steps ``(B, T, F)``, of y ``(B, T)`` with NaN where it is missing."""
        time = y.shape[1]
        z, seen = self._values(y, its)
        past = self._past(window.past)
        if time > past.shape[1]:
            past = joined(past, past.new_zeros(len(past), time - past.shape[1], past.shape[2]), window.lengths)
        z, seen = (_lagged(values, self.lags) for values in (z, seen))
        past = pad(past, (0, 0, 1, 0))[:, :time]
        return torch.cat([z, seen, past, known, self.context(window)[:, None].expand(-1, time, -1)], 2)

    def _values(self, y: Tensor, its: Level) -> tuple[Tensor, Tensor]:
        """Normalised values ``(B, T)`` without gaps, and 1 where one was seen."""
        seen = ~y.isnan()
        y, known = filled(y, seen)
        return torch.where(known, its.normalise(y), 0), seen.to(y)

    def _past(self, past: Tensor) -> Tensor:
        """Past covariates ``(B, T, P)`` with a 1 that says that they are there."""
        return torch.cat([past, torch.ones_like(past[:, :, :1])], 2) if self.sizes.past else past


def _stream(layers: Stack, states: Any, rows: int) -> Stream:
    """The layers as a stream of so many rows from these states on; without dropout often one native call a step."""
    kept = [(layer, state) for layer, state in zip(layers, states, strict=True) if not isinstance(layer, Dropout)]
    bare = [(a.layer, s.layer) if isinstance(a, RecurrentDropout) else (a, s) for a, s in kept]
    stream = Stream(Stack(*(layer for layer, _ in bare)), rows)
    stream.state = tuple(state for _, state in bare)
    return stream


def _lagged(values: Tensor, lags: tuple[int, ...]) -> Tensor:
    """Values ``(B, T)`` so many steps ago ``(B, T, lags)``, 0 before the first."""
    time, longest = values.shape[1], max(lags)
    values = pad(values, (longest, 0))
    return torch.stack([values[:, longest - lag : longest - lag + time] for lag in lags], 2)
