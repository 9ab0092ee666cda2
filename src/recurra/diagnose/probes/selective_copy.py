"""Selective copying (Gu and Dao 2023)."""

from dataclasses import dataclass

import torch

from recurra.diagnose.probes.base import Batch, Probe, asked_at_the_end, whole_number

__all__ = ["SelectiveCopy"]


@dataclass(frozen=True)
class SelectiveCopy(Probe):
    """Pick symbols from random places between blanks, and say them in order when asked (Gu and Dao 2023).

        blank s_1 blank blank s_2 ... s_n blank   go go ... go       n = symbols, T = ``length``
        asked:                                    s_1  ...  s_n

    The gaps are random, so a fixed delay does not do: the network has to see what it reads and leave blanks out.
    Token 0 is the blank, 1 is "go", the rest are the alphabet. The paper's size is 16 symbols of 16 in 4,096 steps.
    """

    name = "selective_copy"
    symbols: int = 16
    alphabet: int = 16

    def __post_init__(self) -> None:
        whole_number("selective_copy: symbols", self.symbols, 1)
        whole_number("selective_copy: alphabet", self.alphabet, 2)

    @property
    def tokens(self) -> int:
        return self.alphabet + 2

    @property
    def classes(self) -> int:
        return self.alphabet

    def shortest(self) -> int:
        return 2 * self.symbols

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        count = self.symbols
        said = torch.randint(self.alphabet, (size, count), generator=generator)
        order = torch.rand(size, length - count, generator=generator).argsort(1)
        places = order[:, :count].sort(1).values
        inputs = torch.zeros(size, length, dtype=torch.int64)
        inputs.scatter_(1, places, said + 2)
        inputs[:, length - count :] = 1
        targets = torch.zeros_like(inputs)
        targets[:, length - count :] = said
        asked = asked_at_the_end(size, length, count)
        return Batch(inputs, targets, asked, asked)
