"""The language model against brute force: one token at a time, by its own equations."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recurra.data.windows import Window
from recurra.errors import ConfigError, DataError, RunError, StateError
from recurra.heads.search import Sampling
from recurra.run.fit import Fit
from recurra.tasks import LanguageModel
from recurra.tasks.language_model import LanguageData, LanguageModelConfig, LanguageNet

TEXT = "the quick brown fox jumps over the lazy dog\n" * 40


def untrained(path: Path, layer: str = "lstm", tokens: str = "characters", **net: object) -> LanguageModel:
    """A model with random weights that knows the tokens of TEXT."""
    (path / "t.txt").write_text(TEXT, encoding="utf-8")
    data = LanguageData(text=str(path / "t.txt"), tokens=tokens, batch=2, window=8, split=(0.8, 0.1, 0.1))
    settings = {"hidden": 10, "depth": 2, "layer": layer} | net
    model = LanguageModel(LanguageModelConfig(data, LanguageNet(**settings)))
    model.data()
    torch.manual_seed(5)
    model.trained = model.network().eval()
    return model


@torch.no_grad()
def step_by_step(model: LanguageModel, numbers: list[int]) -> list[torch.Tensor]:
    """Log probabilities after each token, by `step` alone."""
    network, state, found = model.ready(), None, []
    for number in numbers:
        logits, state = network.step(torch.tensor([number]), state)
        found.append(logits[0].log_softmax(-1))
    return found


@pytest.mark.parametrize("layer", ["rnn", "lstm", "gru", "peephole_lstm", "layer_norm_lstm"])
@pytest.mark.filterwarnings("ignore::recurra.PerformanceWarning")
@torch.no_grad()
def test_measure_equals_step_by_step(tmp_path: Path, layer: str) -> None:
    model = untrained(tmp_path, layer)
    windows = model.data().test
    assert windows.batch > 1
    length = -(-(len(windows.tokens) - 1) // windows.batch)
    total = 0.0
    for row in range(windows.batch):
        numbers = windows.tokens[row * length : (row + 1) * length + 1].tolist()
        chances = step_by_step(model, numbers[:-1])
        total -= sum(float(p[n]) for p, n in zip(chances, numbers[1:], strict=True))
    measured = model.measure(model.ready(), windows)
    count = len(windows.tokens) - 1
    assert measured["loss"] == pytest.approx(total / count, rel=1e-5)
    assert measured["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)
    assert measured["bits_per_character"] == pytest.approx(total / count / math.log(2), rel=1e-5)


@torch.no_grad()
def test_carry_makes_windows_one_sequence(tmp_path: Path) -> None:
    model = untrained(tmp_path)
    network, tokens = model.ready(), torch.randint(0, 20, (3, 17))
    whole, count, _ = model.loss(network, Window(tokens[:, :-1], tokens[:, 1:]), None)
    total, carry = 0.0, None
    for begin, end in ((0, 5), (5, 6), (6, 16)):
        part, _, carry = model.loss(network, Window(tokens[:, begin:end], tokens[:, begin + 1 : end + 1]), carry)
        total += float(part)
    assert count == 48
    assert total == pytest.approx(float(whole), rel=1e-5)


def test_some_rows_forget_in_training_only(tmp_path: Path) -> None:
    model = untrained(tmp_path, dropout=0.0)
    network, tokens = model.ready(), torch.randint(0, 20, (400, 3))
    window = Window(tokens[:, :-1], tokens[:, 1:])
    with torch.no_grad():
        _, state = network(torch.randint(0, 20, (400, 5)))
        begun, fresh = network(window.x, state)[0], network(window.x)[0]
        model.config = LanguageModelConfig(replace(model.config.data, forget=0.25), model.config.model)
        seen = []
        network.layers.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
        model.loss(network.train(), window, state)
        model.loss(network.eval(), window, state)
    empty = (seen[0][1].h == 0).all(1)
    assert 0.15 < empty.float().mean() < 0.35
    assert torch.equal(seen[0][1].h[~empty], state[1].h[~empty])
    assert torch.equal(seen[0][0].seed, state[0].seed), "dropout goes on as it was"
    assert torch.equal(seen[1][1].h, state[1].h), "evaluation forgets nothing"
    assert not torch.allclose(begun, fresh, atol=1e-3)


@pytest.mark.parametrize("tokens", ["characters", "words", "byte_pairs"])
def test_greedy_text_is_the_likeliest_at_each_step(tmp_path: Path, tokens: str) -> None:
    model = untrained(tmp_path, tokens=tokens)
    numbers = model.tokens.encode("the quick")
    start = len(numbers)
    for _ in range(12):
        numbers.append(int(step_by_step(model, numbers)[-1].argmax()))
    greedy = model.generate("the quick", 12, Sampling(temperature=0))
    assert greedy == model.tokens.decode(numbers[start:])
    assert model.generate("the quick", 12, beam=1) == greedy


def test_a_prompt_is_read_before_writing(tmp_path: Path) -> None:
    model = untrained(tmp_path)
    expected = step_by_step(model, model.tokens.encode("fox jumps"))[-1]
    assert torch.allclose(model.stream("fox jumps").logits[0].log_softmax(-1), expected, atol=1e-5)
    stream = model.stream("fox")
    stream.push(" jumps")
    assert torch.allclose(stream.logits[0].log_softmax(-1), expected, atol=1e-5)


def test_streams_repeat_save_and_go_on(tmp_path: Path) -> None:
    model = untrained(tmp_path)
    text = model.generate("the", 60, Sampling(1.0), seed=3)
    assert text == model.generate("the", 60, Sampling(1.0), seed=3)
    assert text != model.generate("the", 60, Sampling(1.0), seed=4)
    stream = model.stream("the", Sampling(1.0), seed=3)
    first = "".join(stream.take(25))
    stream.save(tmp_path / "memory.safetensors")
    later = model.stream("elsewhere", Sampling(1.0), seed=9)
    later.load(tmp_path / "memory.safetensors")
    assert first + "".join(later.take(35)) == text
    with pytest.raises(StateError, match="does not hold the memory of this network"):
        untrained(tmp_path, hidden=11).stream("x").load(tmp_path / "memory.safetensors")
    with pytest.raises(RunError, match="no such file"):
        later.load(tmp_path / "absent.safetensors")


def test_byte_pairs_never_show_half_a_character(tmp_path: Path) -> None:
    model = untrained(tmp_path, tokens="byte_pairs")
    word = model.tokens.encode("長")
    assert len(word) == 3
    stream = model.stream("a")
    drawn = iter(word + model.tokens.encode("x"))
    stream.sampling = type("Fixed", (), {"draw": lambda self, logits, generator: torch.tensor([next(drawn)])})()
    assert list(stream.take(4)) == ["", "", "長", "x"]


def test_predict_scores_and_looks_ahead(tmp_path: Path) -> None:
    model = untrained(tmp_path)
    numbers = model.tokens.encode("lazy")
    chances = step_by_step(model, numbers)
    nats = -sum(float(p[n]) for p, n in zip(chances, numbers[1:], strict=False)) / 3
    answer = model.predict("lazy")
    assert answer["nats_per_token"] == pytest.approx(nats, rel=1e-5)
    best = model.tokens.decode([int(chances[-1].argmax())])
    assert next(iter(answer["next"])) == best
    alone = model.predict("x")
    assert alone["nats_per_token"] is None
    assert len(alone["next"]) == 5
    with pytest.raises(DataError, match="at least one token"):
        model.predict("")


@pytest.mark.parametrize("tokens", ["characters", "words", "byte_pairs"])
def test_bits_are_counted_by_the_characters_of_the_text(tmp_path: Path, tokens: str) -> None:
    model = untrained(tmp_path, tokens=tokens)
    (tmp_path / "other.txt").write_text("the unheard-of 狐狸 jumps over the lazy dog\n" * 20, encoding="utf-8")
    measured, batches = model.evaluate(source=str(tmp_path / "other.txt")), model.read(str(tmp_path / "other.txt"))
    text = (tmp_path / "other.txt").read_text(encoding="utf-8")
    total = measured["loss"] * (len(batches.tokens) - 1)
    characters = len(text) - len(model.tokens.decode(model.tokens.encode(text)[:1]))
    assert measured["bits_per_character"] == pytest.approx(total / math.log(2) / characters, rel=1e-6)
    assert ("share_unknown" in measured) == (tokens != "byte_pairs")


def test_the_unknown_token_is_never_written(tmp_path: Path) -> None:
    model = untrained(tmp_path)
    with torch.no_grad():
        model.trained.output.bias[0] = 50.0
    unknown = "\N{REPLACEMENT CHARACTER}"
    assert unknown not in model.generate("the", 50)
    assert unknown not in model.generate("the", 5, beam=3)
    assert unknown not in model.predict("the")["next"]


def test_it_learns_a_sentence_by_heart(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(TEXT)
    data = LanguageData(text=str(tmp_path / "t.txt"), batch=4, window=22)
    model = LanguageModel(LanguageModelConfig(data, LanguageNet(hidden=48, depth=1, dropout=0.0)))
    model.fit(tmp_path / "run", Fit(steps=200, learning_rate=0.02, warmup=10, evaluate_every=100), quiet=True)
    assert model.evaluate("test")["loss"] < 0.1
    again = LanguageModel.load(tmp_path / "run")
    assert again.generate("the quick", 34, Sampling(temperature=0)) == " brown fox jumps over the lazy dog"
    again.save(tmp_path / "copy")
    assert LanguageModel.load(tmp_path / "copy").predict("the dog") == again.predict("the dog")
    assert model.hidden_states("the quick").shape == (9, 48)
    assert model.pieces("the") == ["t", "h", "e"]
    assert "fused ran" in again.explain()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LanguageModelConfig(model=LanguageNet(layer="lsmt")),
            "unknown layer 'lsmt'; did you mean 'lstm'?",
        ),
        (lambda: LanguageModelConfig(data=LanguageData(size=-3)), "data.size: expected 0 (no limit) or at least 2"),
        (lambda: LanguageModelConfig(model=LanguageNet(hidden=0)), "model.hidden: expected at least 1"),
        (lambda: LanguageModelConfig(model=LanguageNet(embedding=3)), "tied weights need an embedding of 512"),
        (lambda: LanguageModelConfig(data=LanguageData(split=(0.5, 0.5))), "expected three shares"),
        (lambda: LanguageModelConfig(data=LanguageData(window=0)), "data.window: expected at least 1"),
    ],
)
def test_bad_configurations(make, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_before_training() -> None:
    with pytest.raises(RunError, match="not trained yet"):
        LanguageModel().generate("x")
    with pytest.raises(RunError, match="no vocabulary yet"):
        LanguageModel().network()


def test_backwards_is_forwards_on_the_reversed_text(tmp_path: Path) -> None:
    forwards, backwards = untrained(tmp_path), untrained(tmp_path)
    backwards.config = replace(backwards.config, data=replace(backwards.config.data, backwards=True))
    assert backwards.predict("lazy dog")["nats_per_token"] == forwards.predict("god yzal")["nats_per_token"]
    assert torch.equal(backwards.hidden_states("the fox"), forwards.hidden_states("xof eht"))
    assert backwards.pieces("fox") == ["x", "o", "f"]
    train = backwards.data().train.epoch(0)[0].x[0].tolist()
    assert backwards._tokens().decode(train[::-1]) in TEXT
    with pytest.raises(ConfigError, match="reads from the end of a text"):
        backwards.generate("the")


def test_several_texts_are_one_after_the_other_in_each_part(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a" * 100, encoding="utf-8")
    (tmp_path / "b.txt").write_text("b" * 200, encoding="utf-8")
    data = LanguageData(text=f"{tmp_path / 'a.txt'}+{tmp_path / 'b.txt'}", split=(0.8, 0.1, 0.1), batch=1, window=4)
    model = LanguageModel(LanguageModelConfig(data))
    parts = model.data()
    assert model._tokens().decode(parts.train.tokens.tolist()) == "a" * 80 + "\n" + "b" * 160
    assert model._tokens().decode(parts.test.tokens.tolist()) == "a" * 10 + "\n" + "b" * 20


def test_training_begins_with_an_earlier_run(tmp_path: Path) -> None:
    first = untrained(tmp_path)
    first.save(tmp_path / "first")
    (tmp_path / "new.txt").write_text("a quick dog jumps?\n" * 40, encoding="utf-8")
    data = replace(first.config.data, text=str(tmp_path / "new.txt"))
    net = replace(first.config.model, init_from=str(tmp_path / "first"))
    second = LanguageModel(LanguageModelConfig(data, net))
    second.fit(tmp_path / "second", Fit(steps=1, learning_rate=1e-12, warmup=1), quiet=True)
    assert second._tokens().to_dict() == first._tokens().to_dict(), "the vocabulary of the earlier run, without ?"
    assert torch.allclose(second.hidden_states("lazy"), first.hidden_states("lazy"), atol=1e-6)
    (tmp_path / "first").rename(tmp_path / "gone")
    assert LanguageModel.load(tmp_path / "second").predict("lazy") == second.predict("lazy")
    other = LanguageModelConfig(replace(data, backwards=True), replace(net, init_from=str(tmp_path / "gone")))
    with pytest.raises(ConfigError, match="backwards=False, this recipe True"):
        LanguageModel(other).data()
