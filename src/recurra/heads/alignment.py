"""Connectionist temporal classification: a network that says tokens frame by frame, trained without knowing when.

Graves, Fernandez, Gomez and Schmidhuber 2006. Any path of tokens and blanks that collapses to the transcript is
right:

    collapse: repetitions become one token, then blanks drop out        a a - a b b -> a a b
    p(y | x) = the sum over all paths that collapse to y of the product over frames t of p_t(path_t)

Token 0 is the blank. Log probabilities are ``(B, T, V)`` in nats and sum to one in each frame (a ``log_softmax``),
lengths ``(B,)`` are in frames. Padding is not read.
"""

from math import exp, inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recurra import lengths as ragged
from recurra.errors import DataError, ShapeError
from recurra.heads.decoding import BLANK, Decoder, Greedy, check_log_probs
from recurra.heads.fusion import Guide
from recurra.heads.prefix_beam import PrefixBeam
from recurra.heads.transcripts import Heard, HeardWord, Transcript, words

__all__ = [
    "BLANK",
    "Decoder",
    "Greedy",
    "Heard",
    "HeardWord",
    "PrefixBeam",
    "Transcript",
    "align",
    "ctc_loss",
    "feasible",
    "frames_needed",
    "greedy",
    "prefix_beam",
    "words",
]


def frames_needed(tokens: Tensor, token_lengths: Tensor | list[int]) -> Tensor:
    """The fewest frames ``(B,)`` that can say each transcript: one a token, and a blank between two that are equal.

    tokens  (B, U) of int64, padded on the right
    """
    sizes = ragged.check(token_lengths, *tokens.shape)
    twice = (tokens[:, 1:] == tokens[:, :-1]).cpu() & ragged.mask(sizes - 1, max(0, tokens.shape[1] - 1))
    return sizes + twice.sum(1)


def feasible(tokens: Tensor, token_lengths: Tensor | list[int], lengths: Tensor | list[int]) -> Tensor:
    """Which rows ``(B,)`` have enough frames for their transcript. The loss of the others would be infinite."""
    return frames_needed(tokens, token_lengths) <= torch.as_tensor(lengths, dtype=torch.int64).cpu()


def ctc_loss(
    log_probs: Tensor, lengths: Tensor | list[int], tokens: Tensor, token_lengths: Tensor | list[int]
) -> Tensor:
    """``-log p(tokens)`` in nats, summed over the rows; computed in float32 or better.

    tokens  (B, U) of int64, none of them 0; what stands in the padding is not read

    Raises DataError, naming the row, where a transcript needs more frames than there are; find such rows with
    `feasible`. Its gradient is right for what went into the ``log_softmax`` (torch adds a term that cancels there).
    """
    steps, sizes = _checked(log_probs, lengths, tokens, token_lengths)
    if log_probs.numel() == 0:
        return log_probs.sum()  # no row, or rows of no frame that say nothing
    exact = log_probs.to(torch.promote_types(log_probs.dtype, torch.float32))
    said = tokens.masked_fill(~ragged.mask(sizes, tokens.shape[1], tokens.device), 1)
    return functional.ctc_loss(exact.transpose(0, 1), said.to(exact.device), steps, sizes, BLANK, reduction="sum")


