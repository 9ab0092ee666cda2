"""What a network says about a number that it does not know yet: the face of all output heads for forecasting.

A head turns a vector into the parameters of a distribution. Everything that a forecast needs is read from these:
a loss to train by, samples, a mean, quantiles, and how good they were when the number is known.
"""

import math
from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError

__all__ = ["LEAST_SCALE", "UNIT", "Output", "check_objective", "scipy"]

LEAST_SCALE = 1e-4  # of a series' own scale: without it a constant stretch makes the likelihood grow without bound
UNIT = math.log(math.expm1(1.0))  # softplus(UNIT) = 1


class Output(nn.Module, ABC):
    """Parameters of a distribution from a vector: ``hidden (..., F) -> parameters (..., K)``.

        parameters = constrain(W hidden + b)          in float32 or better, under autocast too

    All other methods take these parameters, so that they can be kept, gathered and scaled like any tensor.
    ``(...)`` is any shape, such as (B, H). A target is missing where it is NaN: there the loss is 0 and passes no
    gradient, and `crps`, `cdf` and `pit` are NaN.

    features  F, size of the vector
    size      K, numbers that describe one distribution

    Raises ShapeError if the vector has another size.
    """

    counts: ClassVar[bool] = False  # whether targets must be whole numbers from 0

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        if features < 1:
            raise ConfigError(f"{type(self).__name__}: expected 1 feature or more, got {features}")
        self.features, self.size = features, size
        self.linear = nn.Linear(features, size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Parameters ``(..., K)`` for ``hidden (..., F)``."""
        if not hidden.dim() or hidden.shape[-1] != self.features:
            raise ShapeError(
                f"{type(self).__name__}: expected hidden of shape (..., {self.features}), got {tuple(hidden.shape)}"
            )
        with torch.autocast(hidden.device.type, enabled=False):  # three digits are too few for a forecast
            raw = self.linear(hidden.to(self.linear.weight.dtype))
            return self.constrain(raw.to(torch.promote_types(raw.dtype, torch.float32)))

    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """What training minimises ``(...)``, for each number of ``target (...)``; 0 where it is missing."""
        missing = target.isnan()
        value = self.penalty(parameters, target.masked_fill(missing, 0).to(parameters.dtype))
        return value.masked_fill(missing, 0)

    def crps(self, parameters: Tensor, target: Tensor) -> Tensor:
        """The continuous ranked probability score ``(...)``, in units of the target (Matheson and Winkler 1976).

        CRPS(F, y) = integral over x of (F(x) - 1[x >= y])^2
        """
        missing = target.isnan()
        value = self.ranked(parameters, target.masked_fill(missing, 0).to(parameters.dtype))
        return value.masked_fill(missing, torch.nan)

    def pit(self, parameters: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        """The probability integral transform ``(...)``: uniform if the forecasts are right (Dawid 1984).

        It is `cdf` where numbers are continuous. Counts are spread at random over their step.
        """
        return self.cdf(parameters, target)

    @abstractmethod
    def constrain(self, raw: Tensor) -> Tensor:
        """Any numbers ``(..., K)`` -> parameters that are allowed."""

    @abstractmethod
    def penalty(self, parameters: Tensor, target: Tensor) -> Tensor:
        """`loss` where no target is missing."""

    @abstractmethod
    def ranked(self, parameters: Tensor, target: Tensor) -> Tensor:
        """`crps` where no target is missing."""

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One number ``(...)`` of each distribution; the generator is on the parameters' device."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The expectation ``(...)``."""

    @abstractmethod
    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        """``(..., Q)``: below the q-th lies the share ``levels[q]`` of the distribution; levels between 0 and 1."""

    @abstractmethod
    def cdf(self, parameters: Tensor, target: Tensor) -> Tensor | None:
        """The probability ``(...)`` of a number up to the target, or None if the family knows no probabilities."""

    @abstractmethod
    def rescale(self, parameters: Tensor, location: Tensor, scale: Tensor) -> Tensor:
        """The parameters of location + scale * y; both are of a shape that broadcasts to ``(...)``."""

    def extra_repr(self) -> str:
        return f"{self.features} -> {self.size}"


def check_objective(name: str, objective: str, known: tuple[str, ...]) -> str:
    """The objective, if the head knows it."""
    if objective not in known:
        raise ConfigError(f"{name}: expected the objective {' or '.join(map(repr, known))}, got {objective!r}")
    return objective


def scipy(part: str) -> Any:
    """The module ``scipy.part``; it comes with ``recurra[forecast]``."""
    try:
        return import_module(f"scipy.{part}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "this distribution needs scipy; install it with: pip install 'recurra[forecast]'"
        ) from error
