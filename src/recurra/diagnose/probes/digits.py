"""Sequential digits: handwritten digits of 8 x 8 pixels, read pixel by pixel (after Le et al. 2015)."""

from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Self

import torch
from torch import Tensor

from recurra.diagnose.probes.base import PARTS, Batch, Part, Probe, asked_at_the_end
from recurra.errors import ConfigError, DataError

__all__ = ["Digits"]

PIXELS = 64
SHARES = {"train": (0, 1197), "valid": (1197, 1497), "test": (1497, 1797)}


@cache
def _pictures() -> tuple[Tensor, Tensor]:
    """All 1,797 pictures ``(N, 64)`` between 0 and 1 and their digits ``(N,)``, in a fixed random order."""
    try:
        data = import_module("sklearn.datasets").load_digits()
    except ImportError as error:
        raise DataError(
            "digits: the pictures come with scikit-learn, which is not installed; pip install 'recurra[bench]'"
        ) from error
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    pictures = torch.as_tensor(data.data, dtype=torch.float32) / 16
    return pictures[order], torch.as_tensor(data.target, dtype=torch.int64)[order]


@dataclass(frozen=True)
class Digits(Probe):
    """Read a handwritten digit of 8 x 8 pixels line by line, one pixel a step, and name it at the end.

        x_t = pixel t in [0, 1],  t = 1 .. 64            y_64 = the digit

    The small sister of pixel-by-pixel MNIST (Le et al. 2015), from the 1,797 pictures that come with scikit-learn
    (Alpaydin and Kaynak 1998): 1,197 to train, 300 to validate, 300 to test, divided once and for all. A batch
    takes each picture once before any comes again. Raises DataError if scikit-learn is not installed.
    """

    name = "digits"
    features = 1
    tokens = 0
    classes = 10
    solved = 0.95
    of: Part = "train"

    def __post_init__(self) -> None:
        if self.of not in PARTS:
            raise ConfigError(f"digits: expected of to be one of {', '.join(PARTS)}, got {self.of!r}")

    @property
    def rows(self) -> int:  # type: ignore[override]
        """How many pictures this part has."""
        first, end = SHARES[self.of]
        return end - first

    def part(self, name: Part) -> Self:
        return replace(self, of=name)

    def shortest(self) -> int:
        return PIXELS

    def check_length(self, length: int) -> None:
        super().check_length(length)
        if length != PIXELS:
            raise ConfigError(f"digits: a picture has {PIXELS} pixels, one a step; got length {length}")

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        pictures, digits = (everything[slice(*SHARES[self.of])] for everything in _pictures())
        rounds = -(-size // self.rows)
        order = torch.cat([torch.randperm(self.rows, generator=generator) for _ in range(rounds)])[:size]
        targets = digits[order, None].expand(size, length)
        asked = asked_at_the_end(size, length, 1)
        return Batch(pictures[order, :, None], targets, asked, asked)
