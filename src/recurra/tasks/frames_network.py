"""The network of a predictor of frames: patches of pixels as channels, a memory over maps, and frames out of it.

autoregressive   one memory reads frames, then its own predictions          (as Wang et al. 2017 test theirs)
forecaster       an encoder reads frames; a forecaster begins with its state and reads nothing  (Shi et al. 2015)
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_unshuffle

from recurra.layers import CONVOLUTIONAL, PredRNN, Recurrent
from recurra.tasks.frames_config import FramesNet
from recurra.tasks.frames_output import OUTPUTS

__all__ = ["FORMS", "Autoregressive", "Forecaster", "Foreseen", "FrameNetwork", "Memory", "Seen"]


class Seen(NamedTuple):
    """What a network knows after some frames.

    state  of its memory
    maps   (B, H, *places) what the memory says after the last frame
    frame  (B, C, M, N) the last frame, from 0 to 1
    """

    state: Any
    maps: Tensor
    frame: Tensor


class Foreseen(NamedTuple):
    """What a network predicts.

    frames  (B, Q, C, M, N) those that come after the known ones
    known   (B, F, C, M, N) the last F known frames, each from those before it: what a training may learn from too
    """

    frames: Tensor
    known: Tensor


class Memory(nn.Module):
    """Layers over maps, one above the other; all of them speak: y ``(B, T, maps, *places)``.

    So an output is one step away from each layer, which is then learned sooner. PredRNN is a stack of its own, of
    which the highest layer speaks.
    """

    def __init__(self, channels: int, config: FramesNet, space: tuple[int, int]) -> None:
        super().__init__()
        make, hidden, kernel = CONVOLUTIONAL[config.layer], config.hidden, config.kernel
        if make is PredRNN:
            layers: list[Recurrent] = [PredRNN(channels, hidden, kernel, space, config.depth)]
        else:
            sizes = [channels] + [hidden] * (config.depth - 1)
            layers = [make(size, hidden, kernel, space) for size in sizes]
        self.layers = nn.ModuleList(layers)
        self.maps = hidden * len(layers)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """x ``(B, T, channels, *places)`` and the state before give y and the state after."""
        said, after = [], []
        for layer, before in zip(self.layers, state or [None] * len(self.layers), strict=True):
            x, last = layer(x, before)
            said.append(x)
            after.append(last)
        return torch.cat(said, 2), tuple(after)


class FrameNetwork(nn.Module, ABC):
    """Frames in, frames that may come after them out.

        z_t      = patches of x_t and of x_t - x_{t-1} as channels         x_0 = x_1
        h_t, s_t = memory(z_t, s_{t-1})
        x'_{t+1} = output(h_t, x_t)                         one of `recurra.tasks.frames_output`

    What moved since the frame before is given, so the memory need not learn to keep frames to see it.

    shape  (C, M, N) of a frame. Where a side is no multiple of a patch, its last row or column is repeated up to
           the next one on the way in, and what is too much is cut off on the way out.
    """

    def __init__(self, config: FramesNet, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape, self.patch = shape, config.patch
        channels, height, width = shape
        self.places = (-(-height // config.patch), -(-width // config.patch))
        self.memory = Memory(2 * channels * config.patch**2, config, self.places)
        self.output = OUTPUTS[config.output](self.memory.maps, channels, config)

    def read(self, frames: Tensor, seen: Seen | None = None) -> tuple[Tensor, Seen]:
        """Frames ``(B, T, C, M, N)`` from 0 to 1, after those of ``seen``: maps of each, and what is known."""
        last = frames[:, :1] if seen is None else seen.frame[:, None]
        moved = frames - torch.cat([last, frames[:, :-1]], 1)
        both = torch.cat([self.patches(frames), self.patches(moved)], 2)
        y, state = self.memory(both, None if seen is None else seen.state)
        return y, Seen(state, y[:, -1], frames[:, -1])

    @abstractmethod
    def ahead(self, seen: Seen, count: int) -> Tensor:
        """The frames ``(B, count, C, M, N)`` that follow."""

    @abstractmethod
    def forward(self, known: Tensor, ahead: int, again: int = 0) -> Foreseen:
        """What follows frames ``(B, P, C, M, N)``, and the last ``again`` of them predicted, P - 1 at most; none of
        a network that says nothing while it reads."""

    def patches(self, frames: Tensor) -> Tensor:
        """Frames ``(B, T, C, M, N)`` as maps ``(B, T, C patch^2, *places)``."""
        height, width = (side * self.patch for side in self.places)
        flat = frames.flatten(0, 1)
        if (height, width) != flat.shape[2:]:
            flat = pad(flat, [0, width - flat.shape[3], 0, height - flat.shape[2]], mode="replicate")
        return pixel_unshuffle(flat, self.patch).unflatten(0, frames.shape[:2])

    def painted(self, maps: Tensor, frame: Tensor) -> Tensor:
        """The frame ``(n, C, M, N)`` after ``frame``, as what the memory says paints it."""
        height, width = (side * self.patch for side in self.places)
        rows, columns = frame.shape[2:]
        if (height, width) == (rows, columns):
            return self.output(maps, frame)
        wide = pad(frame, [0, width - columns, 0, height - rows], mode="replicate")
        return self.output(maps, wide)[:, :, :rows, :columns]


class Autoregressive(FrameNetwork):
    """One memory that reads frames, and then what it has predicted itself; it is trained so as well."""

    def ahead(self, seen: Seen, count: int) -> Tensor:
        frames = [self.painted(seen.maps, seen.frame)]
        while len(frames) < count:
            _, seen = self.read(frames[-1].clamp(0, 1)[:, None], seen)
            frames.append(self.painted(seen.maps, seen.frame))
        return torch.stack(frames, 1)

    def forward(self, known: Tensor, ahead: int, again: int = 0) -> Foreseen:
        y, seen = self.read(known)
        first = known.shape[1] - 1 - again
        maps, before = y[:, first:-1], known[:, first:-1]
        following = self.painted(maps.flatten(0, 1), before.flatten(0, 1)) if again else before.flatten(0, 1)
        return Foreseen(self.ahead(seen, ahead), following.unflatten(0, before.shape[:2]))


class Forecaster(FrameNetwork):
    """An encoder that reads frames, and a forecaster that begins with a copy of its state and reads nothing."""

    def __init__(self, config: FramesNet, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.forecaster = Memory(1, config, self.places)

    def ahead(self, seen: Seen, count: int) -> Tensor:
        nothing = seen.maps.new_zeros(len(seen.maps), count, 1, *self.places)
        y, _ = self.forecaster(nothing, seen.state)
        frames, frame = [], seen.frame
        for maps in y.unbind(1):
            frames.append(self.painted(maps, frame))
            frame = frames[-1].clamp(0, 1)
        return torch.stack(frames, 1)

    def forward(self, known: Tensor, ahead: int, again: int = 0) -> Foreseen:
        _, seen = self.read(known)
        return Foreseen(self.ahead(seen, ahead), known[:, :0])


FORMS: dict[str, type[FrameNetwork]] = {"autoregressive": Autoregressive, "forecaster": Forecaster}
