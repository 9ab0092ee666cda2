"""The copy task (Hochreiter and Schmidhuber 1997), in the form of Arjovsky et al. 2016."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.diagnose.probes.list_probe import ListProbe

__all__ = ["Copy"]


@dataclass(frozen=True)
class Copy(ListProbe):
    """Read a list of symbols, wait, and say the list when asked (Arjovsky et al. 2016).

        s_1 .. s_n   blank ... blank   go   blank ... blank         n = symbols, T = ``length``
        asked:                              s_1   ...   s_n         from the step of "go" on

    The silence grows with the length; what must be kept does not. Deviation: the paper also scores the blanks,
    which are easy; here only the list counts.
    """

    name = "copy"

    def show(self, inputs: Tensor, said: Tensor, generator: torch.Generator) -> None:
        inputs[:, : self.symbols] = said
        inputs[:, -self.symbols] = 1
