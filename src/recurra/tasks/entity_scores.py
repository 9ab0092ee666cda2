"""Precision, recall and F1 of entities, as the script of CoNLL counts them: type and both ends must be right.

    precision = right / said     recall = right / there     F1 = 2 precision recall / (precision + recall)

Where nothing is said, or nothing is there, the share is 0.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from recurra.data.spans import Span

__all__ = ["EntityScores", "Score"]


class Score(NamedTuple):
    """Shares from 0 to 1, and how many entities there are in the data."""

    precision: float
    recall: float
    f1: float
    entities: int


@dataclass
class EntityScores:
    """Counts of entities over sentences, by type.

    there, said, right  entities by type: in the data, in the answers, in both
    crossed             (type there, type said) of spans with the same ends; "" where there is none
    """

    there: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    crossed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, there: Iterable[Span], said: Iterable[Span]) -> None:
        """Count one sentence."""
        mine = {(span.begin, span.end): span.kind for span in there}
        theirs = {(span.begin, span.end): span.kind for span in said}
        self.there.update(mine.values())
        self.said.update(theirs.values())
        self.right.update(kind for place, kind in mine.items() if theirs.get(place) == kind)
        places = {**mine, **theirs}
        self.crossed.update((mine.get(place, ""), theirs.get(place, "")) for place in places)

    @property
    def kinds(self) -> list[str]:
        """All types that are there or were said."""
        return sorted({*self.there, *self.said})

    def of(self, kind: str) -> Score:
        """The score of one type."""
        return _score(self.right[kind], self.said[kind], self.there[kind])

    @property
    def total(self) -> Score:
        """The score of all entities together (micro-average)."""
        return _score(self.right.total(), self.said.total(), self.there.total())


def _score(right: int, said: int, there: int) -> Score:
    precision, recall = right / max(1, said), right / max(1, there)
    return Score(precision, recall, 2 * right / max(1, said + there), there)
