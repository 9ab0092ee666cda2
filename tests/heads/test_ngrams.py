"""N-grams against the formulas of Chen and Goodman, written down again and slowly; recurrent models; lexicons."""

import json
from itertools import product
from math import exp, inf, log

import pytest
import torch

from recurra import GRU, tree
from recurra.errors import ConfigError, DataError
from recurra.heads.fusion import Free, Together, TokenFusion, WordFusion
from recurra.heads.lexicon import Lexicon
from recurra.heads.ngrams import NGrams
from recurra.heads.recurrent_model import RecurrentModel

SPELLINGS = ["", " ", "a", "b"]
SENTENCES = ["a b c", "a b", "b c a b", "c", "a b c d", "d a b", "", "b b b a", "c a b a", "a c b e", "f a", "a"]


def random_lines(seed: int, kinds: int = 9, lines: int = 80) -> list[str]:
    random = torch.Generator().manual_seed(seed)
    p = 1 / torch.arange(1, kinds + 1).double()
    drawn = torch.multinomial(p.expand(lines, -1), 8, replacement=True, generator=random)
    return [" ".join("abcdefghijklmn"[k] for k in row[: 1 + i % 8]) for i, row in enumerate(drawn.tolist())]


class Slow:
    """p(w | h) by the definition: counts are taken from the text each time, and nothing is stored."""

    def __init__(self, lines: list[str], order: int) -> None:
        self.rows = [["<s>", *line.split(), "</s>"] for line in lines if line.split()]
        self.order = order
        self.kinds = len({w for row in self.rows for w in row} - {"<s>"}) + 1  # and the unknown
        self.counts = [self.adjusted(k) for k in range(order + 1)]
        self.discounts = [None, *(self.discount(k) for k in range(1, order + 1))]

    def grams(self, size: int) -> list[tuple[str, ...]]:
        return [tuple(row[i : i + size]) for row in self.rows for i in range(len(row) - size + 1)]

    def adjusted(self, size: int) -> dict[tuple[str, ...], int]:
        grams, longer = self.grams(size), set(self.grams(size + 1))
        found = {}
        for gram in set(grams) - {("<s>",), ()}:
            raw = size == self.order or gram[0] == "<s>"
            found[gram] = grams.count(gram) if raw else sum(one[1:] == gram for one in longer)
        return found

    def discount(self, size: int) -> list[float]:
        n = [sum(c == k for c in self.counts[size].values()) for k in range(5)]
        if 0 in n[1:4]:
            return [0, 0.5, 1, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return found if all(0 < found[k] <= k for k in (1, 2, 3)) else [0, 0.5, 1, 1.5]

    def p(self, word: str, context: tuple[str, ...]) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        size = len(context) + 1
        after = {gram: c for gram, c in self.counts[size].items() if gram[:-1] == context}
        lower = self.p(word, context[1:]) if context else 1 / self.kinds
        if not after:
            return lower
        cut = self.discounts[size]
        count = after.get((*context, word), 0)
        left = sum(cut[min(c, 3)] for c in after.values()) / sum(after.values())
        return (count - cut[min(count, 3)]) / sum(after.values()) + left * lower

    def log_prob(self, line: str) -> float:
        row = ["<s>", *line.split(), "</s>"]
        return sum(log(self.p(word, tuple(row[:i]))) for i, word in enumerate(row) if i)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("lines", [SENTENCES, random_lines(1), random_lines(2, 5), ["a"]], ids="abcd")
def test_probabilities_are_those_of_the_definition(order: int, lines: list[str]) -> None:
    model, slow = NGrams.learn(lines, order), Slow(lines, order)
    for line in [*lines[:12], "a z b", "z", "", "e f a c b d a a", "b a z z a b c"]:
        assert model.log_prob(line) == pytest.approx(slow.log_prob(line), rel=1e-12)
    assert [list(one) for one in model.discounts] == [pytest.approx(one[1:]) for one in slow.discounts[1:]]


def test_some_discounts_are_estimated_and_some_are_not() -> None:
    found = NGrams.learn(random_lines(1), 3).discounts
    assert found[2] != (0.5, 1.0, 1.5)
    assert found[0] == (0.5, 1.0, 1.5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_what_may_follow_has_probability_one(order: int) -> None:
    model = NGrams.learn(random_lines(3), order)
    for units in product(["a", "b", "zebra"], repeat=2):
        _, state = model.score(model.initial(), " ".join(units))
        p = [exp(model.score(state, unit)[0]) for unit in [*model.vocabulary, "unheard"]]
        assert sum(p) + exp(model.finish(state)) == pytest.approx(1)


def test_characters_are_units_with_their_spaces() -> None:
    lines = ["ab ba", "a b", "bb"]
    model = NGrams.learn(lines, 3, "characters")
    spelled = NGrams.learn([" ".join(line.replace(" ", "_")) for line in lines], 3)
    assert model.vocabulary == [" ", "a", "b"]
    assert model.log_prob("a bb") == pytest.approx(spelled.log_prob("a _ b b"))
    nats, state = model.score(model.initial(), "ab")
    first, then = model.score(model.initial(), "a")
    assert (nats, state) == (pytest.approx(first + model.score(then, "b")[0]), model.score(then, "b")[1])


def test_perplexity_counts_the_ends() -> None:
    model = NGrams.learn(["a b", "b"], 2)
    assert model.perplexity(["a b", "b"]) == pytest.approx(exp(-(model.log_prob("a b") + model.log_prob("b")) / 5))


def test_what_was_learned_goes_through_json() -> None:
    model = NGrams.learn(random_lines(4), 3)
    again = NGrams.relearn(json.loads(json.dumps(model.learned(), allow_nan=False)))
    assert again.entries == model.entries
    assert (again.units, again.order, again.discounts) == (model.units, model.order, model.discounts)
    assert again.log_prob("a b z a") == model.log_prob("a b z a")


def test_mistakes_are_named() -> None:
    with pytest.raises(DataError, match="expected lines"):
        NGrams.learn(["", " "])
    with pytest.raises(DataError, match="at least one line"):
        NGrams.learn(["a"]).perplexity([])
    for order, units in ((0, "words"), (2, "syllables")):
        with pytest.raises(ConfigError, match="order >= 1 and units of words, characters"):
            NGrams.learn(["a"], order, units)
    with pytest.raises(ConfigError, match="at least one word"):
        Lexicon([], SPELLINGS)
    for word in ("c", "a b", ""):
        with pytest.raises(DataError, match=f"got {word!r}"):
            Lexicon(["a", word], SPELLINGS)
    with pytest.raises(ConfigError, match="'' for the blank"):
        TokenFusion(NGrams.learn(["a"]), ["a", "b"])
    with pytest.raises(ConfigError, match="at least one guide"):
        Together()
    with pytest.raises(ConfigError, match=r"same tokens, got \[4, 3\]"):
        Together(Lexicon(["a"], SPELLINGS), Lexicon(["a"], SPELLINGS[:3]))
    with pytest.raises(ConfigError, match="begin to be at least one token"):
        RecurrentModel(Network().step, lambda text: [])


class Network:
    """A tiny character model over "\\n", " ", a and b, with random weights."""

    letters = "\n ab"

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.embedding, self.layer, self.output = torch.nn.Embedding(4, 3), GRU(3, 6), torch.nn.Linear(6, 4)
        self.rows: list[int] = []

    def step(self, tokens: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        self.rows.append(len(tokens))
        y, state = self.layer.step(self.embedding(tokens), state)
        return 3 * self.output(y), state

    def encode(self, text: str) -> list[int]:
        return [self.letters.index(letter) for letter in text]

    @torch.no_grad()
    def log_prob(self, text: str) -> float:
        """All at once."""
        numbers = torch.tensor(self.encode("\n" + text + "\n"))
        y, _ = self.layer(self.embedding(numbers[:-1])[None])
        return float((3 * self.output(y[0])).log_softmax(-1).gather(1, numbers[1:, None]).sum())


def test_a_recurrent_model_scores_as_its_network_does() -> None:
    network = Network()
    model = RecurrentModel(network.step, network.encode)
    for text in ("", "a", "ab a", "b b"):
        state, nats = model.initial(), 0.0
        for letter in text:
            more, state = model.score(state, letter)
            nats += more
        assert nats + model.finish(state) == pytest.approx(network.log_prob(text), abs=1e-5)
        whole, end = model.score(model.initial(), text)
        assert whole + model.finish(end) == pytest.approx(network.log_prob(text), abs=1e-5)


def test_a_recurrent_model_reads_all_texts_in_one_step() -> None:
    network = Network()
    model = RecurrentModel(network.step, network.encode)
    states = [model.score(model.initial(), letter)[1] for letter in " ab"]
    network.rows.clear()
    ready = model.ready([states[0], model.initial(), *states[1:]])
    assert network.rows == [1, 3]
    assert model.ready(ready) == ready
    assert network.rows == [1, 3]
    for one, state in zip([ready[0], *ready[2:]], states, strict=True):
        assert model.finish(one) == pytest.approx(model.finish(state), abs=1e-6)


@pytest.mark.parametrize("number", range(6))
def test_states_come_back_from_tensors(number: int) -> None:
    network, words = Network(), NGrams.learn(["ab b", "b a ab"], 2)
    letters = RecurrentModel(network.step, network.encode)
    guide = [
        Free(),
        Lexicon(["ab", "b"], SPELLINGS),
        WordFusion(words, SPELLINGS),
        TokenFusion(letters, SPELLINGS),
        WordFusion(letters, SPELLINGS),
        Together(Lexicon(["ab", "b"], SPELLINGS), TokenFusion(NGrams.learn(["ab"], 4, "characters"), SPELLINGS)),
    ][number]
    states = [guide.initial()]
    for token in (2, 3, 1, 3):
        step = guide.follow(*guide.ready(states[-1:]), token)
        assert step is not None
        states.append(step[1])
    states = guide.ready(states)
    packed = guide.pack(states)
    assert all(len(leaf) == len(states) for leaf in tree.leaves(packed))
    for one, again in zip(states, guide.unpack(tree.map(torch.clone, packed)), strict=True):
        assert guide.finish(again) == guide.finish(one)
        assert follow(guide, again) == follow(guide, one)


def follow(guide: object, state: object) -> list[float | None]:
    steps = [guide.follow(state, token) for token in (1, 2, 3)]
    return [None if step is None else step[0] for step in steps]


def test_a_lexicon_allows_its_words() -> None:
    spellings = ["", " ", "a", "b", "ab", "b a"]
    lexicon = Lexicon(["ab", "b", "abba"], spellings)

    def ends(*tokens: int) -> float | None:
        state = lexicon.initial()
        for token in tokens:
            step = lexicon.follow(state, token)
            if step is None:
                return None
            state = step[1]
        return lexicon.finish(state)

    assert [ends(), ends(2, 3), ends(4), ends(3, 1, 4), ends(4, 1), ends(4, 5, 3)] == [0, 0, 0, 0, 0, None]
    assert [ends(2), ends(4, 3), ends(2, 5)] == [-inf, -inf, -inf]
    assert [ends(2, 2), ends(2, 1), ends(3, 3)] == [None, None, None]
