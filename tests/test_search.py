"""Sampling and beam search against brute force."""

import itertools
import math

import pytest
import torch

from recurra.errors import ConfigError
from recurra.heads.search import Sampling, beam_search


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
