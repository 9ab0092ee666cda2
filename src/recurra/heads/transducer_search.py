"""Finding what a transducer heard, while it is heard: greedily, or with a beam (Graves 2012, Saon et al. 2020).

A search is a value that does not change; so is its state, tensors in named tuples. Frames may come in any cut:

    state = search.initial()
    state = search.push(encoded, state)          encoded (t, F), any t from 0
    search.result(state)                         what was heard so far

Each frame is computed by itself, so that the cut does not show in the answer, not even in its last bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import exp, inf, log1p
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.heads.transducer import Heard, Transducer

__all__ = ["BeamSearch", "GreedySearch", "Search", "decode"]

MOST = 5  # tokens that a frame may write: no speech has more than three in 40 ms


class Search(Protocol):
    """What finds tokens in frames that come in any cut."""

    def initial(self) -> Any:
        """The state before the first frame."""

    def push(self, encoded: Tensor, state: Any) -> Any:
        """The state after some more frames ``(t, F)``."""

    def result(self, state: Any) -> Heard:
        """What was heard so far."""

    def forget(self, state: Any) -> Any:
        """The state that goes on from what was heard, frames counted anew, but no longer tells it."""


def decode(search: Search, encoded: Tensor, lengths: Tensor | list[int] | None = None) -> list[Heard]:
    """What a search hears in each row of ``encoded (B, T, F)``."""
    batch, time = encoded.shape[:2]
    sizes = [time] * batch if lengths is None else ragged.check(lengths, batch, time).tolist()
    rows = zip(encoded, sizes, strict=True)
    return [search.result(search.push(row[:size], search.initial())) for row, size in rows]


@dataclass(frozen=True)
class GreedySearch:
    """The likeliest step at each node: a token, or the blank and on to the next frame.

    most  tokens that a frame may write; after them it is left whatever the network says
    """

    transducer: Transducer
    most: int = MOST

    def __post_init__(self) -> None:
        _at_least_one(most=self.most)

    @torch.no_grad()
    def initial(self) -> Any:
        """The state before the first frame: tensors, of which ``tokens``, ``frames`` and ``sure`` grow."""
        device = self.transducer.embedding.weight.device
        written, memory = self.transducer.write(torch.zeros(1, dtype=torch.long, device=device))
        whole, real = torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.float64)
        frame, nats = torch.zeros((), dtype=torch.long), torch.zeros((), dtype=torch.float64)
        return tree.State(
            frame=frame, nats=nats, tokens=whole, frames=whole, sure=real, written=written, memory=memory
        )

    @torch.no_grad()
    def push(self, encoded: Tensor, state: Any) -> Any:
        """The state after some more frames ``(t, F)``."""
        net, (written, memory) = self.transducer, (state.written, state.memory)
        first, nats, found = int(state.frame), float(state.nats), []
        for t in range(len(encoded)):
            heard = net.listen(encoded[t : t + 1])
            for count in range(self.most + 1):
                log_p = net.join(heard, written)
                best = log_p.argmax(1)
                if not int(best) or count == self.most:
                    nats -= float(log_p[0, 0])
                    break
                step = float(log_p[0, best])
                nats -= step
                found.append((int(best), first + t, exp(step)))
                written, memory = net.write(best, memory)
        columns = zip(*found, strict=True) if found else ((), (), ())
        grown = zip((state.tokens, state.frames, state.sure), columns, strict=True)
        tokens, frames, sure = (torch.cat([old, torch.tensor(new, dtype=old.dtype)]) for old, new in grown)
        return tree.State(
            frame=state.frame + len(encoded),
            nats=torch.tensor(nats, dtype=torch.float64),
            tokens=tokens,
            frames=frames,
            sure=sure,
            written=written,
            memory=memory,
        )

    def result(self, state: Any) -> Heard:
        """What was heard so far; ``nats`` are those of this one way."""
        return Heard(state.tokens.tolist(), state.frames.tolist(), state.sure.tolist(), float(state.nats))

    def forget(self, state: Any) -> Any:
        """The state that goes on from what was heard, frames counted anew, but no longer tells it."""
        return self.initial()._replace(written=state.written, memory=state.memory)


class _Hypothesis(NamedTuple):
    """Tokens with the frames and confidences of their likeliest way; the log of the sum over all ways, ``score``.

    ``row`` is where its prediction network stands; ``way`` is the log probability of the likeliest way.
    """

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    sure: tuple[float, ...]
    score: float
    way: float
    row: int


@dataclass(frozen=True)
class BeamSearch:
    """The likeliest transcripts among those that ``beam`` hypotheses reach, frame by frame.

    Hypotheses with the same tokens are one: their probabilities are added. At each frame all leave by the blank,
    then the ``beam`` best of those with one more token do, then of those with two, until none of them can come
    among the best. With a beam as wide as all transcripts, and ``most`` as large as the longest, it is exact.

    most  tokens that a frame may write
    """

    transducer: Transducer
    beam: int = 8
    most: int = MOST

    def __post_init__(self) -> None:
        _at_least_one(beam=self.beam, most=self.most)

    @torch.no_grad()
    def initial(self) -> Any:
        """The state before the first frame; apart from ``frame`` and ``sizes`` with a row for each hypothesis."""
        device = self.transducer.embedding.weight.device
        written, memory = self.transducer.write(torch.zeros(1, dtype=torch.long, device=device))
        start = _Hypothesis((), (), (), 0.0, 0.0, 0)
        return _pack([start], torch.zeros((), dtype=torch.long), written, memory)

    @torch.no_grad()
    def push(self, encoded: Tensor, state: Any) -> Any:
        """The state after some more frames ``(t, F)``."""
        best, written, memory = list(_unpack(state)), state.written, state.memory
        for t in range(len(encoded)):
            heard = self.transducer.listen(encoded[t : t + 1])
            best, written, memory = self._frame(heard, int(state.frame) + t, best, written, memory)
        return _pack(best, state.frame + len(encoded), written, memory)

    def result(self, state: Any) -> Heard:
        """The likeliest transcript so far; ``nats`` count all ways to it that were seen."""
        return self.results(state)[0]

    def results(self, state: Any) -> list[Heard]:
        """All hypotheses, the likeliest first."""
        found = _unpack(state)
        return [Heard(list(one.tokens), list(one.frames), list(one.sure), 0.0 - one.score) for one in found]

    def forget(self, state: Any) -> Any:
        """The state that goes on from the likeliest transcript, frames counted anew, but no longer tells it."""
        written, memory = tree.rows((state.written, state.memory), [0])
        return self.initial()._replace(written=written, memory=memory)

    def _frame(
        self, heard: Tensor, frame: int, going: list[_Hypothesis], written: Tensor, memory: Any
    ) -> tuple[list[_Hypothesis], Tensor, Any]:
        """All hypotheses through one frame; their rows of the prediction network with them."""
        left: dict[tuple[int, ...], _Hypothesis] = {}
        stages, offset = [(written, memory)], 0
        for count in range(self.most + 1):
            log_p = self.transducer.join(heard, written).double()
            for one, blank in zip(going, log_p[:, 0].tolist(), strict=True):
                _leave(left, one, blank, offset)
            going = [] if count == self.most else self._written(going, log_p, frame, left)
            if not going:
                break
            offset += len(written)
            parents = torch.tensor([one.row for one in going], device=written.device)
            tokens = torch.tensor([one.tokens[-1] for one in going], device=written.device)
            written, memory = self.transducer.write(tokens, tree.rows(memory, parents))
            stages.append((written, memory))
            going = [one._replace(row=row) for row, one in enumerate(going)]
        best = sorted(left.values(), key=lambda one: -one.score)[: self.beam]
        rows = torch.tensor([one.row for one in best], device=written.device)
        together = tree.map(lambda *leaves: torch.cat(leaves)[rows], *stages) if len(stages) > 1 else stages[0]
        if len(stages) == 1:
            together = tree.rows(together, rows)
        return [one._replace(row=row) for row, one in enumerate(best)], *together

    def _written(
        self, going: list[_Hypothesis], log_p: Tensor, frame: int, left: dict[tuple[int, ...], _Hypothesis]
    ) -> list[_Hypothesis]:
        """The best hypotheses with one more token at this frame, ``row`` still that of the one before."""
        scores = torch.tensor([one.score for one in going], dtype=torch.float64, device=log_p.device)
        totals = (scores[:, None] + log_p[:, 1:]).flatten()
        best, places = totals.topk(min(self.beam, len(totals)))
        ranked = sorted((one.score for one in left.values()), reverse=True)
        worst = ranked[self.beam - 1] if len(ranked) >= self.beam else -inf
        kinds, found = log_p.shape[1] - 1, []
        for score, place in zip(best.tolist(), places.tolist(), strict=True):
            one, token = going[place // kinds], place % kinds + 1
            step = score - one.score
            if score > worst:
                way = (*one.frames, frame), (*one.sure, exp(step)), score, one.way + step, place // kinds
                found.append(_Hypothesis((*one.tokens, token), *way))
        return found


def _leave(left: dict[tuple[int, ...], _Hypothesis], one: _Hypothesis, blank: float, offset: int) -> None:
    """Note that a hypothesis goes on to the next frame, together with others of the same tokens."""
    one = one._replace(score=one.score + blank, way=one.way + blank, row=one.row + offset)
    other = left.get(one.tokens)
    if other is not None:
        likelier = one if one.way > other.way else other
        one = likelier._replace(score=_log_add(one.score, other.score))
    left[one.tokens] = one


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high if low == -inf else high + log1p(exp(low - high))


def _pack(best: list[_Hypothesis], frame: Tensor, written: Tensor, memory: Any) -> Any:
    """Hypotheses as tensors; those with tokens one after the other, and how many each has."""
    flat = [[value for one in best for value in getattr(one, name)] for name in ("tokens", "frames", "sure")]
    real = torch.float64
    return tree.State(
        frame=frame,
        sizes=torch.tensor([len(one.tokens) for one in best]),
        tokens=torch.tensor(flat[0], dtype=torch.long),
        frames=torch.tensor(flat[1], dtype=torch.long),
        sure=torch.tensor(flat[2], dtype=real),
        scores=torch.tensor([one.score for one in best], dtype=real),
        ways=torch.tensor([one.way for one in best], dtype=real),
        written=written,
        memory=memory,
    )


def _unpack(state: Any) -> Iterator[_Hypothesis]:
    """The inverse of `_pack`."""
    sizes = state.sizes.tolist()
    tokens, frames, sure = state.tokens.tolist(), state.frames.tolist(), state.sure.tolist()
    for row, (end, size) in enumerate(zip(accumulate(sizes), sizes, strict=True)):
        part = slice(end - size, end)
        found = tuple(tokens[part]), tuple(frames[part]), tuple(sure[part])
        yield _Hypothesis(*found, float(state.scores[row]), float(state.ways[row]), row)


def _at_least_one(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"transducer search: expected {name} of at least 1, got {value}")
