"""What a forecast says of one value: a distribution, quantiles, or a point."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

__all__ = ["Output"]


class Output(nn.Module, ABC):
    """Hidden numbers ``(..., F)`` -> parameters ``(..., K)`` of what is said of a value."""

    @abstractmethod
    def forward(self, hidden: Tensor) -> Tensor:
        """Parameters ``(..., K)``."""

    @abstractmethod
    def loss(self, parameters: Tensor, target: Tensor) -> Tensor:
        """How wrong each one is ``(...)``; 0 without a gradient where the target is NaN."""

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One draw of each ``(...)``."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """The expected value ``(...)``."""

    @abstractmethod
    def quantile(self, parameters: Tensor, levels: Tensor) -> Tensor:
        """``(..., Q)``."""
