"""Several forecasting networks that learn side by side, and forecast together (Lakshminarayanan et al. 2017).

mean       = 1/M sum_m mean_m
quantile_q = 1/M sum_m quantile_q,m
paths      : every member draws its share of them
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.data.horizons import Window
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_network import PATHS, Forecast, ForecastNetwork, Observation, WindowSizes, of_paths

__all__ = ["Committee"]


class Committee(ForecastNetwork):
    """The mean of ``net.members`` networks, which differ by their first weights and their dropout alone.

    No gradient of one touches another. What they get wrong in different ways cancels out, for as many times the
    computing. Quantiles are averaged level by level, which keeps their
    order and is sharper than a mixture of the distributions (Lichtendahl et al. 2013). Paths of all members lie one
    behind the other; their mean and quantiles are those of all paths.
    """

    def __init__(
        self, net: ForecastNet, sizes: WindowSizes, make: Callable[[ForecastNet, WindowSizes], ForecastNetwork]
    ) -> None:
        super().__init__(net, sizes)
        self.embedding = None  # each member has its own vectors
        members = [make(net, sizes) for _ in range(net.members)]
        self.members: Any = nn.ModuleList(members)
        self.output = members[0].output

    def loss(self, window: Window) -> tuple[Tensor, int]:
        """The mean over the members, of which each must learn to forecast by itself."""
        sums, counts = zip(*(member.loss(window) for member in self.members), strict=True)
        return torch.stack(sums).mean(), counts[0]

    def read(self, window: Window) -> Any:
        return tree.State(members=tuple(member.read(window) for member in self.members))

    def push(self, memory: Any, observation: Observation) -> Any:
        pairs = zip(self.members, memory.members, strict=True)
        return tree.State(members=tuple(member.push(its, observation) for member, its in pairs))

    @torch.no_grad()
    def forecast(
        self,
        memory: Any,
        ahead: Tensor,
        levels: Tensor,
        paths: int = PATHS,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """The equations above; each member draws ``paths / M`` paths, rounded up."""
        each = -(-paths // len(self.members))
        said = [
            member.forecast(its, ahead, levels, each, generator)
            for member, its in zip(self.members, memory.members, strict=True)
        ]
        means, quantiles, samples = zip(*said, strict=True)
        if samples[0] is None:
            return Forecast(torch.stack(means).mean(0), torch.stack(quantiles).mean(0), None)
        return of_paths(torch.cat(samples, 1), levels)
