"""Digits that move in a frame and bounce off its sides, as in Moving MNIST (Srivastava et al. 2015).

    position(t) = fold(p + t v)   in each direction   fold(x) = x mod 2, or 2 - that where it is above 1
    v = SPEED (cos a, sin a)      p and the angle a drawn evenly; 0 is one side of the frame, 1 the other

The digits are scikit-learn's 1,797 of 8 x 8 pixels, made larger; a pixel of two digits has the brighter value.
Everything follows from a seed, so sequences need not be stored.
"""

import csv
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from recurra.data.splits import PARTS
from recurra.errors import ConfigError, DataError

__all__ = ["MovingDigits", "of_part", "read_digit_table"]

SPEED = 0.1  # of the free way, a frame
SHARE = 7 / 16  # of the frame's side that a digit takes, as 28 of 64 pixels
DARKEST = 16  # the largest value in the table
TENTHS = {"train": range(8), "valid": (8,), "test": (9,)}  # an image's number modulo 10 decides its part
SEEDS = {part: number for number, part in enumerate(PARTS)}


@dataclass(frozen=True)
class MovingDigits(Sequence[Tensor]):
    """Sequences ``(T, 1, M, M)`` uint8, made when they are asked for; the same for the same number and seed.

    images  (K, 8, 8) uint8, 0 to 16: the digits to draw from
    total   sequences
    seed    other seeds, other sequences
    frames  T
    size    M, pixels of a side
    digits  in a sequence, drawn with replacement
    """

    images: Tensor
    total: int
    seed: int = 0
    frames: int = 20
    size: int = 64
    digits: int = 2

    def __post_init__(self) -> None:
        if min(self.total, self.frames, self.digits) < 1 or self.size < 8 or not len(self.images):
            raise ConfigError(
                f"moving digits: expected images, at least one sequence, frame and digit, and a side of 8 pixels, "
                f"got {len(self.images)}, {self.total}, {self.frames}, {self.digits} and {self.size}"
            )

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self.total))]
        if not -self.total <= index < self.total:
            raise IndexError(f"sequence {index} of {self.total}")
        random = torch.Generator().manual_seed((self.seed * 1_000_003 + index % self.total) % 2**32)
        found = torch.zeros(self.frames, 1, self.size, self.size, dtype=torch.uint8)
        for _ in range(self.digits):
            self._draw(found, random)
        return found

    @cached_property
    def _large(self) -> Tensor:
        """The images (K, S, S) uint8, 0 to 255, as large as they are drawn."""
        side = max(1, round(SHARE * self.size))
        bright = self.images[:, None].float() * (255 / DARKEST)
        return interpolate(bright, (side, side), mode="bilinear").round().byte()[:, 0]

    def _draw(self, found: Tensor, random: torch.Generator) -> None:
        """Put one digit into every frame of ``found (T, 1, M, M)``."""
        digit = self._large[int(torch.randint(len(self.images), (), generator=random))]
        row, column, turn = torch.rand(3, generator=random, dtype=torch.float64).tolist()
        side, angle = len(digit), 2 * math.pi * turn
        for time, frame in enumerate(found[:, 0]):
            top = _place(row + time * SPEED * math.sin(angle), self.size - side)
            left = _place(column + time * SPEED * math.cos(angle), self.size - side)
            spot = frame[top : top + side, left : left + side]
            torch.maximum(spot, digit, out=spot)


def _place(way: float, free: int) -> int:
    """The pixel where a digit begins that has gone so far, in units of the free way, between two walls."""
    folded = way % 2
    return round(free * (2 - folded if folded > 1 else folded))


def read_digit_table(path: Path) -> Tensor:
    """Images ``(K, 8, 8)`` uint8 from a table, perhaps compressed: 64 numbers and the digit a row."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("ascii")
    rows = [[round(float(cell)) for cell in row[:64]] for row in csv.reader(text.splitlines())]
    if any(len(row) != 64 or not 0 <= min(row) <= max(row) <= DARKEST for row in rows):
        raise DataError(f"{path}: expected 64 numbers from 0 to {DARKEST} and the digit a row")
    return torch.tensor(rows, dtype=torch.uint8).view(-1, 8, 8)


def of_part(images: Tensor, part: str, count: int, seed: int = 0, frames: int = 20, size: int = 64) -> MovingDigits:
    """Sequences of a part: train, valid or test; no digit of one is in another, and they differ for one seed too.

    Raises ConfigError for another part.
    """
    if part not in TENTHS:
        raise ConfigError(f"part: expected one of {', '.join(PARTS)}, got {part!r}")
    chosen = [number for number in range(len(images)) if number % 10 in TENTHS[part]]
    return MovingDigits(images[chosen], count, 3 * seed + SEEDS[part], frames, size)
