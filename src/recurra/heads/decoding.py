"""Decoders of frames as values: what was heard so far is tensors, and any cut of the sound gives the same answer.

The greedy decoder of connectionist temporal classification (CTC; Graves et al. 2006) is here, the better and slower
one is `recurra.heads.prefix_beam`.
"""

from abc import ABC, abstractmethod
from math import exp
from typing import Any

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra.errors import DataError, DtypeError, ShapeError
from recurra.heads.transcripts import Heard, Transcript
from recurra.tree import State

__all__ = ["BLANK", "Decoder", "Greedy"]

BLANK = 0  # the number of the token that says nothing


class Decoder(ABC):
    """From log probabilities of frames to transcripts, all at once or as they come.

        state = decoder.initial()
        state = decoder.push(log_probs, state)      # (t, V) for any t from 0; again and again
        decoder.partial(state)                      # the transcript so far
        decoder.result(state)                       # the transcript if the sound ends here

    A state is tensors in tuples, so that `recurra.tree` can store it. Pushing a sound in pieces gives the very bits
    of pushing it whole: the transcript of a stream is that of the recording. Nothing changes in place.
    """

    @abstractmethod
    def initial(self) -> Any:
        """The state before the first frame."""

    @abstractmethod
    def push(self, log_probs: Tensor, state: Any) -> Any:
        """The state after more frames: log_probs ``(t, V)`` in nats, token 0 is the blank."""

    @abstractmethod
    def partial(self, state: Any) -> Transcript:
        """The best transcript so far, which may end within a word."""

    @abstractmethod
    def results(self, state: Any) -> list[Transcript]:
        """The transcripts if the sound ends here, best first: one or more."""

    def result(self, state: Any) -> Transcript:
        """The best transcript if the sound ends here."""
        return self.results(state)[0]

    @torch.no_grad()
    def decode(self, log_probs: Tensor, lengths: Tensor | list[int] | None = None) -> list[Transcript]:
        """The best transcript of each row of log_probs ``(B, T, V)``; padding is not read."""
        check_log_probs(log_probs, 3, "(B, T, V)")
        sizes = [log_probs.shape[1]] * len(log_probs)
        if lengths is not None:
            sizes = ragged.check(lengths, *log_probs.shape[:2]).tolist()
        rows = zip(log_probs, sizes, strict=True)
        return [self.result(self.push(row[:size], self.initial())) for row, size in rows]


def check_log_probs(log_probs: Tensor, axes: int, shape: str) -> None:
    """Raise ShapeError or DtypeError if these are not log probabilities of the shape that the message names."""
    if not isinstance(log_probs, Tensor) or not log_probs.is_floating_point():
        got = log_probs.dtype if isinstance(log_probs, Tensor) else type(log_probs).__name__
        raise DtypeError(f"CTC: expected log_probs as a tensor of real numbers, got {got}")
    if log_probs.dim() != axes or log_probs.shape[-1] < 1:
        raise ShapeError(f"CTC: expected log_probs {shape} with V >= 1, got {tuple(log_probs.shape)}")


def checked_frames(log_probs: Tensor) -> Tensor:
    """Frames ``(t, V)`` in float64 on the processor, or the error that says what does not fit."""
    check_log_probs(log_probs, 2, "(t, V)")
    exact = log_probs.detach().to("cpu", torch.float64)
    if bool(exact.isnan().any()):
        frame = int(exact.isnan().any(1).nonzero()[0])
        raise DataError(f"CTC: frame {frame} of {len(exact)} holds NaN; the network's numbers are not finite")
    return exact


class Greedy(Decoder):
    """The likeliest token of each frame; repetitions are one token, and blanks are left out.

        a a - a b b -> a a b

    The best path, not the best transcript, which is the sum of many paths. score is the path's log probability. Of
    equally likely tokens the one of the lower number is taken.
    """

    def initial(self) -> Any:
        none = torch.zeros(0, dtype=torch.int64)
        return State(
            time=torch.tensor(0),
            last=torch.tensor(BLANK),
            tokens=none,
            begins=none,
            ends=none,
            peaks=torch.zeros(0, dtype=torch.float64),
            score=torch.tensor(0.0, dtype=torch.float64),
        )

    @torch.no_grad()
    def push(self, log_probs: Tensor, state: Any) -> Any:
        frames = checked_frames(log_probs)
        start, last, score = int(state.time), int(state.last), float(state.score)
        tops, kinds = (found.tolist() for found in frames.max(-1))
        run = [(*_numbers(state), float(state.peaks[-1]))] if last != BLANK else []
        kept = len(state.tokens) - len(run)
        for time, top, kind in zip(range(start, start + len(tops)), tops, kinds, strict=True):
            score += top
            if kind != BLANK and kind == last:
                token, begin, _, peak = run[-1]
                run[-1] = (token, begin, time + 1, max(peak, top))
            elif kind != BLANK:
                run.append((kind, time, time + 1, top))
            last = kind
        columns = [[row[i] for row in run] for i in range(4)]
        before = (state.tokens, state.begins, state.ends, state.peaks)
        after = [torch.cat([old[:kept], old.new_tensor(new)]) for old, new in zip(before, columns, strict=True)]
        ending = torch.tensor(start + len(tops))
        return type(state)(ending, torch.tensor(last), *after, torch.tensor(score, dtype=torch.float64))

    def partial(self, state: Any) -> Transcript:
        return self.results(state)[0]

    def results(self, state: Any) -> list[Transcript]:
        columns = (state.tokens, state.begins, state.ends, state.peaks)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        heard = tuple(Heard(token, begin, end, exp(peak)) for token, begin, end, peak in rows)
        return [Transcript(heard, float(state.score), len(heard) - int(state.last != BLANK))]


def _numbers(state: Any) -> tuple[int, int, int]:
    """Token, begin and end of the last token."""
    return int(state.tokens[-1]), int(state.begins[-1]), int(state.ends[-1])
