"""How a training row is made of recordings: joined with near silence between, faster, louder, noisier, hidden."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.data.audio import Sound
from recurra.data.augmentation import Noise, SpecAugment, Speed, between
from recurra.tasks.speech_config import SpeechAugment

__all__ = ["Disturbance"]

QUIET = (1e-4, 3e-3)  # of full scale: how loud the noise of near silence is


class Disturbance:
    """The random changes of one batch.

    config  how strong they are
    rate    samples a second
    random  all that is random comes from here
    """

    def __init__(self, config: SpeechAugment, rate: int, random: torch.Generator) -> None:
        self.config, self.rate, self.random = config, rate, random
        self.speed = Speed(1 - config.speed, 1 + config.speed)
        low, high = config.snr
        self.noise = Noise(low, high)
        self.masks = SpecAugment(config.bands, config.band, config.stretches, config.stretch)

    def one(self, samples: Tensor) -> Tensor:
        """One recording, at another speed and loudness."""
        if self.config.speed:
            samples = self.speed(Sound(samples, self.rate), self.random).samples
        if self.config.loudness:
            samples = samples * 10 ** (between(-self.config.loudness, self.config.loudness, self.random) / 20)
        return samples

    def join(self, recordings: Sequence[Tensor]) -> Tensor:
        """Recordings one after the other, with gaps between and around them, and noise.

        There is always a moment of silence before the first. Without it a causal network learns by CTC to guess the
        first token at its first step, from the little that it hears there, and rarely leaves that habit.
        """
        pieces = [self._silence(between(0, self.config.gap, self.random))]
        for samples in recordings:
            pieces += [samples, self._gap()]
        samples = torch.cat(pieces)
        if self.config.noise and between(0, 1, self.random) < self.config.noise:
            samples = self.noise(Sound(samples, self.rate), self.random).samples
        return samples

    def _gap(self) -> Tensor:
        """Near silence: the hiss that every microphone hears. Half of the time there is no gap."""
        return self._silence(max(0.0, between(-self.config.gap, self.config.gap, self.random)))

    def _silence(self, seconds: float) -> Tensor:
        low, high = QUIET
        loud = low * (high / low) ** between(0, 1, self.random)
        return loud * torch.randn(round(seconds * self.rate), generator=self.random)

    def hide(self, frames: Tensor) -> Tensor:
        """Frames ``(T, F)`` with bands and stretches hidden."""
        return self.masks(frames, self.random) if len(frames) else frames
