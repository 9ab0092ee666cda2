"""Fair timing of two ways to compute the same thing."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Medians in milliseconds, and the ratio theirs / ours: above 1 we are faster."""

    ours: float
    theirs: float
    ratio: float
    low: float  # quartiles of the ratio, round by round
    high: float


def compare(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 15) -> Comparison:
    """Run both in turn, ``rounds`` times after a warm-up, and compare round by round."""
    for _ in range(2):
        ours(), theirs()
    pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    quarter = len(ratios) // 4
    medians = [1000 * statistics.median(side) for side in zip(*pairs, strict=True)]
    return Comparison(*medians, statistics.median(ratios), ratios[quarter], ratios[-1 - quarter])


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin
