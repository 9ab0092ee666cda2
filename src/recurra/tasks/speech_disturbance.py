"""How a training row is made of recordings: joined with near silence between them, faster, louder, noisier, hidden."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.tasks.speech_config import SpeechAugment

__all__ = ["Disturbance"]

FLOOR = 1e-4  # of full scale: the noise of silence between joined recordings, at most ten times that


class Disturbance:
    """The random changes of one batch.

    config  how strong they are
    rate    samples a second
    random  all that is random comes from here
    """

    def __init__(self, config: SpeechAugment, rate: int, random: torch.Generator) -> None:
        self.config, self.rate, self.random = config, rate, random

    def _between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))

    def one(self, samples: Tensor) -> Tensor:
        """One recording."""
        return samples

    def join(self, recordings: Sequence[Tensor]) -> Tensor:
        """Recordings one after the other, gaps between and around them."""
        pieces = [self._gap()]
        for samples in recordings:
            pieces += [samples, self._gap()]
        return torch.cat(pieces)

    def _gap(self) -> Tensor:
        """Near silence, which a microphone always hears a little of; often there is no gap."""
        seconds = self._between(-self.config.gap, self.config.gap)
        loud = FLOOR * 10 ** self._between(0, 1)
        return loud * torch.randn(max(0, round(seconds * self.rate)), generator=self.random)

    def hide(self, frames: Tensor) -> Tensor:
        """Frames ``(T, F)`` with parts hidden."""
        return frames
