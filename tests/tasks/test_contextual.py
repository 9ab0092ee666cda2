"""Contextual string embeddings: against the language model read a character at a time, and inside a tagger."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recurra.data.conll import Sentence, write_conll
from recurra.data.text import TOKENS
from recurra.errors import ConfigError
from recurra.run.fit import Fit
from recurra.tasks import LanguageModel, Tagger
from recurra.tasks.contextual import ContextualWords
from recurra.tasks.language_model import LanguageData, LanguageModelConfig, LanguageNet
from recurra.tasks.tag import TagConfig, TagData, TagNet

TEXT = "Anna lives in Paris.\nBoris works in New Oslo, he says. \n" * 3


def language_model(backwards: bool = False, tokens: str = "characters", **net: object) -> LanguageModel:
    settings = {"hidden": 6, "depth": 2, "dropout": 0.3} | net
    model = LanguageModel(
        LanguageModelConfig(LanguageData(backwards=backwards, tokens=tokens), LanguageNet(**settings))
    )
    model.tokens = TOKENS[tokens].learn(TEXT, 0)
    torch.manual_seed(int(backwards))
    model.trained = model.network().eval()
    for parameter in model.trained.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


@torch.no_grad()
def by_characters(model: LanguageModel, text: str) -> list[torch.Tensor]:
    """The outputs of each recurrent layer after each character of a text, read step by step."""
    network, found = model.ready(), []
    state = network.layers.initial_state(1, network.embedding.weight)
    for number in model.tokens.encode(text):
        x, after, outputs = network.embedding(torch.tensor([number])), [], []
        for layer, branch in zip(network.layers, state, strict=True):
            x, branch = layer.step(x, branch)
            after.append(branch)
            outputs.append(x[0])
        state = tuple(after)
        found.append(torch.stack([outputs[1], outputs[3]]))  # behind the layers, not behind the dropouts
    return found


@pytest.mark.parametrize("joiner", [" ", ""])
def test_words_are_states_at_their_ends(joiner: str) -> None:
    models = [language_model(), language_model(backwards=True)]
    sentences = [("Anna", "in", "New", "Oslo"), ("Paris",), ("he", ",", "é王")]
    found = ContextualWords(models, joiner)(sentences)
    for words, states in zip(sentences, found, strict=True):
        text = joiner.join(words)
        ahead, back = by_characters(models[0], "\n" + text), by_characters(models[1], "\n" + text[::-1])
        assert states.shape == (len(words), 2, 12)
        begin = 0
        for row, word in zip(states.float(), words, strict=True):
            end = begin + len(word)
            assert torch.allclose(row[:, :6], ahead[end], atol=2e-3), "after its last character"
            assert torch.allclose(row[:, 6:], back[len(text) - begin], atol=2e-3), "before its first character"
            begin = end + len(joiner)


def test_a_sentence_does_not_depend_on_others() -> None:
    words = ContextualWords([language_model(), language_model(backwards=True)])
    sentences = [("Anna",), ("in", "New", "Oslo", ","), ("he", "says")]
    for sentence, states in zip(sentences, words(sentences), strict=True):
        assert torch.allclose(words([sentence])[0].float(), states.float(), atol=2e-3)


def test_words_one_by_one_equal_the_sentence() -> None:
    words = ContextualWords([language_model(), language_model(hidden=5)])
    sentence, state = ("Anna", "lives", "in", "Oslo"), None
    for token, expected in zip(sentence, words([sentence])[0], strict=True):
        states, state = words.step(token, state)
        assert torch.allclose(states.float(), expected.float(), atol=2e-3)


def test_models_that_cannot_read_words() -> None:
    with pytest.raises(ConfigError, match="expected language models of characters, got one of words"):
        ContextualWords([language_model(tokens="words")])
    with pytest.raises(ConfigError, match=r"the same depth, got \[1, 2\]"):
        ContextualWords([language_model(), language_model(depth=1)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three parts, and two language models in runs."""
    sentences = [
        Sentence(("Anna", "lives", "in", "Paris"), ("B-PER", "O", "O", "B-LOC")),
        Sentence(("New", "Oslo", "says", "Boris"), ("B-LOC", "I-LOC", "O", "B-PER")),
    ]
    (tmp_path / "data").mkdir()
    for part in ("train", "valid", "test"):
        write_conll(tmp_path / "data" / f"{part}.conll", sentences * 4)
    for name, backwards in (("forward", False), ("backward", True)):
        language_model(backwards).save(tmp_path / name)
    return tmp_path


NET = TagNet(words=0, characters="none", hidden=12, dropout=0.0, projection=8)


@pytest.mark.parametrize(("layers", "bidirectional"), [("last", True), ("mix", False)])
def test_a_tagger_keeps_its_language_models(folder: Path, layers: str, bidirectional: bool) -> None:
    names = ("forward", "backward") if bidirectional else ("forward",)
    net = replace(
        NET,
        language_models=tuple(str(folder / name) for name in names),
        language_layers=layers,
        bidirectional=bidirectional,
    )
    tagger = Tagger(TagConfig(TagData(path=str(folder / "data"), batch=4), net))
    fit = Fit(steps=60, learning_rate=0.03, warmup=5, evaluate_every=30, average=0.9)
    assert tagger.fit(folder / "run", fit, quiet=True).best == 1.0
    frozen = language_model().ready().state_dict()
    for name, value in tagger.ready().language[0].state_dict().items():
        assert torch.equal(value, frozen[name]), "a language model does not learn"
    answer = tagger.predict("Anna lives in Paris")
    for name in names:
        (folder / name).rename(folder / f"away-{name}")
    again = Tagger.load(folder / "run")
    assert again.predict("Anna lives in Paris") == answer
    assert again.evaluate("test") == tagger.evaluate("test")
    if not bidirectional:
        stream = again.stream()
        assert [stream.push(token).tag for token in ("Anna", "lives")] == ["S-PER", "O"]
        stream.save(folder / "memory.safetensors")
        other = again.stream()
        other.load(folder / "memory.safetensors")
        assert other.push("in") == stream.push("in")


def test_states_are_computed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = replace(NET, language_models=(str(folder / "forward"),))
    tagger = Tagger(TagConfig(TagData(path=str(folder / "data"), batch=4), net))
    data = tagger.data()
    calls = []
    read = ContextualWords.__call__
    monkeypatch.setattr(ContextualWords, "__call__", lambda self, s: calls.append(len(s)) or read(self, s))
    for number in range(3):
        batches = [*data.train.epoch(number), *data.valid.epoch(number)]
        assert all(batch.contextual.shape[2:] == (2, 6) for batch in batches)
    assert calls == [8, 8], "each part once, the test part not at all"


def test_a_model_that_reads_backwards_is_no_help_to_a_causal_tagger(folder: Path) -> None:
    net = replace(NET, language_models=(str(folder / "backward"),), bidirectional=False)
    with pytest.raises(ConfigError, match="one of them reads backwards"):
        Tagger(TagConfig(TagData(path=str(folder / "data")), net)).data()
