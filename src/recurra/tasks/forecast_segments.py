"""A network that reads and writes whole segments of a series: SegRNN (Lin et al. 2023).

x_i   = relu(W s_i + b)                  s_i: the i-th segment of the history, w steps of it
h_i   = layers(x_i, h_{i-1})             i = 1 .. L / w
g_j   = layers([p_j ; v], h_n)           j = 1 .. H / w, all at once: p_j of the place, v of the series
y_j   = V dropout(g_j) + c               the j-th segment of the horizon

A history of 720 hours in segments of 24 is 30 steps of the recurrence instead of 720, and a horizon is one more:
errors of one step are not read by the next, and gradients have a short way.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.data.horizons import Window
from recurra.heads.output import Output
from recurra.tasks.forecast_history import Level, aligned, filled, level, ragged_lengths
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_network import (
    PATHS,
    Forecast,
    ForecastNetwork,
    Observation,
    WindowSizes,
    count,
    forecast_layers,
    foretold,
    said,
)

__all__ = ["SegmentNetwork"]


class SegmentNetwork(ForecastNetwork):
    """The equations above.

    A segment is w values, w flags that say which of them were seen, and the covariates of its steps. Histories that
    are no multiple of w begin with a segment that is not full. The place of a segment in the horizon and the series
    have vectors that are learned, of ``hidden - embedding`` and ``embedding`` numbers; covariates known ahead and
    static ones are multiplied by a matrix and added to them, which the paper does not have.

    Its memory is the newest ``sizes.history`` steps themselves: they are read anew for every forecast.
    """

    def __init__(self, net: ForecastNet, sizes: WindowSizes, output: Callable[[int], Output]) -> None:
        super().__init__(net, sizes)
        width, hidden = net.segment, net.hidden
        self.ahead = -(-sizes.horizon // width)  # segments of the horizon
        self.time = -(-sizes.history // width) * width
        self.enter = nn.Linear(width * (2 + sizes.past + sizes.known), hidden)
        self.layers = forecast_layers(net, hidden)
        self.places = nn.Parameter(torch.randn(self.ahead, hidden - net.embedding))
        told = width * sizes.known + sizes.static
        self.told = nn.Linear(told, hidden, bias=False) if told else None
        self.leave = nn.Linear(hidden, width * net.context)
        self.output = output(net.context)

    def loss(self, window: Window) -> tuple[Tensor, int]:
        memory = self.read(window)
        hidden, its = self._decode(memory, window.ahead)
        return self.output.loss(said(self.output, hidden, its), window.target).sum(), count(window.target)

    def read(self, window: Window) -> Any:
        self.check(window)

        def newest(values: Tensor) -> Tensor:
            return aligned(values, window.lengths, self.time)

        return tree.State(
            y=newest(window.y),
            seen=newest(window.seen),
            past=newest(window.past),
            known=newest(window.known),
            lengths=window.lengths.clamp(max=self.time).to(window.y.device),
            static=window.static,
            vectors=self.vectors(window.series),
        )

    def push(self, memory: Any, observation: Observation) -> Any:
        def moved(values: Tensor, newest: Tensor) -> Tensor:
            return torch.cat([values[:, 1:], newest[:, None]], 1)

        seen = ~observation.y.isnan()
        return memory._replace(
            y=moved(memory.y, observation.y.nan_to_num()),
            seen=moved(memory.seen, seen),
            past=moved(memory.past, observation.past),
            known=moved(memory.known, observation.known),
            lengths=(memory.lengths + 1).clamp(max=self.time),
        )

    @torch.no_grad()
    def forecast(
        self,
        memory: Any,
        ahead: Tensor,
        levels: Tensor,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """The same for every ``paths``: segments are not drawn one after the other, so there are no paths."""
        hidden, its = self._decode(memory, ahead)
        return foretold(self.output, said(self.output, hidden, its), levels)

    def _decode(self, memory: Any, ahead: Tensor) -> tuple[Tensor, Level]:
        """What the output reads ``(B, H, context)``, and the level of the rows."""
        its = level(self.net.normalisation, memory.y, memory.seen)
        state, batch = self._encode(memory, its), len(memory.y)
        asked = self._asked(memory, ahead)
        every = torch.arange(batch, device=asked.device).repeat_interleave(self.ahead)
        g, _ = self.layers(asked.flatten(0, 1)[:, None], tree.rows(state, every))
        steps = self.leave(g).view(batch, self.ahead * self.net.segment, self.net.context)
        return steps[:, : self.sizes.horizon], its

    def _encode(self, memory: Any, its: Level) -> Any:
        """The state after the segments of the history."""
        y, known = filled(memory.y, memory.seen)
        z = torch.where(known, its.normalise(y), 0)
        steps = torch.cat([z[:, :, None], memory.seen[:, :, None].to(z), memory.past, memory.known], 2)
        segments = steps.unflatten(1, (-1, self.net.segment)).flatten(2)
        full = -(-memory.lengths // self.net.segment)
        segments = aligned_left(segments, full)
        return self.layers(torch.relu(self.enter(segments)), None, ragged_lengths(full, segments.shape[1]))[1]

    def _asked(self, memory: Any, ahead: Tensor) -> Tensor:
        """What the layers read for each segment of the horizon ``(B, H / w, hidden)``."""
        batch = len(memory.y)
        places = self.places.expand(batch, -1, -1)
        vectors = memory.vectors[:, None].expand(-1, self.ahead, -1)
        asked = torch.cat([places, vectors], 2)
        if self.told is None:
            return asked
        width = self.net.segment
        known = ahead.new_zeros(batch, self.ahead * width, ahead.shape[2])
        known[:, : ahead.shape[1]] = ahead
        told = [known.view(batch, self.ahead, -1), memory.static[:, None].expand(-1, self.ahead, -1)]
        return asked + self.told(torch.cat(told, 2))


def aligned_left(segments: Tensor, lengths: Tensor) -> Tensor:
    """The last ``lengths`` segments of each row ``(B, N, ...)`` at its beginning, as layers read them."""
    total = segments.shape[1]
    if bool((lengths == total).all()):
        return segments
    index = (torch.arange(total, device=segments.device) + total - lengths[:, None]).clamp(max=max(0, total - 1))
    return segments.gather(1, index[:, :, None].expand(-1, -1, segments.shape[2]))
