"""Parity: the smallest task of state tracking (Delétang et al. 2022; Grazzi et al. 2024)."""

from dataclasses import dataclass

import torch

from recurra.diagnose.probes.base import Batch, Probe, second_half

__all__ = ["Parity"]


@dataclass(frozen=True)
class Parity(Probe):
    """Say after each bit whether the number of ones so far is odd (Delétang et al. 2022; Grazzi et al. 2024).

        y_t = (x_1 + ... + x_t) mod 2

    One bit of memory, but every one of the inputs turns it. A linear recurrence whose eigenvalues are positive
    cannot do it at any length (Sarrof et al. 2024; Grazzi et al. 2024), an LSTM goes on far past the lengths of
    training. Every step is asked; the second half of the steps is measured, since the first few are easy.
    """

    name = "parity"
    tokens = 2
    classes = 2

    def shortest(self) -> int:
        return 1

    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        bits = torch.randint(2, (size, length), generator=generator)
        asked = torch.ones(size, length, dtype=torch.bool)
        return Batch(bits, bits.cumsum(1) % 2, asked, second_half(asked))
