"""The likeliest transcript of connectionist temporal classification, all its paths together: prefix beam search.

Graves 2008 (chapter 7.5), Hannun et al. 2014; guides (language models, a lexicon) are in `recurra.heads.fusion`.
"""

import math
from collections.abc import Iterator, Sequence
from heapq import nsmallest
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError
from recurra.heads.decoding import BLANK, Decoder, checked_frames
from recurra.heads.fusion import Free, Guide
from recurra.heads.transcripts import Heard, Transcript
from recurra.tree import State

__all__ = ["PrefixBeam"]

PIECE = 64  # frames after which what is settled leaves the search, so that a long sound costs no more a frame


class Mark(NamedTuple):
    """A token on a path: the mark before it, its frames ``begin .. end - 1``, and its highest log probability."""

    before: "Mark | None"
    token: int
    begin: int
    end: int
    peak: float


class Hypothesis:
    """A prefix: the tokens since what is settled, and all that the frames so far say about it.

    ends in a blank, or in its last token:     blank   token       log of the sum over all such paths
                                               blanks  tokens      log probability of the best of them
                                               blanked said        that path, as marks
    extra  nats that the guide added
    place  the guide's state, and steps, what the guide said about tokens after it
    total  log probability of all paths, and rank, with extra
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
        best, path = self.best()
        after.blank, after.blanks, after.blanked = self.total + row[BLANK], best + row[BLANK], path
        if self.said is not None:
            before, token, begin, _, peak = self.said
            more = row[token]
            after.token, after.tokens = self.token + more, self.tokens + more
            after.said = Mark(before, token, begin, time + 1, max(peak, more))
        return after


class PrefixBeam(Decoder):
    """The ``beam`` likeliest prefixes go on from frame to frame; paths that spell the same prefix are added up.

        b_t(y)     = p_t(blank) (b_{t-1}(y) + n_{t-1}(y))
        n_t(y)     = p_t(y_U) (n_{t-1}(y) + b_{t-1}(y-) + [y_U differs from y_{U-1}] n_{t-1}(y-))
        score(y)   = log(b_T(y) + n_T(y)) + guide(y)        y- is y without its last token y_U

    With a beam as wide as all prefixes and least = 0 it is exact. The frames of the tokens are those of the best
    path that the search knows.

    beam   how many prefixes go on
    guide  what else says which transcript is likely: a language model, a lexicon; None: nothing
    least  a token less probable than this in a frame is not tried there

    Raises DataError where nothing is possible: a frame that gives all that the guide allows probability 0.
    """

    def __init__(self, beam: int = 16, guide: Guide[Any] | None = None, least: float = 1e-4) -> None:
        if beam < 1 or not 0 <= least < 1:
            raise ConfigError(f"prefix beam: expected beam >= 1 and 0 <= least < 1, got {beam} and {least}")
        self.beam, self.guide = beam, Free() if guide is None else guide
        self.least = math.log(least) if least else -inf

    @torch.no_grad()
    def initial(self) -> Any:
        (place,) = self.guide.ready([self.guide.initial()])
        empty = Hypothesis((), 0.0, place, {})
        empty.blank = empty.blanks = 0.0
        return self._pack([empty.close()], _nothing(), 0)

    @torch.no_grad()
    def push(self, log_probs: Tensor, state: Any) -> Any:
        for frames in checked_frames(log_probs).split(PIECE):
            hypotheses, time = self._unpack(state), int(state.time)
            for row, likely in _rows(frames, self.least):
                hypotheses = self._frame(hypotheses, row, likely, time)
                time += 1
            state = self._pack(hypotheses, state.settled, time)
        return state

    def _frame(
        self, hypotheses: list[Hypothesis], row: Sequence[float], likely: Sequence[int], time: int
    ) -> list[Hypothesis]:
        """The best prefixes after one more frame, best first."""
        found = {one.key: one.stay(row, time) for one in hypotheses}
        fresh = set()
        for one in hypotheses:
            last, (best, path) = one.said.token if one.said is not None else BLANK, one.best()
            for token in likely:
                source = (one.blank, one.blanks, one.blanked) if token == last else (one.total, best, path)
                if source[0] == -inf:
                    continue
                key = (*one.key, token)
                child = found.get(key)
                if child is None:
                    child = self._child(one, token, key)
                    if child is None:
                        continue
                    found[key] = child
                    fresh.add(key)
                more = row[token]
                child.token = plus(child.token, source[0] + more)
                if source[1] + more > child.tokens:
                    child.tokens = source[1] + more
                    child.said = Mark(source[2], token, time, time + 1, more)
        return self._keep([one.close() for one in found.values()], fresh, time)

    def _child(self, parent: Hypothesis, token: int, key: tuple[int, ...]) -> Hypothesis | None:
        """A new prefix, if the guide allows it."""
        if token not in parent.steps:
            parent.steps[token] = self.guide.follow(parent.place, token)
        step = parent.steps[token]
        return None if step is None else Hypothesis(key, parent.extra + step[0], step[1], {})

    def _keep(self, found: list[Hypothesis], fresh: set[tuple[int, ...]], time: int) -> list[Hypothesis]:
        """The best of them; the guide gets those ready that are new."""
        kept = nsmallest(self.beam, (one for one in found if one.rank > -inf), key=lambda one: (-one.rank, one.key))
        if not kept:
            raise DataError(f"prefix beam: frame {time} gives every transcript that is allowed probability 0")
        new = [one for one in kept if one.key in fresh]
        for one, place in zip(new, self.guide.ready([one.place for one in new]), strict=True):
            one.place = place
        return kept

    def partial(self, state: Any) -> Transcript:
        best = self._unpack(state)[0]
        return Transcript(_heard(state.settled, best), best.rank, len(state.settled.peaks))

    @torch.no_grad()
    def results(self, state: Any) -> list[Transcript]:
        """The transcripts that may end here, best first.

        If none of the beam may, the best one is cut back to where it may: an unfinished word is left out.
        """
        hypotheses, settled = self._unpack(state), len(state.settled.peaks)
        scores = [one.rank + self.guide.finish(one.place) for one in hypotheses]
        ranked = sorted(zip(scores, hypotheses, strict=True), key=lambda pair: (-pair[0], pair[1].key))
        found = [Transcript(_heard(state.settled, one), score, settled) for score, one in ranked if score > -inf]
        return found or [self._cut(_heard(state.settled, hypotheses[0]), hypotheses[0].rank, settled)]

    def _cut(self, heard: tuple[Heard, ...], score: float, settled: int) -> Transcript:
        (place,), whole = self.guide.ready([self.guide.initial()]), 0
        for count, one in enumerate(heard, 1):
            step = self.guide.follow(place, one.token)
            assert step is not None, "the search has followed these tokens"
            (place,) = self.guide.ready([step[1]])
            whole = count if self.guide.finish(place) > -inf else whole
        return Transcript(heard[:whole], score, min(whole, settled))

    def _pack(self, hypotheses: list[Hypothesis], settled: Any, time: int) -> Any:
        """Plain tensors: what is settled, the marks that the hypotheses share as a tree, and their numbers."""
        common = _common(hypotheses)
        numbers: dict[int, int] = {id(mark): -1 for mark in common}
        marks: list[Mark] = []
        ways = [[_number(one.blanked, numbers, marks), _number(one.said, numbers, marks)] for one in hypotheses]
        before = [-1 if mark.before is None else numbers[id(mark.before)] for mark in marks]
        return State(
            time=torch.tensor(time),
            settled=_settle(settled, common),
            marks=torch.tensor([[b, *mark[1:4]] for b, mark in zip(before, marks, strict=True)]).long().view(-1, 4),
            peaks=torch.tensor([mark.peak for mark in marks], dtype=torch.float64),
            ways=torch.tensor(ways),
            nats=torch.tensor(
                [[one.blank, one.token, one.blanks, one.tokens, one.extra] for one in hypotheses],
                dtype=torch.float64,
            ),
            guide=self.guide.pack([one.place for one in hypotheses]),
        )

    def _unpack(self, state: Any) -> list[Hypothesis]:
        marks: list[Mark | None] = [None]  # number -1 is what is settled
        for (before, *numbers), peak in zip(state.marks.tolist(), state.peaks.tolist(), strict=True):
            marks.append(Mark(marks[before + 1], numbers[0], numbers[1], numbers[2], peak))
        rows = zip(state.ways.tolist(), state.nats.tolist(), self.guide.unpack(state.guide), strict=True)
        return [_hypothesis([marks[way + 1] for way in ways], nats, place) for ways, nats, place in rows]


def plus(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``."""
    if a < b:
        a, b = b, a
    return a if b == -inf else a + math.log1p(math.exp(b - a))


