"""Classifiers that begin as language models: the same hidden states, and a thaw from the top down."""

from pathlib import Path

import pytest
import torch

from recurra.errors import ConfigError
from recurra.layers import GRU
from recurra.run.fit import Fit
from recurra.tasks import LanguageModel, TextClassifier
from recurra.tasks.classify import TextClassifierConfig, TextData, TextNet
from recurra.tasks.language_model import LanguageData, LanguageModelConfig, LanguageNet
from recurra.tasks.pretrained import Features
from recurra.testing import check_layer

LINES = [f"{'good' if i % 3 else 'bad'} a {'fine' if i % 3 else 'poor'} book number {i % 7}" for i in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled lines, and a language model of their words in each direction."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "books.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (folder / "text.txt").write_text("\n".join(line.partition(" ")[2] for line in LINES * 4), encoding="utf-8")
    for name, backwards in (("ahead", False), ("back", True)):
        data = LanguageData(str(folder / "text.txt"), "words", batch=4, window=8, backwards=backwards)
        net = LanguageNet(layer="gru", hidden=6, depth=2, embedding=5, tied=False, dropout=0.1)
        model = LanguageModel(LanguageModelConfig(data, net))
        model.fit(folder / name, Fit(steps=4, evaluate_every=4, warmup=1), quiet=True)
    return folder


def classifier(folder: Path, both: bool, **net: object) -> TextClassifier:
    runs = {"init_from": str(folder / "ahead")} | ({"init_from_backwards": str(folder / "back")} if both else {})
    settings = {"bidirectional": both, "dropout": 0.0, "pooling": "last+max+mean", "recurrent_dropout": 0.1}
    data = TextData(path=str(folder / "books.txt"), batch=8, split=(0.6, 0.2, 0.2))
    return TextClassifier(TextClassifierConfig(data, TextNet(**(settings | runs | net))))


def begun(folder: Path, both: bool) -> TextClassifier:
    """A classifier before its first step."""
    model = classifier(folder, both)
    model.data()
    model.trained = model.network()
    model.begin(model.trained)
    return model


@pytest.mark.parametrize("both", [False, True])
@torch.no_grad()
def test_it_reads_as_the_language_models_do(folder: Path, both: bool) -> None:
    model, text = begun(folder, both), "a fine book"
    numbers = model.pieces(text)[None]
    network = model.ready()
    y, _ = network.layers(network.embed(numbers))
    ahead = LanguageModel.load(folder / "ahead")
    assert model.learned()["tokens"] == ahead.learned()
    expected = ahead.hidden_states(text)
    if both:
        back = LanguageModel.load(folder / "back").hidden_states(text)
        expected = torch.cat([expected, back.flip(0)], 1)
    assert torch.allclose(y[0], expected, atol=1e-6)


def test_sizes_and_tokens_are_those_of_the_run_and_are_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    model = begun(folder, True)
    net = model.config.model
    assert (net.layer, net.hidden, net.depth, net.embedding) == ("gru", 6, 2, 10)
    assert "words, layer gru, hidden 6, depth 2, embedding 10" in capsys.readouterr().err


@pytest.mark.parametrize("both", [False, True])
def test_layers_thaw_from_the_top_down(folder: Path, both: bool) -> None:
    model = begun(folder, both)
    parts = model.parts(model.ready())
    assert list(parts) == ["0", "1", "2", "3"]
    named = [parameter for part in parts.values() for parameter in part]
    assert sorted(map(id, named)) == sorted(map(id, model.ready().parameters()))
    top, bottom = (dict(model.ready().layers.named_parameters()), parts["3"])
    assert bottom == [model.ready().embed.table.weight]
    assert {id(p) for p in parts["1"]} | {id(p) for p in parts["2"]} == {id(p) for p in top.values()}
    assert [model.pace(part, 0.0) > 0 for part in parts] == [True, False, False, False]
    assert [model.pace(part, 0.34) > 0 for part in parts] == [True, True, True, False]
    assert [model.pace(part, 0.5) for part in parts] == [2.6**-i for i in range(4)]


def test_members_begin_alike_and_decide_each_for_itself(folder: Path) -> None:
    model = classifier(folder, True, members=2)
    model.data()
    network = model.network()
    model.begin(network)
    one, two = network.eval().members
    x = model.pieces("a fine book")[None]
    assert one.layers(one.embed(x))[0].equal(two.layers(two.embed(x))[0])
    assert not one.output.weight.equal(two.output.weight)
    named = [id(parameter) for part in model.parts(network).values() for parameter in part]
    assert sorted(named) == sorted(id(parameter) for parameter in network.parameters())


def test_it_trains_resumes_and_loads_without_the_language_models(folder: Path, tmp_path: Path) -> None:
    model = classifier(folder, True, thaw=0.25)
    model.fit(tmp_path / "run", Fit(steps=8, evaluate_every=4, learning_rate=0.02, warmup=1), quiet=True)
    kept = LanguageModel.load(folder / "ahead").ready().embedding.weight
    moved = model.ready().embed.table.weight[:, :5]
    assert not torch.equal(kept, moved)
    assert torch.allclose(kept, moved, atol=0.02), "the embedding learns late and slowly"
    away = [(folder / name).rename(folder / f"{name}.away") for name in ("ahead", "back")]
    try:
        again = TextClassifier.load(tmp_path / "run")
        assert again.predict("a fine book") == model.predict("a fine book")
        longer = Fit(steps=10, evaluate_every=5, learning_rate=0.02, warmup=1)
        assert again.fit(tmp_path / "run", longer, resume=True, quiet=True).step == 10
        fresh = TextClassifier(model.config)
        assert fresh.fit(tmp_path / "run", Fit(steps=12, evaluate_every=6), resume=True, quiet=True).step == 12
    finally:
        for path in away:
            path.rename(path.with_suffix(""))


def test_language_models_that_do_not_fit(folder: Path) -> None:
    model = classifier(folder, True, init_from=str(folder / "back"))
    model.quiet = True
    with pytest.raises(
        ConfigError, match=r"model\.init_from: expected a language model with data\.backwards=false"
    ):
        model.data()
    model = classifier(folder, True, init_from_backwards=str(folder / "ahead"))
    model.quiet = True
    with pytest.raises(ConfigError, match=r"data\.backwards=true; .*ahead is not"):
        model.data()


def test_a_layer_of_some_features_keeps_the_laws() -> None:
    check_layer(lambda: Features(GRU(3, 4), 2, 6))
