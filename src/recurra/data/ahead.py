"""Batches made ahead of their use by worker threads, so that decoding and training go on at the same time."""

import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from recurra.errors import ConfigError

__all__ = ["Ahead"]


class _Batches(Protocol):
    def epoch(self, number: int) -> Sequence[Any]: ...

    def shard(self, rank: int, world: int) -> Self: ...


@dataclass(frozen=True)
class Ahead:
    """The same batches in the same order, of which some are made before they are asked for.

    batches  what makes them; a batch must depend on its number alone, and not on which thread makes it
    threads  that make them; decoders let go of Python's lock, so two keep two cores busy
    ready    batches that may wait in memory
    """

    batches: _Batches
    threads: int = 2
    ready: int = 4

    def __post_init__(self) -> None:
        if self.threads < 1 or self.ready < 1:
            raise ConfigError(f"ahead: expected threads and ready >= 1, got {self.threads} and {self.ready}")

    def epoch(self, number: int) -> Sequence[Any]:
        """All batches of one pass."""
        return _Pass(self.batches.epoch(number), self.threads, self.ready)

    def shard(self, rank: int, world: int) -> "Ahead":
        """The part of every batch for process ``rank`` of ``world``."""
        return replace(self, batches=self.batches.shard(rank, world))


class _Pass(Sequence[Any]):
    def __init__(self, source: Sequence[Any], threads: int, ready: int) -> None:
        self.source, self.ready = source, ready
        self.waiting: dict[int, Future[Any]] = {}
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
        weakref.finalize(self, self.pool.shutdown, wait=False, cancel_futures=True)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        wanted = range(index, min(index + 1 + self.ready, len(self)))
        for place in [place for place in self.waiting if place not in wanted]:
            self.waiting.pop(place).cancel()
        for place in wanted:
            if place not in self.waiting:
                self.waiting[place] = self.pool.submit(self.source.__getitem__, place)
        return self.waiting.pop(index).result()
