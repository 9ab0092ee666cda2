"""Sampling and beam search against brute force."""

import itertools
import math

import pytest
import torch

from recurra.errors import ConfigError
from recurra.heads.search import BeamSearch, Sampling, beam_search, coverage_penalty, greedy_search


def test_temperature_scales_log_odds() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0]])
    p = Sampling(temperature=0.5).probabilities(logits)[0]
    assert torch.allclose((p[2] / p[1]).log(), torch.tensor(4.0, dtype=torch.float64))
    assert Sampling(temperature=0).probabilities(logits).tolist() == [[0, 0, 1]]


def test_top_k_and_top_p_keep_the_smallest_sets() -> None:
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    cut = Sampling(1.0, top_k=2).probabilities(logits)[0]
    assert torch.allclose(cut, torch.tensor([0, 4 / 7, 0, 3 / 7], dtype=torch.float64), atol=1e-6)
    cut = Sampling(1.0, top_p=0.65).probabilities(logits)[0]  # .4 + .3 is the first sum to reach it
    assert torch.allclose(cut, torch.tensor([0, 4 / 7, 0, 3 / 7], dtype=torch.float64), atol=1e-6)
    assert (Sampling(1.0, top_p=1e-9).probabilities(logits) > 0).sum() == 1


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log().expand(20000, -1)
    drawn = Sampling(1.0).draw(logits, torch.Generator().manual_seed(1))
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert torch.allclose(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.02)
    assert torch.equal(drawn, Sampling(1.0).draw(logits, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0}])
