"""Connectionist temporal classification against all paths of small cases: loss, greedy, forced alignment."""

from itertools import groupby, product
from math import exp, inf, log

import pytest
import torch
from torch import Tensor

from recurra.errors import DataError, DtypeError, LengthsError, ShapeError
from recurra.heads.alignment import (
    Greedy,
    Heard,
    HeardWord,
    align,
    ctc_loss,
    feasible,
    frames_needed,
    greedy,
    prefix_beam,
    words,
)

SIZES = [(1, 2), (2, 3), (4, 3), (5, 2), (6, 3)]  # T, V


def frames(time: int, kinds: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    random = torch.Generator().manual_seed(seed + 100 * time + kinds)
    return (2 * torch.randn(time, kinds, generator=random, dtype=torch.float64)).log_softmax(-1).to(dtype)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in groupby(path) if token)


def every_path(log_probs: Tensor) -> dict[tuple[int, ...], dict[tuple[int, ...], float]]:
    """All transcripts, with the log probability of each of their paths."""
    rows, found = log_probs.tolist(), {}
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        nats = sum(row[token] for row, token in zip(rows, path, strict=True))
        found.setdefault(collapse(path), {})[path] = nats
    return found


def total(paths: dict[tuple[int, ...], float]) -> float:
    return log(sum(map(exp, paths.values())))


def heard_on(path: tuple[int, ...], log_probs: Tensor) -> tuple[Heard, ...]:
    found, time = [], 0
    for token, run in groupby(path):
        size = len(list(run))
        if token:
            peak = float(log_probs[time : time + size, token].max().exp())
            found.append(Heard(token, time, time + size, pytest.approx(peak)))
        time += size
    return tuple(found)


def batch_of(transcripts: list[tuple[int, ...]]) -> tuple[Tensor, list[int]]:
    """Padded with what is no token."""
    longest = max(map(len, transcripts))
    return torch.tensor([[*one, *[-7] * (longest - len(one))] for one in transcripts]).view(
        -1, longest
    ).long(), list(map(len, transcripts))


