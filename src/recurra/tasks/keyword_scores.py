"""How well keywords are spotted: what was missed, and how often there was a false alarm, at every threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Curve", "Heard", "Point", "alarms", "curve"]

TRIED = torch.linspace(-4, 12, 65).sigmoid().tolist()  # thresholds; below, alarms never end


class Heard(NamedTuple):
    """What a network says about one string, and what is right.

    logits  (J, K)   at each step, for each keyword
    places  [P] [5]  keyword, the step in which it begins, that after the last in which it may be noticed, the step
                     in which it ends, how often it is said there
    """

    logits: Tensor
    places: list[list[int]]


class Point(NamedTuple):
    """What one threshold does.

    threshold     of the probability
    misses        share of keywords without an alarm
    false_alarms  an hour
    delay         seconds from the end of the word to its alarm, on average; below 0: before the end
    """

    threshold: float
    misses: float
    false_alarms: float
    delay: float


@dataclass(frozen=True)
class Curve:
    """What all thresholds do, the lowest first, on so many hours and keywords."""

    points: list[Point]
    hours: float
    keywords: int

    def choose(self, false_alarms: float) -> Point:
        """The point with the fewest misses of those with so many false alarms or fewer; of equals the highest."""
        fitting = [point for point in self.points if point.false_alarms <= false_alarms]
        return min(fitting[::-1] or self.points[-1:], key=lambda point: point.misses)


def alarms(p: Tensor, threshold: float, rest: int) -> list[int]:
    """Steps of ``p (J,)`` that raise an alarm: at the threshold or above, after ``rest`` steps or more below it."""
    found, before = [], -rest - 1
    for step in (p >= threshold).nonzero()[:, 0].tolist():
        if step - before > rest:
            found.append(step)
        before = step
    return found


def curve(heard: Sequence[Heard], step: float, rest: int, thresholds: Sequence[float] = TRIED) -> Curve:
    """What each threshold does; ``step`` is the seconds of one step, ``rest`` as in `alarms`."""
    hours = sum(len(one.logits) for one in heard) * step / 3600
    total = sum(place[4] for one in heard for place in one.places)
    probabilities = [one.logits.double().sigmoid() for one in heard]
    points = []
    for threshold in thresholds:
        right, wrong, late = 0, 0, 0
        for one, p in zip(heard, probabilities, strict=True):
            for keyword in range(p.shape[1]):
                found = alarms(p[:, keyword], threshold, rest)
                hits = _hits(found, [place for place in one.places if place[0] == keyword])
                right, wrong, late = right + len(hits), wrong + len(found) - len(hits), late + sum(hits)
        misses, false_alarms = 1 - right / max(1, total), wrong / max(hours, 1e-9)
        points.append(Point(threshold, misses, false_alarms, step * late / max(1, right)))
    return Curve(points, hours, total)


def _hits(found: list[int], places: list[list[int]]) -> list[int]:
    """By how many steps alarms that are right are late: for each place, as many as the keyword is said there."""
    left, delays = [place[4] for place in places], []
    for step in found:
        for i, (_, first, after, end, _) in enumerate(places):
            if left[i] and first <= step < after:
                left[i] -= 1
                delays.append(step - end)
                break
    return delays
