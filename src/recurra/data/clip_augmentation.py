"""Clips that could have been: other pieces, sides, colours and speeds, the same for all frames of a clip.

Each takes frames ``(T, C, M, N)`` uint8 and a generator of random numbers, and gives new frames of the same kind.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from recurra.data.augmentation import between
from recurra.errors import ConfigError

__all__ = ["Colour", "Crop", "Flip", "Speed"]

GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)


@dataclass(frozen=True)
class Crop:
    """A piece of the picture, made as large as the whole.

    least  share of each side that a piece has at least; the place is drawn too
    """

    least: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise ConfigError(f"crop: expected a share of the sides above 0 and up to 1, got {self.least}")

    def __call__(self, frames: Tensor, random: torch.Generator) -> Tensor:
        """The frames, each cut in the same way."""
        height, width = frames.shape[2:]
        share = between(self.least, 1.0, random)
        rows, columns = max(1, round(share * height)), max(1, round(share * width))
        top = int(torch.randint(height - rows + 1, (), generator=random))
        left = int(torch.randint(width - columns + 1, (), generator=random))
        piece = frames[:, :, top : top + rows, left : left + columns]
        if piece.shape == frames.shape:
            return frames
        return interpolate(piece.float(), (height, width), mode="bilinear").round().clamp(0, 255).byte()


@dataclass(frozen=True)
class Flip:
    """Left and right changed, now and then. Not for actions that differ in their side, such as turning left.

    chance  of a clip to be flipped
    """

    chance: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1:
            raise ConfigError(f"flip: expected a chance from 0 to 1, got {self.chance}")

    def __call__(self, frames: Tensor, random: torch.Generator) -> Tensor:
        """The frames, all flipped or none."""
        return frames.flip(3) if float(torch.rand((), generator=random)) < self.chance else frames


@dataclass(frozen=True)
class Colour:
    """Other light.

        x' = contrast (saturation x + (1 - saturation) grey(x) - mean) + mean + 255 brightness

    Each is drawn evenly: brightness from -b to b, contrast from 1 - c to 1 + c, saturation from 1 - s to 1 + s. The
    mean is that of the clip; what leaves 0 to 255 is cut off.
    """

    brightness: float = 0.15
    contrast: float = 0.2
    saturation: float = 0.3

    def __post_init__(self) -> None:
        if min(self.brightness, self.contrast, self.saturation) < 0 or max(self.contrast, self.saturation) > 1:
            raise ConfigError(f"colour: expected numbers from 0 on, contrast and saturation up to 1, got {self}")

    def __call__(self, frames: Tensor, random: torch.Generator) -> Tensor:
        """The frames in one other light."""
        brightness = between(-self.brightness, self.brightness, random)
        contrast = between(1 - self.contrast, 1 + self.contrast, random)
        saturation = between(1 - self.saturation, 1 + self.saturation, random)
        x = frames.float()
        if frames.shape[1] == 3:
            grey = (x * x.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
            x = saturation * x + (1 - saturation) * grey
        mean = x.mean()
        return (contrast * (x - mean) + mean + 255 * brightness).round().clamp(0, 255).byte()


@dataclass(frozen=True)
class Speed:
    """Time jitter: faster and slower, from a drawn beginning on.

        frame t'  is frame  floor(begin + speed t)      as long as there is one, at most T of them

    least, most  the speed is drawn evenly between them; above 1 there are fewer frames, below 1 some come twice
    """

    least: float = 0.8
    most: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.most:
            raise ConfigError(f"speed: expected 0 < least <= most, got {self.least} and {self.most}")

    def __call__(self, frames: Tensor, random: torch.Generator) -> Tensor:
        """Some of the frames."""
        speed, total = between(self.least, self.most, random), len(frames)
        begin = between(0, max(0.0, total * (1 - speed)), random)
        places = (begin + speed * torch.arange(total, dtype=torch.float64)).long()
        return frames[places[places < total]]