def _rows(frames: Tensor, least: float) -> Iterator[tuple[list[float], list[int]]]:
    """Each frame, and the tokens that are tried there."""
    likely: list[list[int]] = [[] for _ in frames]
    for time, token in (frames[:, 1:] > least).nonzero().tolist():
        likely[time].append(token + 1)
    return zip(frames.tolist(), likely, strict=True)


def _path(mark: Mark | None) -> list[Mark]:
    """The marks of a path, first to last."""
    found = []
    while mark is not None:
        found.append(mark)
        mark = mark.before
    return found[::-1]


def _common(hypotheses: list[Hypothesis]) -> list[Mark]:
    """The marks that no frame to come can change: over, and on all paths of all hypotheses."""
    ends = [one.blanked for one in hypotheses if one.blanks > -inf]
    ends += [one.said.before for one in hypotheses if one.said is not None]
    common = _path(ends[0])
    for end in ends[1:]:
        other = _path(end)
        same = [a is b for a, b in zip(common, other, strict=False)]
        common = common[: same.index(False) if False in same else len(same)]
    return common


def _number(mark: Mark | None, numbers: dict[int, int], marks: list[Mark]) -> int:
    """The place of a mark in ``marks``, where it and those before it are put if they are not there."""
    missing = []
    while mark is not None and id(mark) not in numbers:
        missing.append(mark)
        mark = mark.before
    for one in reversed(missing):
        numbers[id(one)] = len(marks)
        marks.append(one)
    return numbers[id(missing[0])] if missing else -1 if mark is None else numbers[id(mark)]