def _checked(
    log_probs: Tensor, lengths: Tensor | list[int], tokens: Tensor, token_lengths: Tensor | list[int]
) -> tuple[Tensor, Tensor]:
    """Lengths of frames and of tokens, or the error that says what does not fit."""
    check_log_probs(log_probs, 3, "(B, T, V)")
    if tokens.dim() != 2 or len(tokens) != len(log_probs):
        raise ShapeError(f"CTC: expected tokens of shape ({len(log_probs)}, U), got {tuple(tokens.shape)}")
    steps = ragged.check(lengths, *log_probs.shape[:2])
    sizes = ragged.check(token_lengths, *tokens.shape)
    valid, kinds = ragged.mask(sizes, tokens.shape[1], tokens.device), log_probs.shape[2]
    strange = valid & ((tokens <= BLANK) | (tokens >= kinds))
    if bool(strange.any()):
        row, place = strange.nonzero()[0].tolist()
        raise DataError(
            f"CTC: row {row}, token {place}: expected 1 to {kinds - 1} (0 is the blank), "
            f"got {int(tokens[row, place])}"
        )
    needed = frames_needed(tokens, sizes)
    if bool((needed > steps).any()):
        row = int((needed > steps).nonzero()[0])
        raise DataError(
            f"CTC: row {row}: its {int(sizes[row])} tokens need {int(needed[row])} frames, but there are "
            f"{int(steps[row])}; leave such rows out (feasible finds them), or make fewer frames into one"
        )
    return steps, sizes


@torch.no_grad()
def align(
    log_probs: Tensor, lengths: Tensor | list[int], tokens: Tensor, token_lengths: Tensor | list[int]
) -> list[Transcript]:
    """When each token was said, by the likeliest path that collapses to the transcript (Viterbi 1967).

    Arguments and errors are those of `ctc_loss`. score is the log probability of the path. Where a token could
    stay or go on with the same probability, it goes on earlier.
    """
    steps, sizes = _checked(log_probs, lengths, tokens, token_lengths)
    exact = log_probs.to("cpu", torch.float64)
    rows = zip(exact, steps.tolist(), tokens, sizes.tolist(), strict=True)
    return [_align(frames[:time], said[:size].tolist()) for frames, time, said, size in rows]


def _align(log_probs: Tensor, tokens: list[int]) -> Transcript:
    """The best path of one row through the places: blank, token, blank, token, .. blank."""
    time, places = len(log_probs), 2 * len(tokens) + 1
    labels = torch.full((places,), BLANK)
    labels[1::2] = torch.tensor(tokens, dtype=torch.int64)
    skips = torch.zeros(places, dtype=torch.bool)
    skips[2:] = (labels[2:] != BLANK) & (labels[2:] != labels[:-2])
    best = torch.full((places + 2,), -inf, dtype=torch.float64)
    best[2] = 0.0  # the two places before the first one are never reached
    emitted, came = log_probs[:, labels], torch.zeros(time, places, dtype=torch.int64)
    for t in range(time):
        moves = torch.stack([best[2:], best[1:-1], best[:-2].masked_fill(~skips, -inf)])
        top, came[t] = moves.max(0)
        best[2:] = top + emitted[t]
    ends = best[-2:] if len(tokens) else best[-1:]
    score, last = ends.max(0)
    return Transcript(_walk(came, places - len(ends) + int(last), labels, log_probs), float(score), len(tokens))


def _walk(came: Tensor, place: int, labels: Tensor, log_probs: Tensor) -> tuple[Heard, ...]:
    """From the last place back to the first: the frames of each token."""
    path: list[int] = []
    for moves in reversed(came.tolist()):
        path.append(place)
        place -= moves[place]
    path.reverse()
    spans: dict[int, list[int]] = {}
    for t, at in enumerate(path):
        if at % 2:
            spans.setdefault(at, [t, t])[1] = t + 1
    kinds, found = labels.tolist(), []
    for at, (begin, end) in spans.items():
        peak = float(log_probs[begin:end, kinds[at]].max())
        found.append(Heard(kinds[at], begin, end, exp(peak)))
    return tuple(found)


def greedy(log_probs: Tensor, lengths: Tensor | list[int] | None = None) -> list[Transcript]:
    """The transcript of the likeliest path of each row: `Greedy`."""
    return Greedy().decode(log_probs, lengths)


def prefix_beam(
    log_probs: Tensor, lengths: Tensor | list[int] | None = None, beam: int = 16, guide: Guide[Any] | None = None
) -> list[Transcript]:
    """The likeliest transcript of each row, all its paths together: `PrefixBeam`."""
    return PrefixBeam(beam, guide).decode(log_probs, lengths)
