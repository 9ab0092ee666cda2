"""Translation: all steps at once against step by step, answers in any company, faults in files, as a program."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.tasks.trials import PAIRS, translator

from recurra.cli import main
from recurra.errors import ConfigError, DataError, RunError, ShapeError, StateError
from recurra.run.fit import Fit
from recurra.tasks import Translator
from recurra.tasks.attention_picture import draw_attention
from recurra.tasks.translation_config import (
    Loss,
    Score,
    SearchConfig,
    TranslationConfig,
    TranslationData,
    TranslationNet,
)
from recurra.tasks.translation_network import Sentences, TranslationNetwork, network_of
from recurra.tasks.translation_text import join_pieces, pieces_of

sacrebleu = pytest.importorskip("sacrebleu")

NETS = {
    "plain": TranslationNet(),
    "deep": TranslationNet(layer="gru", encoder_depth=2, decoder_depth=3, attention="dot", tied="none"),
    "coverage": TranslationNet(coverage=True, attention="additive", tied="target"),
    "feeding": TranslationNet(input_feeding=True, decoder_depth=2),
    "feeding with coverage": TranslationNet(input_feeding=True, coverage=True, layer="sru"),
    "memories": TranslationNet(layer="linear_attention"),
}
EACH = pytest.mark.parametrize("net", NETS)
KINDS = 13


def network(name: str) -> TranslationNetwork:
    torch.manual_seed(4)
    made = network_of(KINDS, replace(NETS[name], embedding=6, hidden=8)).double().eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return made


def batch(lengths: tuple[int, ...] = (5, 1, 0, 3), targets: tuple[int, ...] = (2, 6, 3, 1)) -> Sentences:
    random = torch.Generator().manual_seed(2)

    def numbers(time: int) -> torch.Tensor:
        return torch.randint(KINDS, (len(lengths), time), generator=random)

    return Sentences(numbers(max(lengths)), torch.tensor(lengths), numbers(6), numbers(6), torch.tensor(targets))


@EACH
@torch.no_grad()
def test_steps_equal_all_at_once(net: str) -> None:
    made, rows = network(net), batch(targets=(6, 6, 6, 6))
    source = made.read(rows.source, rows.source_lengths)
    written = made.write(source, rows.before)
    whole, state = made.output(written.output), made.begin(source)
    for t in range(6):
        before = state.covered
        logits, state = made.step(rows.before[:, t], state, source)
        assert torch.allclose(logits, whole[:, t], atol=1e-9)
        assert torch.allclose(state.covered - before, written.weights[:, t], atol=1e-9)


@EACH
def test_a_row_in_a_batch_equals_that_row_alone_with_gradients(net: str) -> None:
    made, rows = network(net), batch()
    parameters = list(made.parameters())
    together, _ = made(rows)
    expected = torch.autograd.grad(together, parameters, allow_unused=True)
    total = 0.0
    for b, (s, t) in enumerate(zip(rows.source_lengths.tolist(), rows.target_lengths.tolist(), strict=True)):
        one = [rows.source[b : b + 1, :s], torch.tensor([s]), rows.before[b : b + 1, :t], rows.after[b : b + 1, :t]]
        total = total + made(Sentences(*one, torch.tensor([t])))[0]
    assert torch.allclose(together, total, rtol=1e-10)
    for a, b in zip(expected, torch.autograd.grad(total, parameters, allow_unused=True), strict=True):
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-9)


@EACH
@torch.no_grad()
def test_no_step_sees_what_it_must_write(net: str) -> None:
    made, rows = network(net), batch(targets=(6, 6, 6, 6))
    source = made.read(rows.source, rows.source_lengths)
    whole = made.write(source, rows.before).output
    for t in range(1, 6):
        changed = rows.before.clone()
        changed[:, t:] = (changed[:, t:] + 1) % KINDS
        found = made.write(source, changed).output
        assert torch.allclose(found[:, :t], whole[:, :t], atol=1e-12)
        assert not torch.allclose(found[:, t], whole[:, t])


@torch.no_grad()
def test_the_loss_is_the_sum_over_valid_tokens() -> None:
    made, rows = network("plain"), batch()
    source = made.read(rows.source, rows.source_lengths)
    state, total = made.begin(source), 0.0
    for t in range(6):
        logits, state = made.step(rows.before[:, t], state, source)
        nats = torch.nn.functional.cross_entropy(logits, rows.after[:, t], reduction="none")
        total += float(nats[t < rows.target_lengths].sum())
    assert float(made(rows)[0]) == pytest.approx(total, rel=1e-9)


def test_embeddings_are_tied_as_the_configuration_says() -> None:
    for tied, count in (("all", 1), ("target", 2), ("none", 3)):
        made = network_of(KINDS, TranslationNet(embedding=4, hidden=4, tied=tied))
        weights = (made.source_embedding.weight, made.target_embedding.weight, made.output.weight)
        assert len({weight.data_ptr() for weight in weights}) == count


def test_dropout_of_whole_words_and_of_units() -> None:
    torch.manual_seed(0)
    made = network_of(KINDS, TranslationNet(embedding=4, hidden=4, word_dropout=0.5, dropout=0.3))
    vectors = made.train().embed(made.source_embedding, torch.ones(40, 10, dtype=torch.long))
    dropped = (vectors == 0).all(2)
    assert 0.4 < dropped.float().mean() < 0.6
    assert torch.equal((vectors == 0).any(2), dropped)
    with torch.no_grad():
        assert float(made(batch())[0]) != float(made(batch())[0])
        assert float(made.eval()(batch())[0]) == float(made(batch())[0])


# A translator that knows eighteen sentences by heart, by words, so that some words are unknown.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    translator(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Translator:
    data = TranslationData(path=str(folder), target="de", tokens="words", batch=120, longest=12)
    made = Translator(TranslationConfig(data, TranslationNet(embedding=24, hidden=24, dropout=0.1)))
    fit = Fit(steps=80, learning_rate=0.02, warmup=10, evaluate_every=40, average=0.9)
    made.fit(tmp_path_factory.mktemp("run") / "a", fit, quiet=True)
    return made


def searching(model: Translator, **search: object) -> Translator:
    """The same network with other keys of its search."""
    made = Translator(replace(model.config, search=replace(model.config.search, **search)))
    made.tokens, made.trained = model.tokens, model.trained
    return made


ODD = [
    "",
    "A red cat.",
    "   ",
    "שלום",
    "e\u0301 👩‍👩‍👧 cat",
    "The big lady.",
    "x" * 40,
    "cat " * 30,
    "A\u2028red cat.",
]


def test_what_was_learned_is_translated(model: Translator, tmp_path: Path) -> None:
    answers = model.predict_many([source for source, _ in PAIRS])
    assert [answer["translation"] for answer in answers] == [target for _, target in PAIRS]
    assert all(answer["shown"] == answer["translation"] for answer in answers)
    assert max(answer["nats_per_token"] for answer in answers) < 0.5
    measured = model.evaluate("test")
    assert list(measured) == ["loss", "perplexity", "bleu", "chrf"]
    assert measured["bleu"] == pytest.approx(100)
    assert model.signatures()["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


@pytest.mark.parametrize("search", [{"beam": 1}, {"beam": 4}, {"beam": 3, "n_best": 3, "coverage_penalty": 0.2}])
def test_answers_are_the_same_in_any_company(model: Translator, search: dict) -> None:
    made = searching(model, batch=4, **search)
    together = made.predict_many(ODD)
    for raw, answer in zip(ODD, together, strict=True):
        alone = made.predict(raw)
        assert answer.pop("nats_per_token") == pytest.approx(alone.pop("nats_per_token"), abs=1e-4)
        assert answer == alone
    assert [answer["text"] for answer in together] == ODD
    assert [together[i]["translation"] for i in (0, 2)] == ["", ""]
    if search["beam"] == 3:
        assert len(together[1]["n_best"]) == 3
        assert together[1]["n_best"][0] == together[1]["translation"]
        assert together[1]["shown"] == "\t".join(together[1]["n_best"])


def test_an_unknown_word_is_copied_from_where_attention_looks(model: Translator) -> None:
    made = searching(model, beam=1)
    answers = [made.predict(f"The red {name}.")["translation"] for name in ("Zoë", "Rumpelstiltskin")]
    never = searching(model, beam=1, copy=False)
    assert all("\N{REPLACEMENT CHARACTER}" not in answer for answer in answers)
    assert "Zoë" not in never.predict("The red Zoë.")["translation"]


@pytest.mark.parametrize("raw", ["A red cat.", "The Zoë lady.", "", "cat " * 30])
def test_a_stream_is_the_greedy_translation(model: Translator, raw: str, tmp_path: Path) -> None:
    expected = searching(model, beam=1).predict(raw)["translation"]
    stream = model.stream(raw)
    pieces = list(stream)
    assert "".join(pieces) == expected
    assert stream.written == expected
    for place in range(0, len(pieces) + 1, 3):
        first = model.stream(raw)
        begin = "".join(next(first) for _ in range(place))
        first.save(tmp_path / "s.safetensors")
        other = model.stream("something else")
        other.load(tmp_path / "s.safetensors")
        assert begin + "".join(other) == expected
        assert other.nats == pytest.approx(stream.nats)


def test_a_stream_refuses_what_is_not_its_own(model: Translator, tmp_path: Path) -> None:
    stream = model.stream("A red cat.")
    stream.save(tmp_path / "s.safetensors")
    other = Translator(replace(model.config, model=TranslationNet(embedding=6, hidden=6)))
    other.tokens, other.trained = model.tokens, network_of(len(model.tokens), TranslationNet(embedding=6, hidden=6))
    with pytest.raises(StateError, match="does not hold the memory of this network: state"):
        other.stream("a").load(tmp_path / "s.safetensors")
    from recurra import files

    files.write_tensors(tmp_path / "t.safetensors", {"text": torch.zeros(1)})
    with pytest.raises(RunError, match="does not hold a translation under way: written is missing"):
        stream.load(tmp_path / "t.safetensors")


def test_long_texts_are_cut_between_sentences_words_or_characters(model: Translator) -> None:
    tokens = model.tokens
    text = "A red cat. The old bag. A big lady! The red bag."
    assert pieces_of(text, tokens, 16) == [text]
    assert pieces_of(text, tokens, 8) == ["A red cat. The old bag.", "A big lady! The red bag."]
    answer = model.predict(text)
    assert answer["pieces"] == 2
    alone = [model.predict(piece)["translation"] for piece in pieces_of(text, tokens, 12)]
    assert answer["translation"] == " ".join(alone)
    assert pieces_of("a b  c d e f g", tokens, 3) == ["a b  c", "d e f", "g"]
    assert pieces_of("a b c d e. f g.", tokens, 3) == ["a b c", "d e.", "f g."]
    long = "cat " * 10_000
    assert [len(tokens.encode(piece)) for piece in pieces_of(long, tokens, 12)] == [12] * 833 + [4]
    assert join_pieces(["你好。", "我們", "and", "", "so"]) == "你好。我們 and so"


def test_data_that_cannot_be_learned_from_is_counted(tmp_path: Path) -> None:
    lines = [("A cat.", "Eine Katze."), ("", "leer"), ("no", ""), ("w " * 10_000, "viel"), ("A bag.", "Eine Tüte.")]
    for part in ("train", "valid", "test"):
        for side, language in enumerate(("en", "de")):
            text = "\n".join(pair[side] for pair in lines)
            (tmp_path / f"{part}.{language}").write_text(text, encoding="utf-8")
    data = TranslationData(path=str(tmp_path), target="de", tokens="words", longest=50)
    model = Translator(TranslationConfig(data, TranslationNet(embedding=4, hidden=4), search=SearchConfig(beam=1)))
    parts = model.data()
    assert [row.pair.source for row in parts.train.rows] == ["A cat.", "A bag."]
    assert model.notes["pairs to train on"] == "2 of 5"
    assert model.notes["left out, a side is empty"] == "2"
    assert model.notes["left out, more than data.longest=50 tokens"] == "1"
    assert len(parts.valid.rows) == 5, "what is measured on is whole"
    model.trained = model.network().eval()
    assert set(model.evaluate("valid")) == {"loss", "perplexity", "bleu", "chrf"}
    with pytest.raises(DataError, match=r"no pair to train on among 1; .*left out, a side is empty: 1"):
        model._trainable([parts.train.rows[0].pair._replace(target="")])


@pytest.mark.parametrize("tokens", ["byte_pairs", "words", "characters"])
def test_sentences_come_back_from_their_tokens(tokens: str, folder: Path) -> None:
    model = Translator(TranslationConfig(TranslationData(path=str(folder), target="de", tokens=tokens, size=280)))
    model.data()
    for sentence in (PAIRS[0][0], PAIRS[0][1], "The old lady"):
        assert model.tokens.decode(model.tokens.encode(sentence)) == sentence
    if tokens == "byte_pairs":
        for sentence in ("שלום עולם", "e\u0301 👩‍👩‍👧", "您是否確定要刪除？", "A\tb  c"):
            assert model.tokens.decode(model.tokens.encode(sentence)) == sentence
        assert model.tokens.encode("cat")[-1] == model.tokens.encode("A red cat")[-1], (
            "a word is one token anywhere"
        )


def test_settings_of_the_loss_and_half_precision_train(folder: Path, tmp_path: Path) -> None:
    data = TranslationData(path=str(folder), target="de", size=300, batch=300)
    net = TranslationNet(embedding=8, hidden=8, coverage=True, recurrent_dropout=0.2, word_dropout=0.1)
    model = Translator(TranslationConfig(data, net, Loss(0.2, 1.0), score=Score(greedy=True)))
    model.fit(tmp_path / "a", Fit(steps=4, evaluate_every=2, warmup=1), quiet=True)
    records = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "bleu", "chrf"} <= records[-1]["valid"].keys()
    batch, network = model.data().train.epoch(0)[0], model.ready().train()

    def loss(again: float) -> torch.Tensor:
        torch.manual_seed(0)
        model.config = replace(model.config, loss=Loss(0.1, again))
        return model.loss(network, batch, None)[0]

    plain = loss(0.0)
    assert float(loss(5.0).detach()) > float(plain.detach()) + 1, "looking again costs"
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(0.0)
    assert torch.allclose(half, plain, rtol=0.01)
    parameters = list(network.parameters())
    gradients = (torch.autograd.grad(each, parameters) for each in (plain, half))
    for exact, rough in zip(*gradients, strict=True):
        assert rough.dtype == torch.float32
        assert float((exact - rough).norm()) <= 0.1 * float(exact.norm()) + 1e-2


def test_pictures_of_attention(model: Translator, tmp_path: Path) -> None:
    (path,) = model.draw_answer("A red cat.", tmp_path, "a")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(model.draw_answer("cat " * 14, tmp_path, "b")) == 2
    assert model.draw_answer("", tmp_path, "c") == []
    draw_attention(torch.rand(2, 3).softmax(1), [" 您", "是", "e\u0301"], [" Save", "■"], tmp_path / "d.png")
    with pytest.raises(ShapeError, match=r"expected weights \(1, 2\)"):
        draw_attention(torch.rand(2, 2), ["a", "b"], ["c"], tmp_path / "e.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TranslationData(source="de", target="de"), "two different languages"),
        (lambda: TranslationData(split=(0.5, 0.5)), "data.split: expected three shares"),
        (lambda: TranslationData(size=1), "data.size: expected 0"),
        (lambda: TranslationData(longest=0), "data.longest: expected at least 1, got 0"),
        (lambda: TranslationNet(layer="lsmt"), "unknown layer 'lsmt'; did you mean 'lstm'"),
        (lambda: TranslationNet(hidden=7), "model.hidden: expected an even number"),
        (lambda: TranslationNet(attention="addtive"), "unknown kind 'addtive'; did you mean 'additive'"),
        (lambda: TranslationNet(word_dropout=1.0), "model.word_dropout: expected a share"),
        (lambda: TranslationNet(layer="mingru", recurrent_dropout=0.1), "mingru has no product to drop from"),
        (lambda: Loss(smoothing=1.0), "loss.smoothing: expected a share"),
        (lambda: Loss(coverage=-1.0), "loss.coverage: expected at least 0"),
        (lambda: SearchConfig(beam=2, n_best=3), "search.n_best: expected at most search.beam = 2, got 3"),
        (lambda: SearchConfig(beam=0), "search.beam: expected at least 1"),
        (lambda: SearchConfig(length_penalty=-1.0), "search.length_penalty: expected at least 0"),
    ],
)
def test_mistakes_in_a_configuration(make, message: str) -> None:
    part = make()
    names = {TranslationData: "data", TranslationNet: "model", Loss: "loss", SearchConfig: "search"}
    with pytest.raises(ConfigError, match=message):
        TranslationConfig(**{names[type(part)]: part})


def test_a_broken_vocabulary_is_refused() -> None:
    with pytest.raises(RunError, match="no vocabulary yet"):
        Translator().network()
    with pytest.raises(RunError, match="unknown kind 'x'"):
        Translator().relearn({"kind": "x"})
    with pytest.raises(RunError, match="vocabulary of kind words is broken: KeyError"):
        Translator().relearn({"kind": "words"})


def test_as_a_program(folder: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        return caught.value.code, *capsys.readouterr()

    sets = ["data.target=de", "data.size=300", "model.hidden=8", "model.embedding=8", "fit.steps=4", "fit.warmup=1"]
    settings = [part for value in (*sets, "fit.evaluate_every=2") for part in ("--set", value)]
    run = tmp_path / "run"
    code, out, _ = call("train", "translate", "--data", folder, "--out", run, "--quiet", *settings)
    assert (code, "trained to step 4" in out) == (0, True)
    code, out, _ = call("evaluate", run)
    assert (code, "tok:13a" in out, "chrf" in out) == (0, True, True)
    code, out, _ = call("predict", run, stdin="A red cat.\n\nThe bag.\n")
    assert (code, len(out.splitlines()), out.splitlines()[1]) == (0, 3, "")
    code, out, _ = call("predict", run, "--json", "--pictures", tmp_path / "p", stdin="The bag.\n\n")
    assert code == 0
    assert json.loads(out.splitlines()[0])["text"] == "The bag."
    assert list((tmp_path / "p").glob("*.png"))
    code, _, err = call("train", "translate", "--data", tmp_path / "none", "--out", tmp_path / "r", *settings)
    assert (code, err.count("\n"), "no train part" in err) == (2, 1, True)


MULTI30K = Path("/work/shared/data/translation")


@pytest.mark.skipif(not MULTI30K.is_dir(), reason="the files for measuring are not here")
def test_multi30k_is_read_whole() -> None:
    from recurra.data.parallel import read_parallel

    found = read_parallel(MULTI30K / "multi30k", ("en", "de"), "", (0.8, 0.1, 0.1))
    assert [len(part) for part in (found.train, found.valid)] == [29000, 1014]
    assert found.train[0].source == "Two young, White males are outside near many bushes."
