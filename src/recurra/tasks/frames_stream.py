"""Frames that are predicted while they come: push one, get the next."""

import torch
from torch import Tensor

from recurra.errors import DataError
from recurra.tasks.frames_network import FrameNetwork, Seen

__all__ = ["FrameStream", "as_bytes", "as_values"]


class FrameStream:
    """A watcher of one film with a memory of fixed size.

        stream = predictor.stream()
        after = stream.push(frame)             (C, M, N) uint8 -> what comes next, (C, M, N) uint8
        later = stream.ahead(10)               (10, C, M, N), from 0 to 1

    It has read all frames since it began, and says what reading them at once would say. Push frames as
    `read_frames` gives them with the predictor's own size and colours.

    seen  frames so far
    """

    def __init__(self, network: FrameNetwork) -> None:
        self.network, self.seen = network, 0
        self.known: Seen | None = None

    @torch.no_grad()
    def push(self, frame: Tensor) -> Tensor:
        """See one more frame; return the one that may come next. Raises DataError for a frame of another shape."""
        if not isinstance(frame, Tensor) or frame.shape != self.network.shape or frame.dtype != torch.uint8:
            got = f"{tuple(frame.shape)} {frame.dtype}" if isinstance(frame, Tensor) else type(frame).__name__
            raise DataError(f"push: expected a frame {self.network.shape} uint8, got {got}")
        _, self.known = self.network.read(as_values(frame)[None, None], self.known)
        self.seen += 1
        return as_bytes(self.ahead(1)[0])

    @torch.no_grad()
    def ahead(self, count: int) -> Tensor:
        """The next ``count`` frames ``(count, C, M, N)``, from 0 to 1, as they look from here."""
        if self.known is None:
            raise DataError("ahead: nothing was seen yet; push a frame first")
        if count < 1:
            raise DataError(f"ahead: expected at least one frame, got {count}")
        return self.network.ahead(self.known, count)[0].clamp(0, 1)


def as_values(frames: Tensor) -> Tensor:
    """Frames uint8 as numbers from 0 to 1."""
    return frames.float() / 255


def as_bytes(frames: Tensor) -> Tensor:
    """Frames from 0 to 1 as uint8."""
    return (frames.clamp(0, 1) * 255).round().byte()
