"""Batches of whole rows of different lengths, such as sentences, recordings or pieces of music."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from recurra.errors import ConfigError

__all__ = ["Collate", "RowBatches"]

Collate = Callable[[list[Any], torch.Generator], Any]  # rows, random numbers -> a batch: tensors in a named tuple


@dataclass(frozen=True)
class RowBatches:
    """Batches of whole rows, which `collate` puts side by side.

    rows      what there is, any sequence
    lengths   steps of each row, by which rows are put together
    collate   makes a batch of some rows; its random numbers are the same for the same epoch and batch
    batch     rows in a batch; or with unit "steps", steps with the padding: rows times the longest of them
    shuffled  another order each epoch; else the shortest first, where there is least padding
    pool      shuffled rows are sorted by length among so many batches: less padding; 1: not sorted. With unit
              "steps" among so many batches of rows of average length

    A row longer than ``batch`` steps is a batch of its own.
    """

    rows: Sequence[Any]
    lengths: Sequence[int]
    collate: Collate
    batch: int
    unit: Literal["rows", "steps"] = "rows"
    shuffled: bool = False
    pool: int = 1
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.lengths):
            raise ConfigError(f"batches: expected a length for each row, got {len(self.lengths)}, {len(self.rows)}")
        if self.batch < 1 or self.pool < 1:
            raise ConfigError(f"batches: expected batch and pool >= 1, got {self.batch} and {self.pool}")

    def shard(self, rank: int, world: int) -> "RowBatches":
        """The rows of process ``rank`` of ``world`` in every batch."""
        if len(self.rows) < world or (self.unit == "rows" and self.batch % world):
            raise ConfigError(
                f"batch: expected a multiple of the {world} processes and as many rows, got {self.batch}, "
                f"{len(self.rows)} rows"
            )
        return replace(self, rank=rank, world=world)

    def epoch(self, number: int) -> Sequence[Any]:
        """All batches of one pass, made when they are asked for; the same for the same number."""
        random = torch.Generator().manual_seed(number)
        groups = self._groups(self._order(random))
        if self.shuffled:
            groups = [groups[i] for i in torch.randperm(len(groups), generator=random).tolist()]
        # Processes go in step, so a batch with fewer rows than processes is left out.
        return _Pass(self, [group for group in groups if len(group) >= self.world], number)

    def _order(self, random: torch.Generator) -> list[int]:
        lengths = torch.tensor(self.lengths, dtype=torch.long)
        if not self.shuffled:
            return lengths.argsort(stable=True).tolist()
        order = torch.randperm(len(lengths), generator=random)
        if self.pool == 1 and self.unit == "rows":
            return order.tolist()
        rows = self.batch / max(1.0, float(lengths.double().mean())) if self.unit == "steps" else self.batch
        pools = order.split(max(1, int(rows * self.pool)))
        return [i for pool in pools for i in pool[lengths[pool].argsort(stable=True)].tolist()]

    def _groups(self, order: list[int]) -> list[list[int]]:
        if self.unit == "rows":
            return [order[i : i + self.batch] for i in range(0, len(order), self.batch)]
        groups: list[list[int]] = []
        longest = 0
        for row in order:
            longest = max(longest, self.lengths[row])
            if groups and longest * (len(groups[-1]) + 1) <= self.batch:
                groups[-1].append(row)
            else:
                groups.append([row])
                longest = self.lengths[row]
        return groups


@dataclass(frozen=True)
class _Pass(Sequence[Any]):
    source: RowBatches
    groups: list[list[int]]
    number: int

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        source = self.source
        chosen = self.groups[index][source.rank :: source.world]
        seed = (self.number * 1_000_003 + index) * 1_009 + source.rank  # a generator reads its low 32 bits only
        random = torch.Generator().manual_seed(seed)
        return source.collate([source.rows[i] for i in chosen], random)
