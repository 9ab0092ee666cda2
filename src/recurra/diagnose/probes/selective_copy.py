"""Selective copying (Gu and Dao 2023)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.diagnose.probes.list_probe import ListProbe

__all__ = ["SelectiveCopy"]


@dataclass(frozen=True)
class SelectiveCopy(ListProbe):
    """Pick symbols from random places between blanks, and say them in order when asked (Gu and Dao 2023).

        blank s_1 blank blank s_2 ... s_n blank   go go ... go       n = symbols, T = ``length``
        asked:                                    s_1  ...  s_n

    The gaps are random, so a fixed delay does not do: the network has to see what it reads and leave blanks out.
    The paper's size is 16 symbols of 16 in 4,096 steps.
    """

    name = "selective_copy"
    symbols: int = 16
    alphabet: int = 16

    def show(self, inputs: Tensor, said: Tensor, generator: torch.Generator) -> None:
        size, rest = inputs.shape[0], inputs.shape[1] - self.symbols
        order = torch.rand(size, rest, generator=generator).argsort(1)
        inputs.scatter_(1, order[:, : self.symbols].sort(1).values, said)
        inputs[:, rest:] = 1
