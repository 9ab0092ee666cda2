"""A network that forecasts all steps of a horizon at once, from every place of a history: MQ-RNN (Wen et al. 2017).

h_t                 = layers([z_t ; seen_t ; a_t ; x_t ; v], h_{t-1})
[c_1 .. c_H ; c]    = global(h_t, x_{t+1} .. x_{t+H}, v)          two matrices and a relu
p(y_{t+k})          = output(local(c_k, c, x_{t+k}))              one matrix and a relu, the same for every k

z normalised values, a covariates of the past, x covariates that are known ahead, v what belongs to the series. No
step of the horizon reads another one's answer, so errors do not add up; quantiles are the usual output, any works.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.data.horizons import Window
from recurra.heads.output import Output
from recurra.tasks.forecast_history import Level, filled, joined, level, ragged_lengths
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

__all__ = ["DirectNetwork"]


class DirectNetwork(ForecastNetwork):
    """The equations above.

    In training a window of the length L is forecast from ``forks`` of its steps, not from the last one only: the
    recurrence is paid once for all of them ("forking sequences" in the paper, which takes every step). They are
    drawn anew for each batch. Where the history itself says the level of its values (any normalisation but
    "series"), an earlier step would have seen what it shall forecast, so there is one fork, the last step.
    """

    def __init__(self, net: ForecastNet, sizes: WindowSizes, output: Callable[[int], Output]) -> None:
        super().__init__(net, sizes)
        self.horizon = sizes.horizon
        same = sizes.static + net.embedding
        self.layers = forecast_layers(net, 2 + sizes.past + sizes.known + same)
        self.everywhere = nn.Sequential(
            nn.Linear(net.hidden + sizes.horizon * sizes.known + same, net.decoder),
            nn.ReLU(),
            nn.Linear(net.decoder, (sizes.horizon + 1) * net.context),
        )
        self.local = nn.Sequential(nn.Linear(2 * net.context + sizes.known, net.decoder), nn.ReLU())
        self.output = output(net.decoder)

    def loss(self, window: Window) -> tuple[Tensor, int]:
        self.check(window)
        its, same = level(self.net.normalisation, window.y, window.seen), self.context(window)
        h, _ = self.layers(self._inputs(window, its, same), None, ragged_lengths(window.lengths, window.y.shape[1]))
        places = self._places(window)
        row = torch.arange(len(h), device=h.device)[:, None]
        targets, ahead = self._horizons(window, places)
        h = torch.cat([h.new_zeros(len(h), 1, self.net.hidden), h], 1)
        hidden = self._decode(
            h[row, places.clamp(min=-1) + 1], ahead, same[:, None].expand(-1, places.shape[1], -1)
        )
        return self.output.loss(said(self.output, hidden, its), targets).sum(), count(targets)

    def _places(self, window: Window) -> Tensor:
        """The steps ``(B, N)`` from which is forecast: the last of each row, some before it; -1 is the start."""
        newest = window.lengths.to(window.y.device)[:, None] - 1
        longest = window.y.shape[1]
        many = min(self.net.forks, longest) if self.training and self.net.normalisation == "series" else 1
        earlier = torch.randperm(max(0, longest - 1), device=newest.device)[: many - 1] + 1
        return newest - torch.cat([earlier.new_zeros(1), earlier])

    def _horizons(self, window: Window, places: Tensor) -> tuple[Tensor, Tensor]:
        """What follows each place ``(B, N)``: targets ``(B, N, H)``, NaN for places before the start, and known
        covariates ``(B, N, H, K)``."""
        if places.shape[1] == 1:
            return window.target[:, None], window.ahead[:, None]
        steps = places[:, :, None] + 1 + torch.arange(self.horizon, device=places.device)
        row = torch.arange(len(places), device=places.device)[:, None, None]
        y = joined(torch.where(window.seen, window.y, torch.nan), window.target, window.lengths)
        there = (places >= -1)[:, :, None]
        targets = torch.where(there, y[row, steps.clamp(min=0)], torch.nan)
        return targets, joined(window.known, window.ahead, window.lengths)[row, steps.clamp(min=0)]

    def read(self, window: Window) -> Any:
        self.check(window)
        its, same = level(self.net.normalisation, window.y, window.seen), self.context(window)
        y, state = self.layers(
            self._inputs(window, its, same), None, ragged_lengths(window.lengths, window.y.shape[1])
        )
        last, known = _last(filled(window.y, window.seen), len(window.y))
        return tree.State(
            layers=state,
            h=ragged.last(y, window.lengths, y.new_zeros(len(y), self.net.hidden)),
            last=torch.where(known, its.normalise(last), 0),
            same=same,
            location=its.location,
            scale=its.scale,
        )

    def push(self, memory: Any, observation: Observation) -> Any:
        """The level stays that of the history which was read; without one it is that of the data's scaling."""
        seen = ~observation.y.isnan()
        z = torch.where(seen, (observation.y - memory.location) / memory.scale, memory.last)
        parts = [z[:, None], seen[:, None].to(z), observation.past, observation.known, memory.same]
        h, state = self.layers.step(torch.cat(parts, 1), memory.layers)
        return memory._replace(layers=state, h=h, last=z)

    @torch.no_grad()
    def forecast(
        self,
        memory: Any,
        ahead: Tensor,
        levels: Tensor,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """The same for every ``paths``: steps are not drawn one after the other, so there are no paths."""
        hidden = self._decode(memory.h, ahead, memory.same)
        parameters = said(self.output, hidden, Level(memory.location, memory.scale))
        return foretold(self.output, parameters, levels)

    def _inputs(self, window: Window, its: Level, same: Tensor) -> Tensor:
        """What the layers read ``(B, L, F)``."""
        y, known = filled(window.y, window.seen)
        z = torch.where(known, its.normalise(y), 0)[:, :, None]
        same = same[:, None].expand(-1, z.shape[1], -1)
        return torch.cat([z, window.seen[:, :, None].to(z), window.past, window.known, same], 2)

    def _decode(self, h: Tensor, ahead: Tensor, same: Tensor) -> Tensor:
        """What the output reads ``(..., H, decoder)``, from h ``(..., hidden)`` and ahead ``(..., H, K)``."""
        made = self.everywhere(torch.cat([h, ahead.flatten(-2), same], -1))
        own, common = made.split([self.horizon * self.net.context, self.net.context], -1)
        own = own.unflatten(-1, (self.horizon, self.net.context))
        common = common.unsqueeze(-2).expand_as(own)
        return self.local(torch.cat([own, common, ahead], -1))


def _last(filled: tuple[Tensor, Tensor], batch: int) -> tuple[Tensor, Tensor]:
    """The newest value of each row, and whether there is one."""
    y, known = filled
    if y.shape[1] == 0:
        return y.new_zeros(batch), known.new_zeros(batch).bool()
    return y[:, -1], known[:, -1]