@pytest.mark.parametrize(("time", "kinds"), SIZES)
def test_loss_and_gradient_are_those_of_all_paths(time: int, kinds: int) -> None:
    logits = frames(time, kinds).requires_grad_()
    paths = every_path(logits.log_softmax(-1).detach())
    tokens, sizes = batch_of(list(paths))
    rows = logits.log_softmax(-1).expand(len(paths), -1, -1)
    loss = ctc_loss(rows, [time] * len(paths), tokens, sizes)
    chances = torch.stack(
        [
            torch.stack([logits.log_softmax(-1)[range(time), list(path)].sum() for path in some]).logsumexp(0)
            for some in paths.values()
        ]
    )
    assert torch.allclose(chances.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.allclose(loss, -chances.sum())
    (ours,), (theirs,) = torch.autograd.grad(loss, logits), torch.autograd.grad(-chances.sum(), logits)
    assert torch.allclose(ours, theirs, atol=1e-10)


def test_padding_is_not_read() -> None:
    log_probs = torch.full((3, 6, 4), torch.nan, dtype=torch.float64)
    log_probs[0, :4], log_probs[1, :6] = frames(4, 4), frames(6, 4)
    log_probs.requires_grad_()
    tokens, sizes = torch.tensor([[3, 1, -1], [2, 2, 1], [-1, 99, 0]]), [2, 3, 0]
    loss = ctc_loss(log_probs, [4, 6, 0], tokens, sizes)
    alone = [
        ctc_loss(log_probs[i : i + 1, :t], [t], tokens[i : i + 1], sizes[i : i + 1]) for i, t in ((0, 4), (1, 6))
    ]
    assert torch.allclose(loss, sum(alone))
    (gradient,) = torch.autograd.grad(loss, log_probs)
    assert not gradient.isnan().any()
    assert not gradient[0, 4:].any()
    assert gradient[0, :4].any()


def test_loss_of_nothing_is_zero_and_half_precision_is_exact() -> None:
    assert float(ctc_loss(torch.zeros(2, 0, 3), [0, 0], torch.zeros(2, 0).long(), [0, 0])) == 0
    assert float(ctc_loss(torch.zeros(0, 5, 3), [], torch.zeros(0, 2).long(), [])) == 0
    half = frames(6, 3, dtype=torch.bfloat16)[None]
    tokens = torch.tensor([[1, 2]])
    assert ctc_loss(half, [6], tokens, [2]) == ctc_loss(half.float(), [6], tokens, [2])


def test_frames_needed_is_the_shortest_sound_that_can_say_it() -> None:
    transcripts = [one for size in range(4) for one in product((1, 2), repeat=size)]
    tokens, sizes = batch_of(transcripts)
    needed = frames_needed(tokens, sizes).tolist()
    shortest = {}
    for time in range(7):
        for path in product(range(3), repeat=time):
            shortest.setdefault(collapse(path), time)
    assert needed == [shortest[one] for one in transcripts]
    assert feasible(tokens, sizes, [3] * len(needed)).tolist() == [n <= 3 for n in needed]


@pytest.mark.parametrize(("time", "kinds"), SIZES)
def test_greedy_is_the_best_path(time: int, kinds: int) -> None:
    log_probs = frames(time, kinds, seed=1)
    paths = {path: nats for some in every_path(log_probs).values() for path, nats in some.items()}
    best = max(paths, key=paths.__getitem__)
    (found,) = greedy(log_probs[None])
    assert found.heard == heard_on(best, log_probs)
    assert found.score == pytest.approx(paths[best])


@pytest.mark.parametrize(("time", "kinds"), SIZES)
def test_alignment_is_the_best_path_of_the_transcript(time: int, kinds: int) -> None:
    log_probs = frames(time, kinds, seed=2)
    paths = every_path(log_probs)
    tokens, sizes = batch_of(list(paths))
    found = align(log_probs.expand(len(paths), -1, -1), [time] * len(paths), tokens, sizes)
    for (transcript, some), one in zip(paths.items(), found, strict=True):
        best = max(some, key=some.__getitem__)
        assert tuple(one.tokens) == transcript
        assert one.heard == heard_on(best, log_probs)
        assert one.score == pytest.approx(some[best])


def test_alignment_does_not_read_padding() -> None:
    log_probs = torch.full((2, 9, 3), torch.nan)
    log_probs[0, :7], log_probs[1, :0] = frames(7, 3), frames(0, 3)
    (one, none), tokens = align(log_probs, [7, 0], torch.tensor([[1, 1], [-1, -1]]), [2, 0]), torch.tensor([[1, 1]])
    assert one == align(log_probs[:1, :7], [7], tokens, [2])[0]
    assert none == ((), 0.0, 0)


def test_greedy_in_pieces_and_what_is_settled() -> None:
    log_probs = torch.tensor([0, 1, 1, 0, 1, 2, 2]).unsqueeze(1).eq(torch.arange(3)).double().mul(3).log_softmax(-1)
    decoder, settled = Greedy(), []
    state = decoder.initial()
    for row in log_probs:
        state = decoder.push(row[None], state)
        settled.append(decoder.partial(state).settled)
    assert settled == [0, 0, 0, 1, 1, 2, 2]
    assert [(one.token, one.begin, one.end) for one in decoder.result(state).heard] == [
        (1, 1, 3),
        (1, 4, 5),
        (2, 5, 7),
    ]


def test_words_are_what_stands_between_white_space() -> None:
    spellings = ["", " ", "a", "b", " ab"]
    heard = [
        Heard(*row) for row in [(2, 0, 1, 0.9), (3, 2, 4, 0.5), (4, 4, 6, 0.8), (1, 6, 7, 0.1), (2, 8, 9, 0.7)]
    ]
    assert words(heard, spellings) == [
        HeardWord("ab", 0, 4, 0.5),
        HeardWord("ab", 4, 6, 0.8),
        HeardWord("a", 8, 9, 0.7),
    ]
    assert words([], spellings) == []


def test_what_does_not_fit_is_named() -> None:
    log_probs, tokens = frames(3, 3)[None], torch.tensor([[1, 1, 2]])
    with pytest.raises(DataError, match="row 0: its 3 tokens need 4 frames, but there are 3"):
        ctc_loss(log_probs, [3], tokens, [3])
    with pytest.raises(DataError, match="need 4 frames"):
        align(log_probs, [3], tokens, [3])
    for strange in (0, 3, -1):
        with pytest.raises(DataError, match=f"row 0, token 1: expected 1 to 2.*got {strange}"):
            ctc_loss(log_probs, [3], torch.tensor([[1, strange]]), [2])
    with pytest.raises(ShapeError, match="tokens of shape"):
        ctc_loss(log_probs, [3], tokens[0], [3])
    with pytest.raises(LengthsError):
        ctc_loss(log_probs, [4], tokens, [3])
    with pytest.raises(ShapeError, match=r"\(B, T, V\)"):
        greedy(log_probs[0])
    with pytest.raises(DtypeError):
        greedy(tokens[None])
    broken = log_probs.clone()
    broken[0, 1, 2] = torch.nan
    for decode in (greedy, prefix_beam):
        with pytest.raises(DataError, match="frame 1 of 3 holds NaN"):
            decode(broken)
    impossible = torch.full((1, 2, 3), -inf)
    with pytest.raises(DataError, match="frame 0 gives every transcript"):
        prefix_beam(impossible)
