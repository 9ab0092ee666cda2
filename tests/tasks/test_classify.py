"""The classifier of text: its loss and measures by hand, its pictures and words in colour, as a program."""

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from recurra.cli import main
from recurra.data.text import TOKENS, BytePairs
from recurra.data.words import PlainWords
from recurra.errors import ConfigError, DataError, NotCausalError, RunError
from recurra.run.fit import Fit
from recurra.tasks import TextClassifier
from recurra.tasks.classifier_network import together
from recurra.tasks.classify import TextClassifierConfig, TextData, TextNet, surface
from recurra.tasks.heat_map import HeatMap, html_page, shown_in_colour
from recurra.tasks.token_embedding import SubwordEmbedding, TokenEmbedding

QUICK = Fit(steps=30, learning_rate=0.02, warmup=5, evaluate_every=15)
LINES = [f"{'good' if i % 3 else 'bad'} a {'fine' if i % 3 else 'poor'} book number {i % 7}" for i in range(60)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "books.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return tmp_path / "books.txt"


def classifier(path: Path, data: dict | None = None, **net: object) -> TextClassifier:
    settings = {"hidden": 8, "embedding": 8, "dropout": 0.0} | net
    given = TextData(path=str(path), batch=8, split=(0.6, 0.2, 0.2), **(data or {}))
    return TextClassifier(TextClassifierConfig(given, TextNet(**settings)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "books.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    model = classifier(folder / "books.txt", subwords=40, pooling="attentive+max")
    model.fit(folder / "run", QUICK, quiet=True)
    return model


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_loss_by_hand(path: Path, weights: str) -> None:
    model = classifier(path, label_smoothing=0.1, class_weights=weights)
    model.quiet = True
    batch = model.data().train.epoch(3)[0]
    torch.manual_seed(1)
    network = model.network()
    total, count, carry = model.loss(network, batch, None)
    logits = network(batch.x, batch.lengths).detach()
    expected, share = 0.0, 0.05  # each of two labels gets half of the tenth
    counts = torch.bincount(torch.tensor([item.label for item in model.data().train.rows])).tolist()
    for row, label in zip(logits.log_softmax(1), batch.labels.tolist(), strict=True):
        by_label = [sum(counts) / (2 * n) if weights == "balanced" else 1.0 for n in counts]
        targets = [share + (0.9 if k == label else 0.0) for k in range(2)]
        expected -= sum(t * w * float(p) for t, w, p in zip(targets, by_label, row, strict=True))
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert (count, carry) == (len(batch.labels), None)


def test_a_committee_answers_by_the_mean_of_its_members(path: Path) -> None:
    model = classifier(path, members=3, bidirectional=False, subwords=20, label_smoothing=0.1)
    model.quiet = True
    batch = model.data().train.epoch(0)[0]
    torch.manual_seed(2)
    network = model.trained = model.network()
    assert not torch.equal(network.members[0].output.weight, network.members[1].output.weight)
    losses = []
    for member in network.members:
        model.trained = member
        losses.append(float(model.loss(member, batch, None)[0].detach()))
    assert float(model.loss(network, batch, None)[0].detach()) == pytest.approx(sum(losses) / 3, rel=1e-5)
    with torch.no_grad():
        chances = torch.stack([member(batch.x, batch.lengths).softmax(1) for member in network.members]).mean(0)
        assert torch.allclose(together(network(batch.x, batch.lengths)).exp(), chances, atol=1e-6)
    model.trained = network.eval()
    stream = model.stream()
    for word in LINES[1].split():
        streamed = stream.push(word)
    whole = model.predict(LINES[1])
    assert streamed == pytest.approx(whole["probabilities"], abs=1e-5)
    found = model.heat_map(LINES[1])
    assert sum(found.values) == pytest.approx(found.score - found.base, abs=0.02)


def test_measures_equal_the_answers_one_by_one(trained: TextClassifier) -> None:
    valid = trained.held_out("valid")
    found = trained.measure(trained.ready(), valid)
    assert list(found) == ["accuracy", "macro_f1", "loss", "calibration_error"]
    nats, right = 0.0, 0
    rows = trained.rows().valid
    for row in rows:
        answer = trained.predict(row.text)
        nats -= torch.tensor(answer["probabilities"][row.label]).log().item()
        right += answer["label"] == row.label
        assert answer["probability"] == max(answer["probabilities"].values())
    assert found["loss"] == pytest.approx(nats / len(rows), rel=1e-4)
    assert found["accuracy"] == pytest.approx(right / len(rows))


def test_the_temperature_is_kept_with_the_run(trained: TextClassifier, tmp_path: Path) -> None:
    assert trained.temperature != 1
    trained.save(tmp_path / "copy")
    assert TextClassifier.load(tmp_path / "copy").temperature == trained.temperature
    logits, labels = trained.answers(trained.ready(), trained.held_out("valid"))
    doubt = 1 / (len(labels) + 2)
    targets = torch.full(logits.shape, doubt).scatter(1, labels[:, None], 1 - doubt)
    nats = [float(cross_entropy(logits / (trained.temperature * factor), targets)) for factor in (0.9, 1, 1.1)]
    assert nats[1] == min(nats)


def test_word_dropout_makes_words_unknown_but_hears_their_pieces(path: Path) -> None:
    model = classifier(path, {"word_dropout": 0.5}, subwords=30)
    model.quiet = True
    train = model.data().train
    batch, clean = train.epoch(0)[0], model.data().valid.epoch(0)[0]
    inside = batch.x[..., 0][torch.arange(batch.x.shape[1]) < batch.lengths[:, None]]
    assert 0.2 < float((inside == 0).float().mean()) < 0.8
    assert torch.equal(batch.x, train.epoch(0)[0].x), "the same batch every time"
    assert (batch.x[0, 0, 1:] > 0).any()
    assert (clean.x[..., 0] == 0).float().mean() < 0.3


def test_embedding_dropout_takes_whole_kinds() -> None:
    embed = TokenEmbedding(50, 4, dropout=0.5)
    tokens = torch.arange(50).repeat(3, 1)
    vectors = embed(tokens)
    kept = vectors.abs().sum(2) > 0
    assert torch.equal(kept[0], kept[2])
    assert 10 < int(kept[0].sum()) < 40
    assert torch.allclose(vectors[0][kept[0]], 2 * embed.table.weight[kept[0]])
    assert torch.equal(embed.eval()(tokens)[0], embed.table.weight)


def test_pieces_are_added_as_their_mean() -> None:
    embed = SubwordEmbedding(5, 9, 4)
    numbers = torch.tensor([[[2, 3, 7, 0], [4, 0, 0, 0]]])
    pieces = embed.pieces.weight
    expected = torch.stack(
        [embed.tokens.table.weight[2] + (pieces[3] + pieces[7]) / 2, embed.tokens.table.weight[4]]
    )
    assert torch.allclose(embed(numbers)[0], expected)


@pytest.mark.parametrize("tokens", ["characters", "byte_pairs"])
def test_characters_and_byte_pairs(path: Path, tmp_path: Path, tokens: str) -> None:
    if tokens == "byte_pairs":
        pytest.importorskip("tokenizers")
    model = classifier(path, {"tokens": tokens, "size": 300 if tokens == "byte_pairs" else 0}, bidirectional=False)
    model.fit(tmp_path / "run", Fit(steps=4, evaluate_every=2, warmup=1), quiet=True)
    text = "שלום e\u0301 👨‍👩‍👧"
    answers = model.predict_many([text, "", "x" * 10_000])
    assert [answer["text"] for answer in answers] == [text, "", "x" * 10_000]
    assert sum(answers[1]["probabilities"].values()) == pytest.approx(1)
    assert TextClassifier.load(tmp_path / "run").predict(text) == model.predict(text)


def test_long_texts_are_cut_aloud(path: Path, capsys: pytest.CaptureFixture) -> None:
    model = classifier(path, {"longest": 4, "least": 1})
    data = model.data()
    assert max(data.train.lengths) == 4
    said = capsys.readouterr().err
    count = len(data.train.rows)
    assert f"{count} of {count} texts are longer than data.longest = 4 tokens and were cut" in said
    assert "books.txt: 60 rows read as `label text`" in said
    assert "cut from the training rows, label by label" in said


def test_a_network_that_reads_both_ways_does_not_stream(trained: TextClassifier) -> None:
    with pytest.raises(NotCausalError, match=r"--set model\.bidirectional=false"):
        trained.stream()


def test_a_label_that_training_does_not_know(trained: TextClassifier, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("good fine\nugly poor\n")
    with pytest.raises(
        DataError, match=r"x\.txt, line 2: the label 'ugly' is not in training; known are 'bad', 'good'"
    ):
        trained.evaluate(source=str(tmp_path / "x.txt"))


def test_shares_of_words_add_up_and_belong_to_their_words(trained: TextClassifier) -> None:
    text = "A  fine <b>book</b>, isn't it?"
    found = trained.heat_map(text)
    assert found.pieces == ["A", "fine", "<", "b", ">", "book", "<", "/", "b", ">", ",", "is", "n't", "it", "?"]
    assert sum(found.values) == pytest.approx(found.score - found.base, abs=0.02)
    assert found.score == pytest.approx(torch.logit(torch.tensor(found.probability)).item(), abs=1e-3)
    assert "".join(piece for piece, _ in found.spans()) == text
    decisive = trained.heat_map("a fine book number 3")
    assert decisive.label == "good"
    assert max(zip(decisive.values, decisive.pieces, strict=True))[1] == "fine"
    other = trained.heat_map("a fine book number 3", "bad")
    assert sum(other.values) == pytest.approx(-sum(decisive.values), abs=0.05)
    with pytest.raises(ConfigError, match="unknown label 'god'; did you mean 'good'"):
        trained.heat_map(text, "god")
    assert trained.heat_map("  ").values == []


@pytest.mark.parametrize("kind", ["words", "characters", "byte_pairs", "plain_words"])
def test_tokens_as_they_stand_in_the_text(kind: str) -> None:
    if kind == "byte_pairs":
        pytest.importorskip("tokenizers")
    text = "It's שלום, e\u0301 👍🏽 It's"
    tokens = PlainWords.learn(text, 0) if kind == "plain_words" else TOKENS[kind].learn(text, 0)
    pieces = surface(tokens, text)
    assert len(pieces) == len(tokens.encode(text))
    if not isinstance(tokens, BytePairs):
        assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


def test_a_page_escapes_the_text_and_its_label() -> None:
    values = [0.5, -1.0, 0.0]
    found = HeatMap("<script>alert(1)</script> x", ["<script>", "alert", "x"], values, "<i>", 0.5, 0.1, 0.6, 0.0)
    page = html_page(found)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<i>" not in page
    assert 'title="-1.000">alert</span>' in page
    assert "{" not in page.split("<body>")[1]


def test_colours_on_a_terminal() -> None:
    found = HeatMap("so good", ["so", "good"], [0.01, 2.0], "yes", 0.9, 2.0, 0.0, 0.0)
    console = Console(force_terminal=True, color_system="truecolor", width=60, record=True)
    with console.capture() as capture:
        console.print(shown_in_colour(found))
    shown = capture.get()
    assert "yes 0.900" in shown
    assert "  so " in shown.replace("\x1b[0m", "").replace("\x1b[1m", "")
    assert "48;2;65;139;191mgood" in shown


def test_the_command_line(
    trained: TextClassifier, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.save(tmp_path / "run")

    def run(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        out, error = capfd.readouterr()
        assert stop.value.code == 0, error
        return out, error

    for command in ("predict", "why"):
        (tmp_path / "in.txt").write_text("a fine book\n\na poor book\n")
        with (tmp_path / "in.txt").open() as lines:
            monkeypatch.setattr("sys.stdin", lines)
            more = ["--pictures", str(tmp_path / "pictures")] if command == "predict" else []
            out, _ = run(command, str(tmp_path / "run"), *more)
        assert [line[:4].strip() for line in out.splitlines()] == ["good", "", "bad"]
    assert "fine</span>" in (tmp_path / "pictures" / "00001.html").read_text("utf-8")
    assert not (tmp_path / "pictures" / "00002.html").exists()
    out, _ = run("evaluate", str(tmp_path / "run"), "--json", "--pictures", str(tmp_path / "measured"))
    assert json.loads(out)["accuracy"] > 0.8
    assert (tmp_path / "measured" / "confusion.png").stat().st_size > 5000
    assert "fused ran" in run("explain", str(tmp_path / "run"))[0]


@pytest.mark.parametrize(
    ("data", "net", "message"),
    [
        ({}, {"layer": "lsmt"}, "unknown layer 'lsmt'; did you mean 'lstm'"),
        ({}, {"depth": 0}, r"model\.depth: expected at least 1, got 0"),
        ({}, {"dropout": 1.0}, r"model\.dropout: expected a share from 0 to below 1"),
        ({}, {"pooling": "maks"}, r"model\.pooling: unknown 'maks'"),
        ({}, {"layer": "mingru", "recurrent_dropout": 0.1}, "mingru has no product to drop from"),
        ({}, {"embedding": 0}, r"model\.embedding: expected at least 1, got 0"),
        ({}, {"embedding_dropout": -0.1}, r"model\.embedding_dropout: expected a share"),
        ({}, {"subwords": -1}, r"model\.subwords: expected 0"),
        ({"tokens": "characters"}, {"subwords": 9}, "only words have pieces, not characters"),
        ({}, {"init_from_backwards": "x"}, r"expected model\.init_from too"),
        ({}, {"init_from": "x"}, r"set model\.bidirectional=false, or model\.init_from_backwards"),
        ({}, {"init_from": "x", "bidirectional": False, "subwords": 3}, "knows no pieces of words"),
        ({}, {"thaw": 1.1}, r"model\.thaw: expected a share from 0 to 1"),
        ({}, {"slower": 0.5}, r"model\.slower: expected at least 1"),
        ({"format": "xls"}, {}, r"data\.format: expected one of auto, csv"),
        ({"split": (0.5, 0.5)}, {}, r"data\.split: expected three shares"),
        ({"batch": 0}, {}, r"data\.batch: expected at least 1, got 0"),
        ({"least": 0}, {}, r"data\.least: expected at least 1"),
        ({"longest": -1}, {}, r"data\.longest: expected at least 0"),
        ({"size": 1}, {}, r"data\.size: expected 0 \(no limit\)"),
        ({"word_dropout": 1.0}, {}, r"data\.word_dropout: expected a share"),
    ],
)
def test_mistakes_in_a_configuration(data: dict, net: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TextClassifierConfig(TextData(**data), TextNet(**net))


def test_a_name_that_is_neither_file_nor_data_set() -> None:
    with pytest.raises(
        DataError, match=r"no file, folder or data set 'movie-snipets'; did you mean 'movie-snippets'"
    ):
        TextClassifier(TextClassifierConfig(TextData(path="movie-snipets"))).data()


def test_mistakes_in_a_run_folder(trained: TextClassifier) -> None:
    values = trained.learned()
    for change, message in (
        ({"labels": None}, "no list of labels"),
        ({"temperature": 0.0}, "no temperature above 0"),
        ({"tokens": {"kind": "syllables"}}, "unknown kind 'syllables'"),
        ({"tokens": {"kind": "plain_words"}}, "the vocabulary of kind plain_words is broken"),
    ):
        with pytest.raises(RunError, match=message):
            TextClassifier().relearn(values | change)
    with pytest.raises(RunError, match="no vocabulary yet"):
        TextClassifier().network()
