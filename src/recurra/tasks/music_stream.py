"""Music as it is played: frames go in one by one, and the distribution of the next one comes out."""

from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import ShapeError
from recurra.heads.notes import FrameDistribution

__all__ = ["MusicStream"]


class MusicStream:
    """A listener with a memory of fixed size, which always knows what may come next.

        stream = model.stream()
        stream.next.draw()              a first frame
        stream.push(frame)              -> the distribution of the frame after it

    next   the `FrameDistribution` of the frame to come
    state  the network's memory after all that it heard
    """

    def __init__(self, network: nn.Module, keys: int) -> None:
        self.network, self.keys = network.eval(), keys
        self.state: Any = None
        self.push(torch.zeros(keys))  # the silence before the first frame

    @torch.no_grad()
    def push(self, frame: Tensor) -> FrameDistribution:
        """Hear one frame ``(keys,)`` of 0 and 1; return the distribution of the next one."""
        if frame.shape != (self.keys,):
            raise ShapeError(f"push: expected one frame of shape ({self.keys},), got {tuple(frame.shape)}")
        like = next(self.network.parameters())
        h, self.state = self.network.step(frame.to(like)[None], self.state)  # type: ignore[operator]
        self.next = FrameDistribution(self.network.head, h[0])  # type: ignore[arg-type]
        return self.next
