"""Sounds that could have been: other speeds, noise, gaps in the spectrum, each drawn from a given generator."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.data.audio import Sound, resample
from recurra.errors import ConfigError

__all__ = ["Noise", "SpecAugment", "Speed", "between"]


@dataclass(frozen=True)
class SpecAugment:
    """Bands and stretches of features hidden (Park et al. 2019), without the paper's warping, which gains little.

        band     f of the F features, f in 0 ... `width`, in every frame          `bands` times
        stretch  t of the T frames, t in 0 ... min(`steps`, `share` T)            `stretches` times

    What is hidden becomes the feature's mean over the sound, which is 0 where features are normalised.
    """

    bands: int = 2
    width: int = 8
    stretches: int = 2
    steps: int = 20
    share: float = 0.2

    def __post_init__(self) -> None:
        if min(self.bands, self.width, self.stretches, self.steps) < 0 or not 0 <= self.share <= 1:
            raise ConfigError(f"expected numbers from 0 on and a share from 0 to 1, got {self}")

    def __call__(self, features: Tensor, random: torch.Generator) -> Tensor:
        """A copy of ``features (T, F)`` with gaps."""
        time, size = features.shape
        hidden = torch.zeros(time, size, dtype=torch.bool)
        for _ in range(self.bands):
            hidden[:, _stretch(size, self.width, random)] = True
        for _ in range(self.stretches):
            hidden[_stretch(time, min(self.steps, int(self.share * time)), random)] = True
        return torch.where(hidden, features.mean(0), features)


def _stretch(total: int, longest: int, random: torch.Generator) -> slice:
    """A place for at most ``longest`` of ``total``."""
    length = int(torch.randint(min(longest, total) + 1, (), generator=random))
    begin = int(torch.randint(total - length + 1, (), generator=random))
    return slice(begin, begin + length)


@dataclass(frozen=True)
class Speed:
    """Faster and slower speech (Ko et al. 2015): resampled, so the pitch goes with it.

    least, most  the factor is drawn evenly between them
    """

    least: float = 0.9
    most: float = 1.1

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise ConfigError(f"speed: expected 0 < least <= most, got {self.least} and {self.most}")

    def __call__(self, sound: Sound, random: torch.Generator) -> Sound:
        """The sound at another speed, ``N / factor`` samples at the same rate."""
        factor = between(self.least, self.most, random)
        return Sound(resample(sound, max(1, round(sound.rate / factor))).samples, sound.rate)


@dataclass(frozen=True)
class Noise:
    """Noise under a sound, so many decibels below it on average.

    least, most  the signal to noise ratio in decibels is drawn evenly between them
    recordings   of noise, one of which is drawn, from a drawn place on, and repeated where it is too short; without
                 any, hiss whose power falls with the frequency f as f ** -c, c drawn from 0 (white) to 2 (rumble)
    """

    least: float = 10.0
    most: float = 30.0
    recordings: tuple[Sound, ...] = ()

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ConfigError(f"noise: expected least <= most, got {self.least} and {self.most} decibels")
        if any(not len(noise.samples) for noise in self.recordings):
            raise ConfigError("noise: a recording has no samples")

    def __call__(self, sound: Sound, random: torch.Generator) -> Sound:
        """The sound with noise. Raises ConfigError if the noise has another rate."""
        if not len(sound.samples):
            return sound
        noise = self._recorded(sound, random) if self.recordings else _hiss(len(sound.samples), random)
        decibels = between(self.least, self.most, random)
        wanted = _loudness(sound.samples) * 10 ** (-decibels / 20)
        return Sound(sound.samples + noise * (wanted / max(_loudness(noise), 1e-9)), sound.rate)

    def _recorded(self, sound: Sound, random: torch.Generator) -> Tensor:
        noise = self.recordings[int(torch.randint(len(self.recordings), (), generator=random))]
        if noise.rate != sound.rate:
            raise ConfigError(f"noise: expected {sound.rate} samples per second, got {noise.rate}; use resample")
        begin, total = int(torch.randint(len(noise.samples), (), generator=random)), len(sound.samples)
        return noise.samples.roll(-begin).repeat(math.ceil(total / len(noise.samples)))[:total]


def _hiss(total: int, random: torch.Generator) -> Tensor:
    slope = between(0, 2, random)
    spectrum = torch.fft.rfft(torch.randn(total, generator=random))
    frequency = torch.arange(len(spectrum)).clamp_min(1).float()
    return torch.fft.irfft(spectrum * frequency.pow(-slope / 2), total)


def _loudness(samples: Tensor) -> float:
    return float(samples.square().mean().sqrt())


def between(least: float, most: float, random: torch.Generator) -> float:
    """A number drawn evenly between two."""
    return least + (most - least) * float(torch.rand((), generator=random))