def test_bad_settings(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        Sampling(**bad)


def chain(kinds: int):
    """A Markov chain of order two: the state is the token before."""
    table = torch.randn(kinds, kinds, kinds, generator=torch.Generator().manual_seed(4)).double()

    def step(tokens, state):
        return table[state[0], tokens], (tokens,)

    return table, step


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_wide_beam_is_exact(length: int) -> None:
    kinds = 3
    table, step = chain(kinds)
    logits, state = table[1, 2][None], (torch.tensor([2]),)
    tokens, scores = beam_search(step, logits, state, length, kinds**length)

    def score(path: tuple[int, ...]) -> float:
        before, total = (1, 2), 0.0
        for token in path:
            total += float(table[before].log_softmax(-1)[token])
            before = (before[1], token)
        return total

    everything = sorted(itertools.product(range(kinds), repeat=length), key=score, reverse=True)
    assert sorted(map(tuple, tokens.tolist())) == sorted(everything)
    assert torch.allclose(scores, torch.tensor([score(tuple(path)) for path in tokens.tolist()]).double())
    assert torch.allclose(scores, torch.tensor([score(p) for p in everything], dtype=torch.float64))


def test_a_beam_of_one_is_greedy() -> None:
    table, step = chain(5)
    tokens, _ = beam_search(step, table[0, 0][None], (torch.tensor([0]),), 6, 1)
    before, path = (0, 0), []
    for _ in range(6):
        path.append(int(table[before].argmax()))
        before = (before[1], path[-1])
    assert tokens.tolist() == [path]


# Search over many sources, with an end: each source is a row of a table, and hypotheses carry what they wrote.

END = 0


def sources(count: int, kinds: int, sharp: float = 1.0):
    """Tables of the next token's logits by source, and by the last two tokens; the state is the two tokens."""
    table = torch.randn(count, kinds, kinds, kinds, generator=torch.Generator().manual_seed(7)).double() * sharp
    calls: list[int] = []

    def step(tokens, state, source):
        calls.append(len(tokens))
        own = source.repeat_interleave(len(tokens) // len(source), 0)
        return own[torch.arange(len(tokens)), state[0], tokens], (tokens, state[0])

    def begin(rows=slice(None)):
        own = table[rows]
        state = (torch.full((len(own),), 2), torch.full((len(own),), 1))
        return own[:, 1, 2], state, own

    return table, step, begin, calls


def everything(table: torch.Tensor, longest: int, penalty: float) -> list[tuple[float, tuple[int, ...], bool]]:
    """Every sequence of one source with its score: those that end, and those cut at the longest length."""
    kinds, found = table.shape[0], []

    def grow(path: tuple[int, ...], before: tuple[int, int], nats: float) -> None:
        for token in range(kinds):
            total, n = nats + float(table[before].log_softmax(-1)[token]), len(path) + 1
            if token == END or n == longest:
                written = path if token == END else (*path, token)
                found.append((total / ((5 + n) / 6) ** penalty, written, token == END))
            else:
                grow((*path, token), (before[1], token), total)

    grow((), (1, 2), 0.0)
    return sorted(found, reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("n_best", [1, 4])
def test_a_wide_beam_finds_the_best_of_all_sequences(penalty: float, n_best: int) -> None:
    kinds, longest = 4, [5, 3, 1, 4, 5]
    table, step, begin, _ = sources(5, kinds)
    found = BeamSearch(kinds**5, END, n_best, penalty)(step, *begin(), torch.tensor(longest))
    for own, limit, best in zip(table, longest, found, strict=True):
        expected = everything(own, limit, penalty)[:n_best]
        assert [one.score for one in best] == pytest.approx([score for score, _, _ in expected])
        assert [(tuple(one.tokens), one.ended) for one in best] == [(path, ended) for _, path, ended in expected]
        for one in best:
            n = len(one.tokens) + one.ended
            assert one.nats == pytest.approx(one.score * ((5 + n) / 6) ** penalty)


@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_a_source_finds_the_same_in_any_company(beam: int) -> None:
    _, step, begin, calls = sources(9, 6, 2.0)
    longest, search = torch.arange(9) + 1, BeamSearch(beam, END, 1, 1.0)
    together = search(step, *begin(), longest)
    assert len(set(calls)) > 1, "sources that are done leave the batch"
    for i, best in enumerate(together):
        assert search(step, *begin(slice(i, i + 1)), longest[i : i + 1]) == [best]
    backwards = search(step, *flipped(begin()), longest.flip(0))
    assert backwards == together[::-1]


def flipped(start):
    logits, state, source = start
    return logits.flip(0), tuple(leaf.flip(0) for leaf in state), source.flip(0)


def test_greedy_is_a_beam_of_one() -> None:
    table, step, begin, calls = sources(9, 6, 2.0)
    longest = torch.arange(9) + 1
    greedy = greedy_search(step, *begin(), longest, END)
    assert len(set(calls)) > 1, "rows that have ended leave the batch"
    beams = BeamSearch(1, END)(step, *begin(), longest)
    assert [(one.tokens, one.ended) for one in greedy] == [(best.tokens, best.ended) for (best,) in beams]
    assert [one.nats for one in greedy] == pytest.approx([best.nats for (best,) in beams])
    for own, limit, one in zip(table, longest.tolist(), greedy, strict=True):
        before, path = (1, 2), []
        while len(path) < limit and (token := int(own[before].argmax())) != END:
            before = (before[1], token)
            path.append(token)
        assert one.tokens == path


def test_a_wider_beam_is_not_worse_and_a_length_penalty_lengthens() -> None:
    _, step, begin, _ = sources(30, 8, 1.5)
    longest = torch.full((30,), 8)
    scores = [sum(b[0].score for b in BeamSearch(k, END)(step, *begin(), longest)) for k in (1, 3, 64)]
    assert scores[0] < scores[1] <= scores[2]
    lengths = [
        sum(len(b[0].tokens) for b in BeamSearch(64, END, 1, penalty)(step, *begin(), longest))
        for penalty in (0.0, 1.0, 2.0)
    ]
    assert lengths[0] < lengths[1] < lengths[2]


def test_tokens_without_a_chance_are_never_written() -> None:
    _, step, begin, _ = sources(6, 5)

    def masked(tokens, state, source):
        logits, state = step(tokens, state, source)
        return logits.index_fill(1, torch.tensor([3, 4]), -math.inf), state

    logits, state, source = begin()
    start = logits.index_fill(1, torch.tensor([3, 4]), -math.inf), state, source
    found = BeamSearch(40, END, 40)(masked, *start, torch.full((6,), 3))
    assert all({*one.tokens} <= {1, 2} for best in found for one in best)
    assert {len(best) for best in found} == {1 + 2 + 4 + 8}, "all sequences of two words: ended, or cut after three"


def test_a_bonus_changes_the_ranking() -> None:
    _, step, begin, _ = sources(4, 4)
    plain = BeamSearch(64, END, 1)(step, *begin(), torch.full((4,), 3))

    def bonus(state, source):
        assert len(state[0]) % len(source) == 0
        return torch.where(state[0] == 3, 0.0, -100.0)  # sequences whose last word is 3

    found = BeamSearch(64, END, 1, bonus=bonus)(step, *begin(), torch.full((4,), 3))
    assert all(best[0].tokens[-1 if best[0].ended else -2] == 3 for best in found)
    assert any(a[0].tokens != b[0].tokens for a, b in zip(plain, found, strict=True))


def test_the_coverage_penalty_is_that_of_the_paper() -> None:
    covered = torch.tensor([[0.5, 2.0, 0.0], [1.0, 0.25, 0.0]])
    valid = torch.tensor([[True, True, False]])
    expected = [0.2 * math.log(0.5), 0.2 * math.log(0.25)]
    assert coverage_penalty(0.2, covered, valid).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BeamSearch(0), "beam >= n_best >= 1, got 0 and 1"),
        (lambda: BeamSearch(2, n_best=3), "beam >= n_best >= 1, got 2 and 3"),
        (lambda: BeamSearch(2, length_penalty=-1.0), "a length penalty of 0 or more, got -1.0"),
    ],
)
def test_bad_searches(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
