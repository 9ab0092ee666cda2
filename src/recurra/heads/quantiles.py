"""Forecasts as quantiles, which need no family of distributions (Koenker and Bassett 1978), and as a number."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus
from torch.special import ndtri

from recurra.heads import quantile_function
from recurra.heads.output import LEAST_SCALE, Output, check_objective

__all__ = ["LEVELS", "Point", "Quantiles", "pinball"]

LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)  # the ends of 80, 90 and 95 %


def pinball(values: Tensor, levels: Tensor, target: Tensor) -> Tensor:
    """The quantile loss ``(..., Q)`` of ``values (..., Q)`` for numbers ``target (...)``.

    max(level (y - v), (level - 1) (y - v)) = level (y - v) + max(v - y, 0)
    """
    over = values - target[..., None]
    return relu(over) - levels.to(over) * over


class Quantiles(Output):
    """Quantiles for given levels, as in MQ-RNN (Wen et al. 2017).

        v_m = a_m                                        m, the level nearest to 1/2
        v_i = v_(i-1) + LEAST + softplus(a_i)  above,    v_i = v_(i+1) - LEAST - softplus(a_i)  below

        loss = 2 / Q sum over i of max(level_i (y - v_i), (level_i - 1) (y - v_i))

    The paper forecasts each quantile for itself, and they may cross. Here they rise by construction, step by step
    from the middle (as in Park et al. 2022). At the start they are those of a standard normal distribution.
    The loss goes to the CRPS for many levels. Between and beyond the levels the distribution goes on as
    `quantile_function` says: for intervals that count, name their ends among the levels.

    parameters (..., Q): the quantiles, rising

    features  F, size of the vector
    levels    between 0 and 1, rising, two or more

    Raises ConfigError for other levels.
    """

    def __init__(self, features: int, levels: Sequence[float] = LEVELS) -> None:
        checked = quantile_function.check_levels("Quantiles", tuple(levels))
        super().__init__(features, len(checked))
        self.levels = checked  # no buffer: they stay in float64 when the network becomes half as precise
        self.middle = int((checked - 0.5).abs().argmin())
        self.centre = torch.arange(len(checked)) == self.middle
        self.sums = _sums(len(checked), self.middle)
        first = ndtri(checked)
        steps = (first.diff() - LEAST_SCALE).clamp(min=LEAST_SCALE).expm1().log()
        with torch.no_grad():
            self.linear.bias.copy_(
                torch.cat([steps[: self.middle], first[self.middle, None], steps[self.middle :]])
            )

    def constrain(self, raw: Tensor) -> Tensor:
        # One product with 0, 1 and -1 costs less than cumulative sums both ways, and their gradients.
        steps = torch.where(self.centre.to(raw.device), raw, LEAST_SCALE + softplus(raw))
        return steps @ self.sums.to(raw)

    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        return 2 * pinball(parameters, self.levels, target).mean(-1)

    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        return quantile_function.crps(parameters, self.levels, target)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        shape = parameters.shape[:-1]
        z = torch.randn(shape, generator=generator, dtype=parameters.dtype, device=parameters.device)
        return quantile_function.transform(parameters, self.levels, z)

    def mean(self, parameters: Tensor) -> Tensor:
        return quantile_function.mean(parameters, self.levels)

    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        return quantile_function.interpolate(parameters, self.levels, levels)

    def cdf(self, parameters: Tensor, target: Tensor) -> Tensor:
        return quantile_function.level_of(parameters, self.levels, target)

    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        return location[..., None] + scale[..., None] * parameters


def _sums(count: int, middle: int) -> Tensor:
    """Which step counts in which quantile, ``(Q, Q)``: those from the middle out to it, below with a minus."""
    sums = torch.ones(count, count).triu()
    sums[:middle] = -torch.ones(count, count).tril()[:middle]
    sums[middle] = 1
    return sums


class Point(Output):
    """One number, without a word on how sure it is.

        l1   loss = |y - v|              learns the median
        l2   loss = (y - v)^2            learns the mean

    All quantiles are that number; conformal calibration (`recurra.heads.conformal`) can put intervals around it.
    There is no distribution function, and the CRPS is the absolute error.

    parameters (..., 1): v

    features   F, size of the vector
    objective  "l1" or "l2"
    """

    def __init__(self, features: int, objective: Literal["l1", "l2"] = "l2") -> None:
        super().__init__(features, 1)
        self.objective = check_objective("Point", objective, ("l1", "l2"))

    def constrain(self, raw: Tensor) -> Tensor:
        return raw

    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        off = target - parameters[..., 0]
        return off.abs() if self.objective == "l1" else off.square()

    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        return (target - parameters[..., 0]).abs()

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return parameters[..., 0]

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters[..., 0]

    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        return parameters.expand(*parameters.shape[:-1], len(levels))

    def cdf(self, parameters: Tensor, target: Tensor) -> None:
        return None

    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        return location[..., None] + scale[..., None] * parameters
