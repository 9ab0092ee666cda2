"""Training long sequences in less memory, by computing twice (Chen et al. 2016)."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recurra.errors import ConfigError
from recurra.layers.base import Recurrent

__all__ = ["Recompute"]


class Recompute(Recurrent):
    """A causal layer that keeps its state at the ends of segments, and computes the rest again on the way back.

        y, s_k = layer(x between k-1 and k, s_{k-1})        segment by segment, twice in training

    Memory for T steps falls from T to T / steps + steps, time grows by one forward pass. Values and gradients are
    those of the layer (Chen et al., "Training deep nets with sublinear memory cost", 2016).

    layer  any causal layer, also a `Stack`
    steps  length of a segment; None takes the square root of T, where the sum above is smallest
    """

    def __init__(self, layer: Recurrent, steps: int | None = None) -> None:
        super().__init__()
        if not isinstance(layer, Recurrent) or not layer.causal:
            raise ConfigError(f"Recompute: expected a causal recurrent layer, got {type(layer).__name__}")
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise ConfigError(f"Recompute: expected steps to be a whole number of at least 1, got {steps!r}")
        self.layer, self.steps = layer, steps
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return self.layer.initial_state(batch, like)

    def renew(self, state: Any) -> Any:
        return self.layer.renew(state)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.layer.step(x, state)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        time = x.shape[1]
        steps = self.steps or max(1, math.isqrt(time))
        if time <= steps or not torch.is_grad_enabled():
            return self.layer(x, state, lengths)
        outputs = []
        for begin in range(0, time, steps):
            part = x[:, begin : begin + steps]
            left = None if lengths is None else (lengths - begin).clamp(0, part.shape[1])
            y, state = checkpoint(self.layer, part, state, left, use_reentrant=False)
            outputs.append(y)
        return torch.cat(outputs, 1), state

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
