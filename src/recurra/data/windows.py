"""One long sequence as batches for truncated backpropagation: rows side by side, windows one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError

__all__ = ["Window", "Windows"]


class Window(NamedTuple):
    """Inputs and the tokens that follow them, both ``(B, T)``."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Windows:
    """A sequence ``tokens (N,)`` cut into B rows, read in windows of T steps: a row goes on in the next window.

    In training (``shifted``) each epoch begins up to T - 1 tokens later, so that windows end elsewhere each time;
    else every token but the first is predicted exactly once.
    """

    tokens: Tensor
    batch: int
    window: int
    shifted: bool = False
    characters: int = 0  # of the text that the tokens were made of, without the first token's
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        need = self.batch * 2 if not self.shifted else self.batch * (self.window + 1)
        if len(self.tokens) < need:
            raise DataError(
                f"the text has {len(self.tokens)} tokens, too short for {self.batch} rows of {self.window} steps; "
                f"expected at least {need}: give more text, or a smaller batch or window"
            )

    def shard(self, rank: int, world: int) -> "Windows":
        """The rows of process ``rank`` of ``world``."""
        if self.batch % world:
            raise ConfigError(f"batch: expected a multiple of the {world} processes, got {self.batch}")
        return replace(self, rank=rank, world=world)

    def epoch(self, number: int) -> Sequence[Window]:
        """All windows of one pass, in order; the same for the same number."""
        start = (number * 7919) % self.window if self.shifted else 0
        length = -(-(len(self.tokens) - 1) // self.batch)
        if self.shifted:
            start = min(start, len(self.tokens) - self.batch * (self.window + 1))
            length = (len(self.tokens) - 1 - start) // self.batch
        return _Pass(self, start, length)


@dataclass(frozen=True)
class _Pass(Sequence[Window]):
    windows: Windows
    start: int
    length: int  # tokens a row

    def __len__(self) -> int:
        whole = self.length // self.windows.window
        return whole if self.windows.shifted else -(-self.length // self.windows.window)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < len(self):
            raise IndexError(index)
        begin = index * self.windows.window
        end = min(begin + self.windows.window, self.length)
        share = self.windows.batch // self.windows.world
        rows = self.windows.rank * share + torch.arange(share)[:, None]
        at = self.start + rows * self.length + torch.arange(begin, end)
        tokens, last = self.windows.tokens, len(self.windows.tokens) - 1
        y = tokens[(at + 1).clamp(max=last)]
        # The last row may run out of text before the others: -100 marks steps that have nothing to predict.
        return Window(tokens[at.clamp(max=last)], y.masked_fill(at + 1 > last, -100))
