"""Modular arithmetic without brackets (Delétang et al. 2022)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.diagnose.probes.base import Batch, Probe, second_half, whole_number

__all__ = ["ModularArithmetic"]


@dataclass(frozen=True)
class ModularArithmetic(Probe):
    """Say the value, modulo m, of an expression that grows by one operation at a time (Delétang et al. 2022).

        x = 3 + 2 * 4 - 1 ...          y after each number: the value of the expression so far, modulo ``modulus``

    Products bind closer than sums, so two numbers are to be kept: the value before the last term, and that term.
    Tokens below ``modulus`` are the numbers, the next three are + - *. Every number is asked, those in the second
    half of the steps are measured. In very short expressions 0 is somewhat likelier than 1 / ``modulus``, since
    products are.
    """

    name = "modular_arithmetic"
    modulus: int = 5

    def __post_init__(self) -> None:
        whole_number("modular_arithmetic: modulus", self.modulus, 2)

    @property
    def tokens(self) -> int:
        return self.modulus + 3

    @property
    def classes(self) -> int:
        return self.modulus

    def shortest(self) -> int:
        return 3  # fewer have no number in the second half

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        inputs = torch.randint(self.modulus, (size, length), generator=generator)
        signs = torch.randint(3, (size, length), generator=generator)
        inputs[:, 1::2] = self.modulus + signs[:, 1::2]
        asked = torch.zeros(size, length, dtype=torch.bool)
        asked[:, 0::2] = True
        return Batch(inputs, self._values(inputs), asked, second_half(asked))

    def _values(self, inputs: Tensor) -> Tensor:
        """``(B, T)`` the value of the expression so far; it stays as it is at a sign."""
        before, term = torch.zeros_like(inputs[:, 0]), inputs[:, 0]
        values = [term]
        for t in range(1, inputs.shape[1]):
            if t % 2 == 0:
                number, sign = inputs[:, t], inputs[:, t - 1] - self.modulus
                times = sign == 2
                before = torch.where(times, before, before + term)
                term = torch.where(times, term * number, torch.where(sign == 1, -number, number)) % self.modulus
            values.append((before + term) % self.modulus)
        return torch.stack(values, 1)
