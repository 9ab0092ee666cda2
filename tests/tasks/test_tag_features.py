"""Features of tokens: words and characters against plain loops, one word at a time."""

import json
from dataclasses import replace

import pytest
import torch
from tests.tasks.test_tag import SMALL, batch_of, sentences, untrained

from recurra.data.conll import Sentence
from recurra.errors import RunError
from recurra.tasks.tag_features import CharacterCNN, CharacterLSTM, LayerMix, Projection
from recurra.tasks.tag_vocabulary import TagRows, TagVocabulary, neighbours, plain, shape


def test_words_and_shapes() -> None:
    assert [plain(t) for t in ("Paris", "B2B-2014", "ÉCOLE")] == ["paris", "b0b-0000", "école"]
    assert [shape(t) for t in ("Paris", "McDonald's", "U.S.", "2014-05", "x" * 90)] == [
        "Xx",
        "XxXx'x",
        "X.X.",
        "0-0",
        "x",
    ]
    assert neighbours(["A", "b"]) == ["\n a", "a b", "b \n"]


def test_the_vocabulary_keeps_the_unknown_at_zero() -> None:
    found = TagVocabulary.learn([Sentence(("Aa", "aa", "Bq"), ("O", "B-X", "O"))], ["more"], pairs=True)
    assert found.words == ("", "aa", "bq", "more")
    assert found.shapes == ("", "Xx"), "the shape x stands once"
    assert found.characters == ("", "a")
    assert found.pairs == ("",)
    assert found.tags("BIOES") == ["O", "B-X", "I-X", "E-X", "S-X"]
    assert TagVocabulary.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(RunError, match="vocabulary is broken"):
        TagVocabulary.from_dict({"kinds": []})


def test_a_batch_holds_each_distinct_word_once() -> None:
    tagger = untrained(replace(SMALL, pairs=4))
    found = [*sentences(3), Sentence(("Anna", "ate", "x" * 50 + "y" * 50), ("O", "O", "O"))]
    batch = batch_of(tagger, found)
    ordered = sorted(found, key=lambda s: len(s.tokens))
    assert len(batch.words) == len({token for s in found for token in s.tokens})
    numbers = tagger.vocabulary.numbers
    for row, sentence in enumerate(ordered):
        for t, token in enumerate(sentence.tokens):
            at = batch.place[row, t]
            assert batch.words[at] == numbers["words"].get(plain(token), 0)
            assert batch.shapes[at] == numbers["shapes"].get(shape(token), 0)
            read = token if len(token) < 40 else token[:20] + token[-20:]
            assert batch.characters[at, : batch.spelled[at]].tolist() == [
                numbers["characters"].get(c, 0) for c in read
            ]
        pairs = [numbers["pairs"].get(pair, 0) for pair in neighbours(sentence.tokens)]
        assert batch.pairs[row, : len(pairs)].tolist() == pairs


def test_what_is_rare_is_unknown_by_chance_in_training_only() -> None:
    found = [Sentence(("often",) * 9 + ("Once",), ("O",) * 10)]
    vocabulary = replace(TagVocabulary.learn(found), pairs=("", "often often", "often once"))
    rows = TagRows(found, vocabulary, "BIO", unknown=1.0)
    epochs = [rows.batches(1, "rows", True).epoch(number)[0] for number in range(2000)]
    shares = (torch.stack([batch.words for batch in epochs]) == 0).float().mean(0).tolist()
    assert shares == pytest.approx([0.1, 0.5], abs=0.04)
    pairs = (torch.stack([batch.pairs[0] for batch in epochs]) == 0).float().mean(0).tolist()
    assert pairs == pytest.approx([1.0, *[1 / 9] * 8, 0.5, 1.0], abs=0.04)
    again = rows.batches(1, "rows", True).epoch(7)[0]
    assert torch.equal(again.words, epochs[7].words), "a resumed run sees the same"
    held_out = TagRows(found, vocabulary, "BIO").batches(1, "rows")
    assert all((held_out.epoch(n)[0].words > 0).all() for n in range(50))
    assert all((held_out.epoch(n)[0].pairs[0, 1:-1] > 0).all() for n in range(50))


@torch.no_grad()
def test_the_character_cnn_equals_a_convolution_a_word_at_a_time() -> None:
    torch.manual_seed(0)
    cnn = CharacterCNN(9, 4, 6)
    characters, lengths = torch.randint(9, (5, 7)), torch.tensor([1, 7, 3, 2, 5])
    found = cnn(characters, lengths)
    weight = cnn.filters.weight.view(6, 3, 4).transpose(1, 2)
    for row, length in enumerate(lengths.tolist()):
        e = cnn.embedding(characters[row, :length]).T[None]
        y = torch.nn.functional.conv1d(e, weight, cnn.filters.bias, padding=1).amax(2).tanh()
        assert torch.allclose(found[row], y[0], atol=1e-6)


@torch.no_grad()
def test_the_character_lstm_equals_torch_a_word_at_a_time() -> None:
    torch.manual_seed(0)
    reader = CharacterLSTM(9, 4, 6)
    characters, lengths = torch.randint(9, (4, 6)), torch.tensor([1, 6, 3, 2])
    found = reader(characters, lengths)
    for row, length in enumerate(lengths.tolist()):
        e = reader.embedding(characters[row : row + 1, :length])
        ahead, back = reader.layer.ahead(e)[0][0, -1], reader.layer.back(e.flip(1))[0][0, -1]
        assert torch.allclose(found[row], torch.cat([ahead, back]), atol=1e-6)


def test_a_mix_of_layers_begins_as_their_mean() -> None:
    mix, x = LayerMix(3), torch.randn(2, 4, 3, 5)
    assert torch.allclose(mix(x), x.mean(2), atol=1e-6)


@torch.no_grad()
def test_a_projection_moves_as_far_whatever_its_inputs() -> None:
    torch.manual_seed(0)
    for size in (16, 4096):
        layer, x = Projection(size, 3), torch.randn(50, size)
        assert layer(x).std() == pytest.approx(1, abs=0.25)
        before = layer(x)
        layer.weight += 0.01 * x[0].sign()  # the farthest that a step of Adam can go
        moved = (layer(x) - before)[0].tolist()
        assert moved == pytest.approx([0.01 * float(x[0].abs().sum()) / size**0.5] * 3, rel=0.01)
