"""The tagger: answers against the CRF's own words, streams against brute force."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from recurra.data.conll import Sentence, write_conll
from recurra.data.spans import Span, illegal, spans
from recurra.errors import ConfigError, DataError, NotCausalError, StateError
from recurra.run.fit import Fit
from recurra.tasks import Tagger
from recurra.tasks.entity_scores import EntityScores
from recurra.tasks.tag import TagConfig, TagData, TagNet
from recurra.tasks.tag_answers import confidences
from recurra.tasks.tag_vocabulary import TagVocabulary

NAMES = ("Anna", "Boris", "Carla", "Dora")
PLACES = ("Paris", "Rome", "Oslo")


def sentences(count: int = 24) -> list[Sentence]:
    """Somebody lives somewhere, in several ways."""
    found = []
    for i in range(count):
        name, place = NAMES[i % 4], PLACES[i % 3]
        if i % 2:
            found.append(Sentence((name, "lives", "in", place, "."), ("B-PER", "O", "O", "B-LOC", "O")))
        else:
            tokens = ("In", "New", place, name, "Smith", "works")
            found.append(Sentence(tokens, ("O", "B-LOC", "I-LOC", "B-PER", "I-PER", "O")))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    for part, count in (("train", 24), ("valid", 6), ("test", 5)):
        write_conll(place / f"{part}.conll", sentences(count))
    return place


SMALL = TagNet(words=8, shapes=3, character_size=4, character_features=5, hidden=7, dropout=0.0)


def untrained(model: TagNet = SMALL, folder: Path | None = None, **data: object) -> Tagger:
    """A tagger with large random weights, so that its answers differ."""
    tagger = Tagger(TagConfig(TagData(path=str(folder or ""), **data), model))
    tagger.vocabulary = TagVocabulary.learn(sentences(), pairs=model.pairs > 0)
    torch.manual_seed(3)
    tagger.trained = tagger.network().eval()
    for parameter in tagger.trained.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.6)
    return tagger


def batch_of(tagger: Tagger, found: list[Sentence]):
    (batch,) = tagger._rows(found).batches(len(found), "rows").epoch(0)
    return batch


# The network and its answers.


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"characters": "lstm", "head": "softmax", "scheme": "BIO"},
        {"pairs": 4, "characters": "none", "depth": 2, "layer": "gru"},
        {"words": 0, "shapes": 0, "bidirectional": False, "pairs": 3},
        {"recurrent_dropout": 0.3},
    ],
)
def test_rows_in_a_batch_equal_rows_alone(changes: dict) -> None:
    tagger = untrained(replace(SMALL, **changes))
    found = [Sentence(("Anna",), ("B-PER",)), *sentences(3)]
    network, batch = tagger.ready(), batch_of(tagger, found)
    alone = torch.cat([network(batch_of(tagger, [s])) for s in sorted(found, key=lambda s: len(s.tokens))])
    assert torch.allclose(network(batch), alone, rtol=1e-4)
    answers = tagger.predict_many([s.tokens for s in found])
    for sentence, answer in zip(found, answers, strict=True):
        single = tagger.predict(sentence.tokens)
        assert single["tags"] == answer["tags"]
        for a, b in zip(single["entities"], answer["entities"], strict=True):
            assert a["confidence"] == pytest.approx(b["confidence"], rel=1e-3)


@torch.no_grad()
def test_softmax_counts_each_token_for_itself() -> None:
    tagger = untrained(replace(SMALL, head="softmax"))
    batch, network = batch_of(tagger, sentences(4)), tagger.ready()
    logs = network.scores(batch).log_softmax(2)
    expected = [
        -sum(float(logs[row, t, batch.tags[row, t]]) for t in range(length))
        for row, length in enumerate(batch.lengths.tolist())
    ]
    assert network(batch).tolist() == pytest.approx(expected, rel=1e-4)
    assert not any(parameter.requires_grad for parameter in network.head.parameters())


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
@torch.no_grad()
def test_confidence_is_the_probability_of_exactly_this_entity(scheme: str) -> None:
    tagger = untrained(replace(SMALL, scheme=scheme))
    tokens = ("Anna", "Smith", "in", "Rome")
    network, batch = tagger.ready(), batch_of(tagger, [Sentence(tokens, ("O",) * 4)])
    scores, names = network.scores(batch), tagger.vocabulary.tags(scheme)
    every = [tags for tags in product(range(len(names)), repeat=4) if not illegal([names[t] for t in tags], scheme)]
    chances = (-network.head(scores.expand(len(every), -1, -1), torch.tensor(every))).exp().tolist()
    assert sum(chances) == pytest.approx(1, rel=1e-4)
    shares: dict[Span, float] = {}
    for tags, chance in zip(every, chances, strict=True):
        for span in spans([names[tag] for tag in tags]):
            shares[span] = shares.get(span, 0.0) + chance
    asked = list(shares)
    found = [confidences(network.head, scores, batch.lengths, names, [[span]])[0][0] for span in asked]
    assert found == pytest.approx([shares[span] for span in asked], rel=1e-3, abs=1e-6)
    assert len(asked) == 20, "ten places, two types"


def test_the_best_paths_come_in_order_and_begin_with_the_answer() -> None:
    tagger = untrained()
    found = tagger.best("Anna lives in Rome.", 6)
    assert found[0]["tags"] == tagger.predict("Anna lives in Rome.")["tags"]
    chances = [answer["probability"] for answer in found]
    assert chances == sorted(chances, reverse=True)
    assert 0 < sum(chances) < 1
    assert len({tuple(answer["tags"]) for answer in found}) == 6
    whole = tagger.best(["Anna"], 50)
    assert len(whole) == 3, "O, a person, a place"
    assert sum(answer["probability"] for answer in whole) == pytest.approx(1, rel=1e-5)
    assert tagger.best("", 3) == [{"entities": [], "tags": [], "probability": 1.0}]
    with pytest.raises(ConfigError, match="n of at least 1"):
        tagger.best("Anna", 0)


def test_answers_lead_back_to_the_text() -> None:
    tagger = untrained()
    text = "In  New Oslo\u00a0Carla, e\u0301 👍 לוֹם"
    answer = tagger.predict(text)
    assert answer["text"] == text
    assert len(answer["tokens"]) == len(answer["tags"]) == 8
    for entity in answer["entities"]:
        assert text[entity["begin"] : entity["end"]] == entity["text"]
        assert entity["text"] in answer["shown"]
        assert 0 < entity["confidence"] <= 1
    assert tagger.predict("") == {"text": "", "entities": [], "tokens": [], "tags": [], "shown": ""}
    assert tagger.predict(["New York", "x"])["tokens"] == ["New York", "x"]
    assert len(tagger.predict("word " * 3_000)["tags"]) == 3_000
    with pytest.raises(DataError, match="a list of tokens that are not empty"):
        tagger.predict(["a", ""])


def test_chinese_goes_by_characters() -> None:
    tagger = untrained(replace(SMALL, pairs=4), units="characters")
    assert tagger.predict("王小明 在台北")["tokens"] == list("王小明在台北")
    assert tagger.predict(["王", "在"])["text"] == "王在"


# Measuring.


def test_scores_as_the_script_of_conll() -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    torch.manual_seed(1)
    names = ["O", "B-X", "I-X", "B-Y", "I-Y"]
    there = [[names[i] for i in torch.randint(5, (9,)).tolist()] for _ in range(60)]
    said = [
        [names[i] if i < 5 else tag for i, tag in zip(torch.randint(9, (9,)).tolist(), row, strict=True)]
        for row in there
    ]
    scores = EntityScores()
    for a, b in zip(there, said, strict=True):
        scores.add(spans(a), spans(b))
    theirs = metrics.classification_report(there, said, output_dict=True)
    for kind, found in (("X", scores.of("X")), ("Y", scores.of("Y")), ("micro avg", scores.total)):
        expected = theirs[kind]
        assert tuple(found) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
        )
    assert sum(n for (mine, _), n in scores.crossed.items() if mine) == scores.there.total()


def test_nothing_there_and_nothing_said() -> None:
    assert EntityScores().total == (0, 0, 0, 0)
    one = EntityScores()
    one.add([Span(0, 1, "X")], [])
    assert one.total == (0, 0, 0, 1)


def test_measure_equals_scores_of_predictions(folder: Path) -> None:
    tagger = untrained(folder=folder)
    found = tagger.evaluate("valid")
    assert list(found) == ["f1", "precision", "recall", "accuracy", "loss"]
    scores = EntityScores()
    for sentence in sentences(6):
        answer = tagger.predict(sentence.tokens)
        scores.add(spans(sentence.tags), spans(answer["tags"]))
    assert [found["f1"], found["precision"], found["recall"]] == pytest.approx(
        [scores.total.f1, scores.total.precision, scores.total.recall]
    )
    nats = tagger.ready()(batch_of(tagger, sentences(6))).detach()
    assert found["loss"] == pytest.approx(float(nats.sum()) / sum(len(s.tokens) for s in sentences(6)), rel=1e-4)


def test_a_type_never_seen_in_training_counts_as_missed(folder: Path) -> None:
    tagger = untrained(folder=folder)
    before = tagger.evaluate("valid")
    write_conll(folder / "new.conll", [*sentences(6), Sentence(("Anna", "x"), ("B-GENE", "O"))])
    after = tagger.evaluate(source=str(folder / "new.conll"))
    assert after["unknown_entities"] == 1
    assert after["recall"] <= before["recall"]
    assert torch.isfinite(torch.tensor(after["loss"]))


# Streams.


@pytest.mark.parametrize("head", ["crf", "softmax"])
@torch.no_grad()
def test_a_stream_tells_what_the_tokens_so_far_say(head: str, tmp_path: Path) -> None:
    tagger = untrained(replace(SMALL, bidirectional=False, pairs=3, head=head, members=2))
    tokens = ("Anna", "Smith", "in", "New", "Rome")
    network, names = tagger.ready(), tagger.vocabulary.tags("BIOES")
    batch = batch_of(tagger, [Sentence(tokens, ("O",) * 5)])
    scores, stream = network.scores(batch)[0], tagger.stream()
    allowed = network.head
    log = allowed.begins.masked_fill(~allowed.allowed_begins, -torch.inf)
    for t, token in enumerate(tokens):
        log = log + scores[t]
        told = stream.push(token)
        assert told.tag == names[int(log.argmax())]
        assert list(told.chances.values()) == pytest.approx(log.softmax(0).tolist(), rel=1e-3, abs=1e-6)
        moves = allowed.transitions.masked_fill(~allowed.allowed_transitions, -torch.inf)
        log = (log[:, None] + moves).logsumexp(0)
        if t == 2:
            stream.save(tmp_path / "memory.safetensors")
            stream.push("noise")
            other = tagger.stream("something else")
            other.load(tmp_path / "memory.safetensors")
            stream = other
    stream.restart()
    assert stream.push("Anna") == tagger.stream().push("Anna")
    with pytest.raises(DataError, match="expected a token"):
        stream.push(" ")


def test_what_cannot_be_streamed(tmp_path: Path) -> None:
    with pytest.raises(NotCausalError, match=r"model.bidirectional = false"):
        untrained().stream()
    small = untrained(replace(SMALL, bidirectional=False))
    small.stream("Anna").save(tmp_path / "memory.safetensors")
    large = untrained(replace(SMALL, bidirectional=False, hidden=9))
    with pytest.raises(StateError, match="does not hold the memory of this network"):
        large.stream().load(tmp_path / "memory.safetensors")


# Training, files and mistakes.


@pytest.mark.parametrize("head", ["crf", "softmax"])
def test_it_learns_by_heart_and_comes_back_from_its_folder(folder: Path, head: str) -> None:
    tagger = Tagger(TagConfig(TagData(path=str(folder), batch=8), replace(SMALL, hidden=16, head=head)))
    fit = Fit(steps=40, learning_rate=0.03, warmup=5, evaluate_every=20)
    position = tagger.fit(folder / "run", fit, quiet=True)
    assert position.best == 1.0, "F1 is watched, and higher is better"
    assert tagger.evaluate("test")["f1"] == 1.0
    again = Tagger.load(folder / "run")
    text = "In New Rome Anna Smith works"
    assert again.predict(text) == tagger.predict(text)
    assert [(e["type"], e["text"]) for e in again.predict(text)["entities"]] == [
        ("LOC", "New Rome"),
        ("PER", "Anna Smith"),
    ]
    assert again.predict(text)["shown"].startswith("In [New Rome: LOC ")
    assert "ran" in again.explain()
    again.save(folder / "copy")
    assert Tagger.load(folder / "copy").predict(text) == tagger.predict(text)


def test_word_vectors_are_where_training_begins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "v.txt").write_text("Anna 1 2 3\nrome 3 2 1\nbeyond 1 1 0\nelsewhere 5 5 5\n")
    net = replace(SMALL, words=3)
    data = TagData(path=str(folder), vectors=str(folder / "v.txt"), vectors_keep=2)
    tagger = Tagger(TagConfig(data, net))
    tagger.data()
    assert "15.4% of 13 kinds of word have a vector" in capsys.readouterr().err
    network = tagger.network()
    tagger.begin(network)
    weight, numbers = network.members[0].words.weight, tagger.vocabulary.numbers["words"]
    anna, rome = weight[numbers["anna"]], weight[numbers["rome"]]
    assert torch.allclose(anna, rome.flip(0))
    assert torch.allclose(anna * 2, torch.tensor([2.0, 4.0, 6.0]) * anna[0])
    assert "elsewhere" not in numbers
    with pytest.raises(DataError, match="expected a word and 8 numbers"):
        Tagger(TagConfig(data, SMALL)).data()


def test_data_in_one_file_and_in_three(folder: Path) -> None:
    write_conll(folder / "all.conll", sentences(10))
    one = Tagger(TagConfig(TagData(path=str(folder / "all.conll")), SMALL)).data()
    assert [len(part.rows) for part in (one.train, one.valid, one.test)] == [8, 1, 1]
    files = {part: str(folder / f"{part}.conll") for part in ("train", "valid", "test")}
    three = Tagger(TagConfig(TagData(**files), SMALL)).data()
    assert [len(part.rows) for part in (three.train, three.valid, three.test)] == [24, 6, 5]


def test_a_tenth_of_both_parts_is_held_out(folder: Path) -> None:
    data = Tagger(TagConfig(TagData(path=str(folder), held_out="tenth"), SMALL)).data()
    apart = Tagger(TagConfig(TagData(path=str(folder)), SMALL)).data()
    both = [sentence for part in (apart.train, apart.valid) for sentence in part.rows.sentences]
    assert len(both) == 30
    assert list(data.valid.rows.sentences) == [both[9], both[19], both[29]]
    assert list(data.train.rows.sentences) == both[:9] + both[10:19] + both[20:29]
    assert len(data.test.rows) == len(apart.test.rows)
    write_conll(folder / "train.conll", sentences(3))
    with pytest.raises(DataError, match="expected ten sentences for training and validation, got 9"):
        Tagger(TagConfig(TagData(path=str(folder), held_out="tenth"), SMALL)).data()


def test_members_answer_by_the_mean_of_their_scores(folder: Path) -> None:
    """Two members that were trained as one of them would be, and a third network with their mean scores."""
    tagger = untrained(replace(SMALL, members=2), folder)
    network, batch = tagger.ready(), batch_of(tagger, sentences(5))
    one, two = network.members
    assert not one.words.weight.equal(two.words.weight)
    torch.testing.assert_close(network.scores(batch), (one(batch) + two(batch)) / 2)
    each = [network.head(member(batch), batch.tags, batch.lengths) for member in (one, two)]
    torch.testing.assert_close(network(batch), (each[0] + each[1]) / 2)
    tagger.save(folder / "copy")
    assert Tagger.load(folder / "copy").predict("Anna") == tagger.predict("Anna")


def test_mistakes_in_data(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder of column files"):
        Tagger().data()
    (folder / "valid.conll").rename(folder / "dev.tsv")
    assert Tagger(TagConfig(TagData(path=str(folder)))).data()
    (folder / "dev.tsv").rename(folder / "mine.dev.conll")
    assert Tagger(TagConfig(TagData(path=str(folder)))).data()
    (folder / "mine.dev.conll").unlink()
    with pytest.raises(DataError, match=r"expected one file valid.conll here"):
        Tagger(TagConfig(TagData(path=str(folder)))).data()
    (tmp_path / "o.conll").write_text("a O\n\nb O\n\nc O\n")
    with pytest.raises(DataError, match="the training part has no entity"):
        Tagger(TagConfig(TagData(path=str(tmp_path / "o.conll"), split=(0.4, 0.3, 0.3)))).data()
    with pytest.raises(DataError, match="at least a sentence for each part, got 3"):
        Tagger(TagConfig(TagData(path=str(tmp_path / "o.conll")))).data()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TagConfig(model=TagNet(layer="lsmt")), "unknown layer 'lsmt'; did you mean 'lstm'"),
        (lambda: TagConfig(model=TagNet(members=0)), "model.members: expected at least 1, got 0"),
        (lambda: TagConfig(model=TagNet(hidden=0)), "model.hidden: expected at least 1, got 0"),
        (lambda: TagConfig(model=TagNet(words=-1)), "model.words: expected a size, or 0 for none, got -1"),
        (lambda: TagConfig(model=TagNet(words=0, characters="none")), "a token has no features"),
        (lambda: TagConfig(model=TagNet(dropout=1.0)), "model.dropout: expected a share from 0 to below 1"),
        (lambda: TagConfig(model=TagNet(recurrent_dropout=0.1, layer="minlstm")), "minlstm has no product to drop"),
        (lambda: TagConfig(model=TagNet(projection=3)), "expected model.language_models"),
        (lambda: TagConfig(TagData(batch=0)), "data.batch: expected at least 1, got 0"),
        (lambda: TagConfig(TagData(train="a")), "expected data.train, data.valid and data.test together"),
        (lambda: TagConfig(TagData(tag=-2)), "data.tag: expected a column from 0, or -1"),
        (lambda: TagConfig(TagData(unknown=-1.0)), "data.unknown: expected at least 0"),
        (lambda: TagConfig(TagData(split=(1.0, 0.0))), "data.split: expected three shares"),
        (lambda: TagConfig(TagData(vectors_keep=3)), "data.vectors_keep: expected a file in data.vectors"),
    ],
)
def test_mistakes_in_a_configuration(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_pictures(folder: Path) -> None:
    tagger = untrained(folder=folder)
    drawn = tagger.draw_measured(tagger.held_out("valid"), folder)
    assert drawn == [folder / "entities.png"]
    assert drawn[0].read_bytes().startswith(b"\x89PNG")
    (page,) = tagger.draw_answer("<b>Anna & Rome</b>", folder, "answer-1")
    text = page.read_text("utf-8")
    assert page.name == "answer-1.html"
    assert "<b>" not in text
    assert "&amp;" in text


def test_boldness_is_what_validation_likes_best(folder: Path) -> None:
    tagger = untrained(folder=folder)
    valid = tagger.data().valid
    with torch.no_grad():
        tagger.trained.members[0].output.bias[0] += 6.0  # it says almost nothing
    before = tagger.evaluate("valid")["f1"]
    tagger.finish(tagger.data())
    found = {}
    for boldness in (step / 2 for step in range(-2, 11)):
        other = untrained(folder=folder)
        other.trained, other.boldness = tagger.trained, boldness
        found[boldness] = other.measure(other.ready(), valid)["f1"]
    assert found[tagger.boldness] == max(found.values()) > before
    text = "In New Rome Anna Smith works"
    tagger.save(folder / "bold")
    assert Tagger.load(folder / "bold").predict(text) == tagger.predict(text)
    as_learned = untrained(replace(SMALL, boldness="learned"), folder)
    as_learned.finish(as_learned.data())
    assert as_learned.boldness == 0


def test_an_entity_that_begins_costs_the_same_however_long(folder: Path) -> None:
    tagger = untrained()
    scores = torch.zeros(1, 2, len(tagger._names))
    tagger.boldness = 2.0
    raised = [name for name, more in zip(tagger._names, tagger._bold(scores)[0, 0].tolist(), strict=True) if more]
    assert raised == ["B-LOC", "S-LOC", "B-PER", "S-PER"]
