"""Prefix beam search against all paths and all texts, and every cut of a sound against the whole."""

from itertools import pairwise
from math import exp, inf, log

import pytest
import torch
from tests.heads.test_alignment import SIZES, every_path, frames, total
from torch import Tensor

from recurra import tree
from recurra.errors import ConfigError, ShapeError
from recurra.heads.alignment import Decoder, Greedy, PrefixBeam, align, prefix_beam
from recurra.heads.fusion import Free, Guide, Together, TokenFusion, WordFusion
from recurra.heads.lexicon import Lexicon
from recurra.heads.ngrams import NGrams

SPELLINGS = ["", " ", "a", "b"]
LINES = ["a ab b", "ab ab", "b a", "ba ab a"]


def guides() -> list[Guide]:
    letters, words = NGrams.learn(LINES, 3, "characters"), NGrams.learn(LINES, 2, "words")
    lexicon = Lexicon(["a", "ab", "ba"], SPELLINGS)
    fused = WordFusion(words, SPELLINGS, 0.8, 1.5)
    return [TokenFusion(letters, SPELLINGS, 0.7, 0.5), fused, lexicon, Together(lexicon, fused)]


def same(a: object, b: object) -> bool:
    pairs = zip(tree.leaves(a), tree.leaves(b), strict=True)
    return tree.spec(a) == tree.spec(b) and all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize(("time", "kinds"), SIZES)
def test_a_wide_beam_is_exact(time: int, kinds: int) -> None:
    log_probs = frames(time, kinds, seed=3)
    expected = sorted(
        ((total(some), transcript) for transcript, some in every_path(log_probs).items()), reverse=True
    )
    decoder = PrefixBeam(10**6, least=0)
    found = decoder.results(decoder.push(log_probs, decoder.initial()))
    assert [tuple(one.tokens) for one in found] == [transcript for _, transcript in expected]
    assert [one.score for one in found] == pytest.approx([nats for nats, _ in expected])
    sizes = [len(one.tokens) for one in found]
    tokens = torch.zeros(len(found), max(sizes), dtype=torch.long)
    for row, one in zip(tokens, found, strict=True):
        row[: len(one.tokens)] = torch.tensor(one.tokens)
    aligned = align(log_probs.expand(len(found), -1, -1), [time] * len(found), tokens, sizes)
    assert [one.heard for one in found] == [one.heard for one in aligned]


@pytest.mark.parametrize("number", range(4))
def test_a_guided_beam_finds_the_best_of_all_texts(number: int) -> None:
    guide, log_probs = guides()[number], frames(5, 4, seed=number)
    expected = {}
    for transcript, some in every_path(log_probs).items():
        extra = extra_of(guide, transcript)
        if extra > -inf:
            expected[transcript] = total(some) + extra
    decoder = PrefixBeam(10**6, guide, least=0)
    found = decoder.results(decoder.push(log_probs, decoder.initial()))
    assert {tuple(one.tokens): one.score for one in found} == pytest.approx(expected)
    assert found[0].score == max(one.score for one in found)


def extra_of(guide: Guide, transcript: tuple[int, ...]) -> float:
    """What a guide adds to a whole text, by its definition."""
    text = "".join(SPELLINGS[token] for token in transcript)
    if isinstance(guide, TokenFusion):
        return 0.7 * guide.model.log_prob(text) + 0.5 * len(text)
    if isinstance(guide, WordFusion):
        return 0.8 * guide.model.log_prob(text) + 1.5 * len(text.split())
    if isinstance(guide, Lexicon):
        return 0.0 if set(text.split()) <= {"a", "ab", "ba"} else -inf
    return sum(extra_of(one, transcript) for one in guide.guides)


def decoders() -> list[Decoder]:
    return [
        Greedy(),
        PrefixBeam(1),
        PrefixBeam(3),
        PrefixBeam(4, least=0.02),
        PrefixBeam(4, horizon=20),
        *(PrefixBeam(4, guide) for guide in guides()),
    ]


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("cut", [1, 2, 7, 64, 65])
def test_any_cut_gives_the_bits_of_the_whole(number: int, cut: int) -> None:
    decoder, log_probs = decoders()[number], frames(150, 4, seed=number, dtype=torch.float32)
    whole = decoder.push(log_probs, decoder.initial())
    state = decoder.initial()
    for piece in log_probs.split(cut):
        kept = tree.map(torch.clone, state)
        after = decoder.push(piece, state)
        assert same(state, kept), "nothing changes in place"
        state = tree.build(tree.spec(after), tree.leaves(after))  # as from a file
        assert same(decoder.push(piece[:0], state), state)
    assert same(state, whole)
    assert decoder.results(state) == decoder.results(whole)
    assert decoder.result(whole) == decoder.decode(log_probs[None])[0]


@pytest.mark.parametrize("number", range(9))
def test_what_is_settled_stays(number: int) -> None:
    decoder, log_probs = decoders()[number], (4 * frames(200, 4, seed=number)).log_softmax(-1)
    state, settled = decoder.initial(), ()
    for row in log_probs:
        state = decoder.push(row[None], state)
        for now in (decoder.partial(state), decoder.result(state)):
            assert now.heard[: len(settled)] == settled
        partial = decoder.partial(state)
        settled = partial.heard[: partial.settled]
    assert len(settled) > 5
    assert decoder.result(state).heard[: len(settled)] == settled