def _nothing() -> Any:
    """No token is settled."""
    return State(tokens=torch.zeros(0, 3, dtype=torch.int64), peaks=torch.zeros(0, dtype=torch.float64))


def _settle(settled: Any, common: list[Mark]) -> Any:
    """What is settled, and more."""
    if not common:
        return settled
    tokens = settled.tokens.new_tensor([mark[1:4] for mark in common])
    peaks = settled.peaks.new_tensor([mark.peak for mark in common])
    return State(tokens=torch.cat([settled.tokens, tokens]), peaks=torch.cat([settled.peaks, peaks]))


def _hypothesis(paths: list[Mark | None], nats: list[float], place: Any) -> Hypothesis:
    path = _path(paths[1] if paths[1] is not None else paths[0])
    one = Hypothesis(tuple(mark.token for mark in path), nats[4], place, {})
    one.blank, one.token, one.blanks, one.tokens = nats[:4]
    one.blanked, one.said = paths
    return one.close()


def _heard(settled: Any, one: Hypothesis) -> tuple[Heard, ...]:
    """All tokens of a hypothesis, by its best path."""
    columns = zip(settled.tokens.tolist(), settled.peaks.tolist(), strict=True)
    rows = [[*row, peak] for row, peak in columns]
    rows += [[*mark[1:]] for mark in _path(one.best()[1])]
    return tuple(Heard(token, begin, end, math.exp(peak)) for token, begin, end, peak in rows)
