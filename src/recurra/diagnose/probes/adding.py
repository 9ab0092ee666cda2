"""The adding problem (Hochreiter and Schmidhuber 1997), in the form of Le et al. 2015."""

from dataclasses import dataclass

import torch

from recurra.diagnose.probes.base import Batch, Probe, asked_at_the_end

__all__ = ["Adding"]


@dataclass(frozen=True)
class Adding(Probe):
    """Add the two marked numbers; all others are noise (Hochreiter and Schmidhuber 1997; Le et al. 2015).

        x_t = (number, mark),  number uniform in [0, 1),  mark 1 at two places and else 0
        y_T = sum of number * mark

    One mark stands in each half, as in Arjovsky et al. 2016, so each row asks for memory over T/2 steps and more.
    Who always answers 1 has a mean squared error of 1/6, the variance of the sum of two uniform numbers.
    """

    name = "adding"
    features = 2
    tokens = 0
    classes = 0
    chance = 1 / 6
    solved = 0.01

    def shortest(self) -> int:
        return 2

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        numbers = torch.rand(size, length, generator=generator)
        half, rows = length // 2, torch.arange(size)
        marks = torch.zeros(size, length)
        marks[rows, torch.randint(half, (size,), generator=generator)] = 1
        marks[rows, torch.randint(half, length, (size,), generator=generator)] = 1
        sums = (numbers * marks).sum(1, keepdim=True).expand(size, length)
        asked = asked_at_the_end(size, length, 1)
        return Batch(torch.stack([numbers, marks], 2), sums, asked, asked)