def test_padding_is_not_read() -> None:
    log_probs = torch.full((3, 9, 4), torch.nan)
    log_probs[0, :5], log_probs[1, :9] = frames(5, 4), frames(9, 4)
    found = prefix_beam(log_probs, [5, 9, 0], beam=4)
    assert found[:2] == [prefix_beam(log_probs[i : i + 1, :t], beam=4)[0] for i, t in ((0, 5), (1, 9))]
    assert found[2] == ((), 0.0, 0)


def sure(text: str) -> Tensor:
    """Frames in which a text is said, a blank after each token."""
    tokens = [number for letter in text for number in (SPELLINGS.index(letter), 0)]
    return (8.0 * torch.nn.functional.one_hot(torch.tensor(tokens), 4)).double().log_softmax(-1)


def test_a_lexicon_leaves_an_unfinished_word_out() -> None:
    decoder = PrefixBeam(2, Lexicon(["ab", "abba"], SPELLINGS))
    state = decoder.push(sure("ab abb"), decoder.initial())
    assert spelled(decoder.partial(state).tokens) == "ab abb"
    assert spelled(decoder.result(state).tokens) in ("ab ab", "ab ")
    alone = PrefixBeam(1, Lexicon(["ab", "abba"], SPELLINGS))
    cut = alone.result(alone.push(sure("ab abb"), alone.initial()))
    assert spelled(cut.tokens) == "ab ab", "what was heard of abba is cut back to a word"


def spelled(tokens: list[int]) -> str:
    return "".join(SPELLINGS[token] for token in tokens)


def test_a_language_model_changes_what_is_heard() -> None:
    log_probs = sure("ab a")
    log_probs[2] = torch.tensor([0.02, 0.02, 0.48, 0.48]).log()  # a or b
    letters = NGrams.learn(["ab a"] * 5 + ["aa b"], 3, "characters")
    without, fused = PrefixBeam(8), PrefixBeam(8, TokenFusion(letters, SPELLINGS, 1.0))
    assert spelled(fused.decode(log_probs[None])[0].tokens) == "ab a"
    likely = NGrams.learn(["aa a"] * 5 + ["ab b"], 3, "characters")
    other = PrefixBeam(8, TokenFusion(likely, SPELLINGS, 1.0))
    assert spelled(other.decode(log_probs[None])[0].tokens) == "aa a"
    assert without.decode(log_probs[None])[0].score > log(0.4)


def test_least_and_beam_only_leave_out() -> None:
    log_probs = frames(7, 4, seed=5)
    exact = PrefixBeam(10**6, least=0).decode(log_probs[None])[0].score
    narrow, cut = PrefixBeam(2, least=0), PrefixBeam(10**6, least=0.2)
    assert narrow.decode(log_probs[None])[0].score <= exact
    assert cut.decode(log_probs[None])[0].score < exact
    assert exp(exact) < 1


def test_the_memory_of_an_endless_sound_does_not_grow() -> None:
    unsure = frames(512, 4, seed=6)
    sizes = {}
    for horizon in (0, 40):
        decoder = PrefixBeam(8, horizon=horizon)
        state, found = decoder.initial(), []
        for piece in unsure.split(32):
            state = decoder.push(piece, state)
            found.append(len(state.marks))
        sizes[horizon] = max(found[8:])
        heard = decoder.result(state).heard
        assert all(a.end <= b.begin for a, b in pairwise(heard))
        assert all(one.begin < one.end for one in heard)
    assert sizes[40] < sizes[0] / 2


def test_a_token_that_is_held_longer_than_the_horizon_is_one_token() -> None:
    held = torch.tensor([0.4, 0.1, 0.4, 0.1]).log().expand(200, 4).double()
    held = torch.cat([sure("a"), held, sure("b")])
    for beam in (1, 2, 8):
        found = PrefixBeam(beam, horizon=10).decode(held[None])[0].heard
        assert all(a.end <= b.begin for a, b in pairwise(found))
        assert found[-1].begin == 202


def test_leaving_out_what_cannot_win_changes_nothing() -> None:
    class Unbounded(Together):
        def __init__(self, guide: Guide) -> None:
            super().__init__(guide)
            self.most = inf

    for number, guide in enumerate([Free(), *guides()]):
        log_probs = frames(60, 4, seed=number)[None]
        for beam in (2, 5):
            bounded, asked = PrefixBeam(beam, guide), PrefixBeam(beam, Unbounded(guide))
            assert bounded.decode(log_probs) == asked.decode(log_probs)


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="beam >= 1"):
        PrefixBeam(0)
    with pytest.raises(ConfigError, match="least"):
        PrefixBeam(4, least=1.0)
    with pytest.raises(ConfigError, match="horizon"):
        PrefixBeam(4, horizon=-1)
    with pytest.raises(ShapeError, match=r"log_probs \(t, 4\) as the guide knows 4 tokens, got \(9, 5\)"):
        PrefixBeam(4, guides()[3]).decode(frames(9, 5)[None])
    with pytest.raises(ConfigError, match="weight of 0 or more"):
        TokenFusion(NGrams.learn(LINES), SPELLINGS, -0.1)
