"""The likeliest transcript of connectionist temporal classification, all its paths together: prefix beam search.

Graves 2008 (chapter 7.5), Hannun et al. 2014; guides (language models, a lexicon) are in `recurra.heads.fusion`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from math import inf
from typing import Any

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.heads.decoding import BLANK, Decoder, checked_frames
from recurra.heads.fusion import Free, Guide
from recurra.heads.hypotheses import Hypothesis, Mark, commit, common, path
from recurra.heads.transcripts import Heard, Transcript
from recurra.tree import State

__all__ = ["PrefixBeam"]

PIECE = 64  # frames after which what is settled leaves the search, so that a long sound costs no more a frame


class PrefixBeam(Decoder):
    """The ``beam`` likeliest prefixes go on from frame to frame; paths that spell the same prefix are added up.

        b_t(y)     = p_t(blank) (b_{t-1}(y) + n_{t-1}(y))
        n_t(y)     = p_t(y_U) (n_{t-1}(y) + b_{t-1}(y-) + [y_U differs from y_{U-1}] n_{t-1}(y-))
        score(y)   = log(b_T(y) + n_T(y)) + guide(y)        y- is y without its last token y_U

    With a beam as wide as all prefixes, and nothing left out, it is exact. The frames of the tokens are those of
    the best path that the search knows.

    beam     how many prefixes go on
    guide    what else says which transcript is likely: a language model, a lexicon; None: nothing
    least    a token less probable than this in a frame is not tried there
    horizon  frames after which the search believes its best prefix: a sound without end then needs no more memory
             and no more time a frame, and old doubts take no room from new ones; 0: never. 250 are 10 s of 40 ms

    Raises DataError where nothing is possible: a frame that gives all that the guide allows probability 0.
    """

    def __init__(
        self, beam: int = 16, guide: Guide[Any] | None = None, least: float = 1e-4, horizon: int = 250
    ) -> None:
        if beam < 1 or not 0 <= least < 1 or horizon < 0:
            raise ConfigError(
                f"prefix beam: expected beam >= 1, 0 <= least < 1 and horizon >= 0, got {beam}, {least}, {horizon}"
            )
        self.beam, self.guide, self.horizon = beam, Free() if guide is None else guide, horizon
        self.least = math.log(least) if least else -inf

    @torch.no_grad()
    def initial(self) -> Any:
        (place,) = self.guide.ready([self.guide.initial()])
        empty = Hypothesis((), 0.0, place, {})
        empty.blank = empty.blanks = 0.0
        nothing = State(tokens=torch.zeros(0, 3, dtype=torch.int64), peaks=torch.zeros(0, dtype=torch.float64))
        return self._pack([empty.close()], nothing, 0)

    @torch.no_grad()
    def push(self, log_probs: Tensor, state: Any) -> Any:
        exact = checked_frames(log_probs)
        known, shape = self.guide.kinds, tuple(exact.shape)
        if known not in (0, shape[1]):
            raise ShapeError(
                f"prefix beam: expected log_probs (t, {known}) as the guide knows {known} tokens, got {shape}"
            )
        for frames in exact.split(PIECE):
            hypotheses, time = self._unpack(state), int(state.time)
            for row, likely in _rows(frames, self.least):
                hypotheses = self._frame(hypotheses, row, likely, time)
                time += 1
                if self.horizon and time % PIECE == 0:
                    hypotheses = commit(hypotheses, time - self.horizon)
            state = self._pack(hypotheses, state.settled, time)
        return state

    def _frame(
        self, hypotheses: list[Hypothesis], row: Sequence[float], likely: Sequence[int], time: int
    ) -> list[Hypothesis]:
        """The best prefixes after one more frame, best first."""
        found = {one.key: one.stay(row, time) for one in hypotheses}
        fresh: dict[tuple[int, ...], Hypothesis] = {}
        enough = self._enough(found.values())
        for one in hypotheses:
            last, whole = one.said.token if one.said is not None else BLANK, (one.total, *one.best())
            for token in likely:
                source = whole if token != last else (one.blank, one.blanks, one.blanked)
                key = (*one.key, token)
                known = found.get(key)
                if known is not None:
                    known.hear(token, row[token], source, time)
                elif source[0] + row[token] + (one.extra + self.guide.most) >= enough and source[0] > -inf:
                    child = self._child(one, token, key)
                    if child is not None:
                        child.hear(token, row[token], source, time)
                        fresh[key] = child
        return self._keep([one.close() for one in (*found.values(), *fresh.values())], fresh, time)

    def _enough(self, staying: Iterable[Hypothesis]) -> float:
        """A new prefix of a lower rank would not be kept: there are ``beam`` that rank higher without it."""
        ranks = sorted((one.close().rank for one in staying), reverse=True)
        return ranks[self.beam - 1] if len(ranks) >= self.beam else -inf

    def _child(self, parent: Hypothesis, token: int, key: tuple[int, ...]) -> Hypothesis | None:
        """A new prefix, if the guide allows it."""
        if token not in parent.steps:
            parent.steps[token] = self.guide.follow(parent.place, token)
        step = parent.steps[token]
        return None if step is None else Hypothesis(key, parent.extra + step[0], step[1], {})

    def _keep(
        self, found: list[Hypothesis], fresh: dict[tuple[int, ...], Hypothesis], time: int
    ) -> list[Hypothesis]:
        """The best of them; the guide gets those ready that are new."""
        possible = (one for one in found if one.rank > -inf)
        kept = nsmallest(self.beam, possible, key=lambda one: (-one.rank, one.key))
        if not kept:
            raise DataError(f"prefix beam: frame {time} gives every transcript that is allowed probability 0")
        new = [one for one in kept if one.key in fresh]
        for one, place in zip(new, self.guide.ready([one.place for one in new]), strict=True):
            one.place = place
        return kept

    def partial(self, state: Any) -> Transcript:
        ways, nats = state.ways[0].tolist(), state.nats[0].tolist()
        best = _hypothesis(_marks(state), ways, nats, None)
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
        shared = common(hypotheses)
        numbers: dict[int, int] = {id(mark): -1 for mark in shared}
        marks: list[Mark] = []
        ways = [[_number(one.blanked, numbers, marks), _number(one.said, numbers, marks)] for one in hypotheses]
        before = [-1 if mark.before is None else numbers[id(mark.before)] for mark in marks]
        rows = [[number, *mark[1:4]] for number, mark in zip(before, marks, strict=True)]
        nats = [[one.blank, one.token, one.blanks, one.tokens, one.extra] for one in hypotheses]
        return State(
            time=torch.tensor(time),
            settled=_settle(settled, shared),
            marks=torch.tensor(rows, dtype=torch.int64).view(-1, 4),
            peaks=torch.tensor([mark.peak for mark in marks], dtype=torch.float64),
            ways=torch.tensor(ways),
            nats=torch.tensor(nats, dtype=torch.float64),
            guide=self.guide.pack([one.place for one in hypotheses]),
        )

    def _unpack(self, state: Any) -> list[Hypothesis]:
        marks = _marks(state)
        rows = zip(state.ways.tolist(), state.nats.tolist(), self.guide.unpack(state.guide), strict=True)
        return [_hypothesis(marks, *row) for row in rows]


def _rows(frames: Tensor, least: float) -> Iterator[tuple[list[float], list[int]]]:
    """Each frame, and the tokens that are tried there."""
    likely: list[list[int]] = [[] for _ in frames]
    for time, token in (frames[:, 1:] > least).nonzero().tolist():
        likely[time].append(token + 1)
    return zip(frames.tolist(), likely, strict=True)


def _number(mark: Mark | None, numbers: dict[int, int], marks: list[Mark]) -> int:
    """The place of a mark in ``marks``, where it and those before it are put if they are not there."""
    missing = []
    while mark is not None and id(mark) not in numbers:
        missing.append(mark)
        mark = mark.before
    for one in reversed(missing):
        numbers[id(one)] = len(marks)
        marks.append(one)
    last = missing[0] if missing else mark
    return -1 if last is None else numbers[id(last)]


def _settle(settled: Any, shared: list[Mark]) -> Any:
    """What is settled, and more."""
    if not shared:
        return settled
    tokens = settled.tokens.new_tensor([mark[1:4] for mark in shared])
    peaks = settled.peaks.new_tensor([mark.peak for mark in shared])
    return State(tokens=torch.cat([settled.tokens, tokens]), peaks=torch.cat([settled.peaks, peaks]))


def _marks(state: Any) -> list[Mark | None]:
    """The marks of a state by their numbers plus one: -1 is what is settled."""
    marks: list[Mark | None] = [None]
    for (before, token, begin, end), peak in zip(state.marks.tolist(), state.peaks.tolist(), strict=True):
        marks.append(Mark(marks[before + 1], token, begin, end, peak))
    return marks


def _hypothesis(marks: list[Mark | None], ways: list[int], nats: list[float], place: Any) -> Hypothesis:
    blanked, said = (marks[way + 1] for way in ways)
    key = tuple(mark.token for mark in path(blanked if said is None else said))
    one = Hypothesis(key, nats[4], place, {})
    one.blank, one.token, one.blanks, one.tokens = nats[:4]
    one.blanked, one.said = blanked, said
    return one.close()


def _heard(settled: Any, one: Hypothesis) -> tuple[Heard, ...]:
    """All tokens of a hypothesis, by its best path."""
    columns = zip(settled.tokens.tolist(), settled.peaks.tolist(), strict=True)
    rows = [[*row, peak] for row, peak in columns]
    rows += [[*mark[1:]] for mark in path(one.best()[1])]
    return tuple(Heard(token, begin, end, math.exp(peak)) for token, begin, end, peak in rows)
