"""What a prefix beam search keeps of a prefix: its probability, its best paths, and the marks that they leave."""

import math
from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

from recurra.heads.decoding import BLANK

__all__ = ["Hypothesis", "Mark", "commit", "common", "path", "plus"]


class Mark(NamedTuple):
    """A token on a path: the mark before it, its frames ``begin .. end - 1``, and its highest log probability."""

    before: "Mark | None"
    token: int
    begin: int
    end: int
    peak: float


class Hypothesis:
    """A prefix: the tokens since what is settled, and all that the frames so far say about it.

        ends in a blank   ends in its last token
        blank             token                     log of the sum over all such paths
        blanks            tokens                    log probability of the best of them
        blanked           said                      that path, as marks

    extra  nats that the guide added
    place  the guide's state, and steps, what the guide said about tokens after it
    total  log probability of all paths; rank, with extra
    """

    __slots__ = (
        "blank",
        "blanked",
        "blanks",
        "extra",
        "key",
        "place",
        "rank",
        "said",
        "steps",
        "token",
        "tokens",
        "total",
    )

    def __init__(self, key: tuple[int, ...], extra: float, place: Any, steps: dict[int, Any]) -> None:
        self.key, self.extra, self.place, self.steps = key, extra, place, steps
        self.blank = self.token = self.blanks = self.tokens = self.total = self.rank = -inf
        self.blanked: Mark | None = None
        self.said: Mark | None = None

    def close(self) -> "Hypothesis":
        """Sum up when all its paths are known."""
        self.total = plus(self.blank, self.token)
        self.rank = self.total + self.extra
        return self

    def best(self) -> tuple[float, Mark | None]:
        """The likeliest of its paths."""
        return (self.blanks, self.blanked) if self.blanks >= self.tokens else (self.tokens, self.said)

    def stay(self, row: Sequence[float], time: int) -> "Hypothesis":
        """The same prefix a frame later: by a blank, or by its last token once more."""
        after = Hypothesis(self.key, self.extra, self.place, self.steps)
        best, way = self.best()
        after.blank, after.blanks, after.blanked = self.total + row[BLANK], best + row[BLANK], way
        if self.said is not None:
            before, token, begin, _, peak = self.said
            more = row[token]
            after.token, after.tokens = self.token + more, self.tokens + more
            after.said = Mark(before, token, begin, time + 1, max(peak, more))
        return after

    def hear(self, token: int, nats: float, source: tuple[float, float, Mark | None], time: int) -> None:
        """Paths to this prefix by its last token, from ``source``: sum and best of the paths, and the best one."""
        self.token = plus(self.token, source[0] + nats)
        if source[1] + nats > self.tokens:
            self.tokens = source[1] + nats
            self.said = Mark(source[2], token, time, time + 1, nats)


def plus(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + math.log1p(math.exp(b - a))


def path(mark: Mark | None) -> list[Mark]:
    """The marks of a path, first to last."""
    found = []
    while mark is not None:
        found.append(mark)
        mark = mark.before
    return found[::-1]


def common(hypotheses: Sequence[Hypothesis]) -> list[Mark]:
    """The marks that no frame to come can change: over, and on all paths of all hypotheses."""
    ends = [one.blanked for one in hypotheses if one.blanks > -inf]
    ends += [one.said.before for one in hypotheses if one.said is not None]
    shared = path(ends[0])
    for end in ends[1:]:
        same = [a is b for a, b in zip(shared, path(end), strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    return shared


def commit(hypotheses: list[Hypothesis], time: int) -> list[Hypothesis]:
    """Believe the best hypothesis in all that ended by frame ``time``; those that say otherwise are dropped."""
    trunk = [mark for mark in path(hypotheses[0].best()[1]) if mark.end <= time]
    if not trunk:
        return hypotheses
    kept = [one for one in hypotheses if _grows_on(trunk, path(one.best()[1]))]
    for one in kept:
        one.blanked, one.said = (_graft(mark, trunk) for mark in (one.blanked, one.said))
    return kept


def _grows_on(trunk: list[Mark], marks: list[Mark]) -> bool:
    """Whether a path begins with the very marks of the trunk."""
    return len(marks) >= len(trunk) and marks[len(trunk) - 1] is trunk[-1]


def _graft(mark: Mark | None, trunk: list[Mark]) -> Mark | None:
    """A path of the same tokens that begins as the trunk does: the less likely path of a hypothesis may not."""
    marks = path(mark)
    if mark is None or _grows_on(trunk, marks):
        return mark
    grown = trunk[-1]
    for one in marks[len(trunk) :]:
        begin = max(one.begin, grown.end)
        grown = Mark(grown, one.token, begin, max(begin, one.end), one.peak)
    if len(marks) == len(trunk):  # still in the token that the trunk ends with
        grown = grown._replace(end=mark.end, peak=max(grown.peak, mark.peak))
    return grown
