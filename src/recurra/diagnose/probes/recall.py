"""Multi-query associative recall (Arora et al. 2023, "Zoology")."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.diagnose.probes.base import Batch, Probe, whole_number
from recurra.errors import ConfigError

__all__ = ["Recall"]


@dataclass(frozen=True)
class Recall(Probe):
    """Read pairs of key and value, then answer each key with its value (Arora et al. 2023).

        k_1 v_1 k_2 v_2 ... k_n v_n   blank k_2 blank blank k_n k_1 ...      n = pairs, T = ``length``
        asked:                              v_2             v_n v_1

    Every key is asked once, after gaps that follow a power law with exponent ``power - 1``, so most come early, as
    in the paper. Keys of a row are different; values may repeat. Token 0 is the blank, then keys, then values.
    Deviation: the paper draws keys and values from 8,192 tokens and fills gaps with random tokens; here there are
    ``keys`` and ``values`` of them, and gaps are blank, so that the probe asks for memory and not for vocabulary.
    """

    name = "recall"
    pairs: int = 8
    keys: int = 128
    values: int = 128
    power: float = 0.01

    def __post_init__(self) -> None:
        whole_number("recall: pairs", self.pairs, 1)
        whole_number("recall: keys", self.keys, 1)
        whole_number("recall: values", self.values, 2)
        if self.pairs > self.keys:
            raise ConfigError(
                f"recall: {self.pairs} pairs need as many different keys, got keys={self.keys}; "
                f"set keys to {self.pairs} or more"
            )
        if not self.power > 0:
            raise ConfigError(f"recall: expected power > 0, got {self.power}")

    @property
    def tokens(self) -> int:
        return 1 + self.keys + self.values

    @property
    def classes(self) -> int:
        return self.values

    def shortest(self) -> int:
        return 3 * self.pairs

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        keys = torch.rand(size, self.keys, generator=generator).argsort(1)[:, : self.pairs]
        values = torch.randint(self.values, keys.shape, generator=generator)
        inputs = torch.zeros(size, length, dtype=torch.int64)
        inputs[:, 0 : 2 * self.pairs : 2] = keys + 1
        inputs[:, 1 : 2 * self.pairs : 2] = values + 1 + self.keys
        places = 2 * self.pairs + self._gaps(size, length - 2 * self.pairs, generator)
        inputs.scatter_(1, places, keys + 1)
        targets = torch.zeros_like(inputs).scatter_(1, places, values)
        asked = torch.zeros(size, length, dtype=torch.bool).scatter_(1, places, True)
        return Batch(inputs, targets, asked, asked)

    def _gaps(self, size: int, room: int, generator: torch.Generator) -> Tensor:
        """``(B, pairs)`` different places in ``room`` steps, the i-th of them for the i-th key."""
        likely = torch.arange(1, room + 1, dtype=torch.float64) ** (self.power - 1)
        return torch.multinomial(likely.expand(size, room), self.pairs, generator=generator)
