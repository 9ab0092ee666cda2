"""The copy task (Hochreiter and Schmidhuber 1997), in the form of Arjovsky et al. 2016."""

from dataclasses import dataclass

import torch

from recurra.diagnose.probes.base import Batch, Probe, asked_at_the_end, whole_number

__all__ = ["Copy"]


@dataclass(frozen=True)
class Copy(Probe):
    """Read a list of symbols, wait, and say the list when asked (Arjovsky et al. 2016).

        s_1 .. s_n   blank ... blank   go   blank ... blank         n = symbols, T = ``length``
        asked:                              s_1   ...   s_n         from the step of "go" on

    Token 0 is the blank, 1 is "go", the rest are the alphabet. The silence grows with the length; what must be
    kept does not. Deviation: the paper also scores the blanks, which are easy; here only the list counts.
    """

    name = "copy"
    symbols: int = 10
    alphabet: int = 8

    def __post_init__(self) -> None:
        whole_number("copy: symbols", self.symbols, 1)
        whole_number("copy: alphabet", self.alphabet, 2)

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
        inputs = torch.zeros(size, length, dtype=torch.int64)
        inputs[:, :count] = said + 2
        inputs[:, length - count] = 1
        targets = torch.zeros_like(inputs)
        targets[:, length - count :] = said
        asked = asked_at_the_end(size, length, count)
        return Batch(inputs, targets, asked, asked)
