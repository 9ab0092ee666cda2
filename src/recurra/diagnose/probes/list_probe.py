"""What both copying tasks share: a list of symbols is read, and said when it is asked for at the end."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.diagnose.probes.base import Batch, Probe, asked_at_the_end, whole_number

__all__ = ["ListProbe"]


@dataclass(frozen=True)
class ListProbe(Probe):
    """A list of ``symbols`` from an ``alphabet``; token 0 is the blank, 1 is "go", the rest are the alphabet."""

    symbols: int = 10
    alphabet: int = 8

    def __post_init__(self) -> None:
        whole_number(f"{self.name}: symbols", self.symbols, 1)
        whole_number(f"{self.name}: alphabet", self.alphabet, 2)

    @property
    def tokens(self) -> int:
        return self.alphabet + 2

    @property
    def classes(self) -> int:
        return self.alphabet

    def shortest(self) -> int:
        return 2 * self.symbols

    @abstractmethod
    def show(self, inputs: Tensor, said: Tensor, generator: torch.Generator) -> None:
        """Write the list ``said (B, n)`` and the sign to begin into ``inputs (B, T)``, which are blanks."""

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        said = torch.randint(self.alphabet, (size, self.symbols), generator=generator)
        inputs = torch.zeros(size, length, dtype=torch.int64)
        self.show(inputs, said + 2, generator)
        targets = torch.zeros_like(inputs)
        targets[:, length - self.symbols :] = said
        asked = asked_at_the_end(size, length, self.symbols)
        return Batch(inputs, targets, asked, asked)
