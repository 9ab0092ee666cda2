"""Layers that bring pictures to a memory: what changed since the frame before, frames one by one, maps as numbers.

They keep the protocol of every layer, so a network that reads films is one `recurra.Stack`, and streams.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.layers import Recurrent

__all__ = ["Changes", "FrameEncoder", "Framewise", "Places"]


class Changes(Recurrent):
    """What changed since the frame before: a background that stands still disappears, whatever it is.

        y_t = x_t - x_{t-1}                       gives = "changes"; 0 at the first frame
        y_t = [x_t, x_t - x_{t-1}]                gives = "both"

    shape  (C, M, N) of a frame. The state is the last frame, and whether there was one.
    """

    skips_padding = True

    def __init__(self, shape: Sequence[int], gives: Literal["changes", "both"] = "both") -> None:
        super().__init__()
        channels, *space = shape
        self.gives, self.input_shape = gives, tuple(shape)
        self.output_shape = (channels * (2 if gives == "both" else 1), *space)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = torch.empty(0) if like is None else like
        assert self.input_shape is not None
        return tree.State(last=like.new_zeros(batch, *self.input_shape), seen=like.new_zeros(batch))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        y = self._given(x, x - self._before(x, state), 1)
        return y, tree.State(last=x, seen=torch.ones_like(state.seen))

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        x = ragged.blank(x, lengths)
        if not x.shape[1]:
            return self._given(x, x, 2), state
        before = torch.cat([self._before(x[:, 0], state)[:, None], x[:, :-1]], 1)
        y = ragged.blank(self._given(x, x - before, 2), lengths)
        steps = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        seen = torch.where((steps > 0).to(x.device), torch.ones_like(state.seen), state.seen)
        return y, tree.State(last=ragged.last(x, steps, state.last), seen=seen)

    def _before(self, x: Tensor, state: Any) -> Tensor:
        """The frame before ``x (B, C, M, N)``; x itself where there was none."""
        return torch.where(state.seen[:, None, None, None] > 0, state.last, x)

    def _given(self, x: Tensor, changes: Tensor, channels: int) -> Tensor:
        return torch.cat([x, changes], channels) if self.gives == "both" else changes

    def extra_repr(self) -> str:
        return f"{self.input_shape}, gives={self.gives!r}"


class Framewise(Recurrent):
    """A module that reads every frame by itself; a layer without memory, its state is ``()``.

        y_t = module(x_t)            module (N, *shape) -> (N, *G)

    Frames in the padding are not read at all. Raises ConfigError if the module cannot read such frames.
    """

    skips_padding = True

    def __init__(self, module: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.module, self.input_shape = module, tuple(shape)
        training = module.training
        try:
            with torch.no_grad():
                self.output_shape = tuple(module.eval()(torch.zeros(1, *shape))[0].shape)
        except Exception as error:  # a module of anybody's
            raise ConfigError(
                f"the encoder cannot read frames {tuple(shape)}: {type(error).__name__} {error}"
            ) from error
        module.train(training)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return ()

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.module(x), ()

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        batch, time = x.shape[:2]
        assert self.output_shape is not None
        if lengths is None or bool((lengths == time).all()):
            found = self.module(x.flatten(0, 1)) if batch * time else x.new_zeros(0, *self.output_shape)
            return found.unflatten(0, (batch, time)), ()
        valid = ragged.mask(lengths, time, x.device)
        if not valid.any():
            return x.new_zeros(batch, time, *self.output_shape), ()
        found = self.module(x[valid])
        return found.new_zeros(batch, time, *self.output_shape).index_put((valid,), found), ()


class Places(Recurrent):
    """Maps as numbers: the mean and the highest value of each map over its places; no memory, its state is ``()``.

    y_t = [mean x_t, max x_t]            x (B, T, C, M, N) -> y (B, T, 2 C)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.input_shape, self.output_shape = tuple(shape), (2 * shape[0],)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return ()

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return torch.cat([x.mean((-2, -1)), x.amax((-2, -1))], -1), ()

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return self.step(x)


class FrameEncoder(nn.Sequential):
    """A small convolutional network over single frames; each convolution halves rows and columns.

        m_0 = x        m_i = relu(norm(K_i * m_{i-1}))        y = relu(W m_n + b)

    K_1 is 5 x 5, others are 3 x 3, with stride 2. The norm is that of groups of maps (Wu and He 2018), which sees
    one frame only, so that a frame means the same in any company.

    shape     (C, M, N) of a frame
    widths    maps of each convolution
    features  numbers in y; 0: there is no W, and y is m_n

    Shapes: x ``(N, C, M, N)`` -> y ``(N, features)``, or ``(N, widths[-1], m, n)``.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int], features: int) -> None:
        channels, *space = shape
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            kernel = 3 if number else 5
            layers += [
                nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.GroupNorm(math.gcd(8, width), width),
                nn.ReLU(),
            ]
            channels, space = width, [(size + 1) // 2 for size in space]
        if features:
            layers += [nn.Flatten(), nn.Linear(channels * math.prod(space), features), nn.ReLU()]
        super().__init__(*layers)
