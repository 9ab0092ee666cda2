"""A running average of the weights, often better than the last ones (Polyak and Juditsky 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential average of a network's parameters, those that learn.

        a' = d a + (1 - d) w                d = min(decay, (1 + n) / (10 + n)) after n updates

    The smaller d of the first updates lets the average forget the weights that training began with.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.learning = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.values = {name: value.detach().clone() for name, value in self.learning.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        now = [value.detach() for value in self.learning.values()]
        torch._foreach_lerp_(list(self.values.values()), now, share)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network has the averaged weights inside this block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.learning.items():
            kept = value.detach().clone()
            value.copy_(self.values[name])
            self.values[name].copy_(kept)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"updates": torch.tensor(self.updates)} | {f"of.{name}": v for name, v in self.values.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        self.updates = int(tensors["updates"])
        for name, value in self.values.items():
            value.copy_(tensors[f"of.{name}"])
