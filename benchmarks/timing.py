"""Fair timing: the sides of a question take turns, round by round, in one process."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks.results import Target, Value

__all__ = ["QUICK", "Effort", "Times", "compare", "spread"]

PER_SECOND = {"s": 1, "ms": 1e3, "us": 1e6}


@dataclass(frozen=True)
class Effort:
    """How much time to spend.

    rounds   how often every side has its turn
    fewest   rounds that also a slow question gets, when its `budget` is spent
    budget   seconds for one row
    least    seconds that a side is timed in each round, by repeating it
    rest     seconds of sleep before each side: threads of the side before stop spinning meanwhile
    starts   how often a process is started for a number that it finds only once
    largest  T, B, H: bigger shapes are cut down to this
    """

    rounds: int = 15
    fewest: int = 5
    budget: float = 12.0
    least: float = 0.01
    rest: float = 0.05
    starts: int = 3
    largest: tuple[int, int, int] = (10_000, 10_000, 10_000)

    def shapes(self, *grid: tuple[int, int, int]) -> list[tuple[int, int, int]]:
        """The shapes ``(T, B, H)``, cut down, each once."""
        cut = [(min(t, self.largest[0]), min(b, self.largest[1]), min(h, self.largest[2])) for t, b, h in grid]
        return list(dict.fromkeys(cut))


QUICK = Effort(rounds=3, fewest=2, budget=0.2, least=0.0, rest=0.0, starts=1, largest=(10, 3, 16))


class Times:
    """Seconds that each side took, one number a round."""

    def __init__(self, seconds: Mapping[str, list[float]]) -> None:
        self.seconds = dict(seconds)

    def time(self, name: str, unit: str = "ms", target: Target | None = None) -> Value:
        """The time of a side."""
        return spread([PER_SECOND[unit] * second for second in self.seconds[name]], unit, target)

    def ratio(self, above: str, below: str, target: Target | None = None) -> Value:
        """The time of one side by that of another, in the same round."""
        pairs = zip(self.seconds[above], self.seconds[below], strict=True)
        return spread([a / b for a, b in pairs], "x", target)


def spread(values: list[float], unit: str, target: Target | None = None) -> Value:
    """Median and quartiles."""
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    )
    return Value(middle, low, high, unit, target)


def compare(
    sides: Mapping[str, Callable[[], object]],
    effort: Effort,
    before: Callable[[str], None] = lambda name: None,
) -> Times:
    """Time all sides, in turn, in every round; another one begins each time.

    A turn is a rest, ``before(name)``, one call to warm up, and as many calls as `Effort.least` asks for.
    """
    with _without_collection():
        repeats = {name: _repeats(side, effort, partial(before, name)) for name, side in sides.items()}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        names, begin = list(sides), time.perf_counter()
        for turn in range(effort.rounds):
            if turn >= effort.fewest and time.perf_counter() - begin > effort.budget:
                break
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                time.sleep(effort.rest)
                before(name)
                sides[name]()
                seconds[name].append(_seconds(sides[name], repeats[name]))
            gc.collect(0)
    return Times(seconds)


def _repeats(side: Callable[[], object], effort: Effort, before: Callable[[], None]) -> int:
    """How many calls take as long as `Effort.least`. The first call, which compiles, does not count."""
    before()
    side()
    return max(1, round(effort.least / max(_seconds(side, 1), 1e-7)))


def _seconds(side: Callable[[], object], repeats: int) -> float:
    """Of one call, the mean of some."""
    turns = range(repeats)
    begin = time.perf_counter()
    for _ in turns:
        side()
    return (time.perf_counter() - begin) / repeats


@contextmanager
def _without_collection() -> Iterator[None]:
    """Garbage is collected between rounds, not inside a measurement."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
