"""What is timed: one training step or one inference of a layer, which can also show its tensors to the gate."""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Inference", "Side", "Training"]

Named = dict[str, Tensor]


class Side(Protocol):
    """One side of a comparison."""

    def __call__(self) -> object:
        """Do it once."""

    def result(self) -> Mapping[str, Tensor]:
        """Do it once, and give what came out: y ``(B, T, H)`` and gradients, by the names that recurra uses."""


class Training:
    """One step of training: forward, the mean square of y, backward to all parameters. x has no gradient.

    ``forward()`` gives y, time first if ``time_first`` says so; ``rename`` turns gradients by the module's own
    names into gradients by recurra's.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[], Tensor],
        rename: Callable[[Named], Named] = lambda gradients: gradients,
        time_first: bool = False,
    ) -> None:
        self.module, self.forward, self.rename, self.time_first = module, forward, rename, time_first
        self.parameters = list(module.parameters())

    def __call__(self) -> Tensor:
        for parameter in self.parameters:
            parameter.grad = None
        y = self.forward()
        y.square().mean().backward()
        return y

    def result(self) -> Named:
        """y and the gradients of all parameters."""
        y = self().detach()
        gradients = {
            name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in self.module.named_parameters()
        }
        return {"y": y.transpose(0, 1) if self.time_first else y, **self.rename(gradients)}


class Inference:
    """One forward pass without gradients."""

    def __init__(self, forward: Callable[[], Tensor], time_first: bool = False) -> None:
        self.forward, self.time_first = forward, time_first

    def __call__(self) -> Tensor:
        with torch.inference_mode():
            return self.forward()

    def result(self) -> Named:
        """y."""
        y = self()
        return {"y": y.transpose(0, 1) if self.time_first else y}
