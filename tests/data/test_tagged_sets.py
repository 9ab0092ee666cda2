"""Tagged sentences and series: what the files hold, and that no sentence is in two parts."""

import pytest

from recurra.data.preparations import archive_series, brown, columns, people_daily, tags
from recurra.errors import DataError

PARTS = ("train", "valid", "test")


def conll(folder) -> dict[str, list[list[tuple[str, ...]]]]:
    texts = {name: (folder / f"{name}.conll").read_text("utf-8") for name in PARTS}
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in texts.values())
    blocks = {name: text.removesuffix("\n").split("\n\n") for name, text in texts.items()}
    return {
        name: [[tuple(line.split("\t")) for line in block.split("\n")] for block in members]
        for name, members in blocks.items()
    }


def test_persons_of_words_side_by_side():
    assert people_daily.persons(["李", "鹏", "朱", "镕基", "黄"]) == ["李鹏", "朱镕基", "黄"]
    assert people_daily.persons(["欧阳", "修", "阿拉法特"]) == ["欧阳修", "阿拉法特"]
    assert people_daily.persons(["陈", "方", "安生"]) == ["陈方安生"]
    assert people_daily.persons(["克平", "海友", "伟方"]) == ["克平", "海友", "伟方"]
    assert people_daily.persons(["剑武", "安", "远远"]) == ["剑武", "安远远"]


def test_names_by_characters():
    pairs = people_daily.words("江/nr  泽民/nr  访/v  中国/ns  、/w  俄/ns 新华社/nt 王/nr", 1)
    assert [f"{sign}{tag}" for sign, tag in people_daily.names(pairs)] == [
        *("江B-PER", "泽I-PER", "民I-PER", "访O", "中B-LOC", "国I-LOC", "、O", "俄B-LOC"),
        *("新B-ORG", "华I-ORG", "社I-ORG", "王B-PER"),
    ]


def test_two_places_side_by_side_stay_two():
    pairs = people_daily.words("中/ns 美/ns 北京/ns", 1)
    assert [tag for _, tag in people_daily.names(pairs)] == ["B-LOC", "B-LOC", "B-LOC", "I-LOC"]


def test_words_by_characters():
    pairs = people_daily.words("中共中央/nt 的/u 主席/n", 1)
    assert "".join(tag for _, tag in people_daily.segments(pairs)) == "BMMESBE"


@pytest.mark.parametrize("row", ["江/nr 泽民", "江/ 泽民/nr", "/nr"])
def test_a_word_without_a_tag_is_an_error(row):
    with pytest.raises(DataError, match=r"199801\.txt, line 7: expected word/tag everywhere"):
        people_daily.words(row, 7)


def test_people_daily_is_cut_in_order_and_no_line_comes_twice(tmp_path):
    lines = [f"{number}/m 人/n" for number in range(100, 140)]
    (tmp_path / "199801.txt").write_text("\n".join([*lines, "", *lines[:7]]) + "\n", "utf-8")
    assert people_daily.prepare(tmp_path, tmp_path) == {"repeated sentences": 7}
    found = conll(tmp_path)
    assert [len(found[name]) for name in PARTS] == [32, 4, 4]
    texts = ["".join(token for token, _ in sentence) for name in PARTS for sentence in found[name]]
    assert texts == [f"{number}人" for number in range(100, 140)]
    assert people_daily.prepare_words(tmp_path, tmp_path) == {"repeated sentences": 7}
    assert conll(tmp_path)["test"][-1] == [("1", "B"), ("3", "M"), ("9", "E"), ("人", "S")]


def test_names_in_tweets(tmp_path):
    tweets = [f"at\tO\nNew\tB-geo-loc\nYork{number}\tI-geo-loc\n\t\n" for number in range(10)]
    (tmp_path / "ner.txt").write_text("".join([*tweets, tweets[3]]))
    assert columns.prepare_wnut16(tmp_path, tmp_path) == {"repeated sentences": 1}
    found = conll(tmp_path)
    assert [len(found[name]) for name in PARTS] == [8, 1, 1]
    assert found["test"] == [[("at", "O"), ("New", "B-geo-loc"), ("York9", "I-geo-loc")]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("at\tO\nNew\t\n", "line 2: expected a token and its tag"), ("at O\n", "line 1: expected 2 columns, got 1")],
)
def test_malformed_tweets_are_errors(text, problem, tmp_path):
    (tmp_path / "ner.txt").write_text(text)
    with pytest.raises(DataError, match=problem):
        columns.prepare_wnut16(tmp_path, tmp_path)


def test_a_token_with_a_space_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"train\.conll, sentence 1: expected a token and a tag a line"):
        tags.write_parts({"train": [(("New York", "O"),)]}, tmp_path)


def test_brown_tags_are_split_by_document(tmp_path):
    for number in range(1, 11):
        text = f"\n\tText/nn-tl-hl {number}/cd ./.\n\nThe/at same/ap --/--\n\nun/fw-at-nc jour/fw-nn ain't/bem*\n"
        (tmp_path / f"ca{number:02}").write_text(text)
    assert brown.prepare_tags(tmp_path, tmp_path) == {"repeated sentences": 18}
    found = conll(tmp_path)
    assert [len(found[name]) for name in PARTS] == [10, 1, 1]
    assert found["valid"] == [[("Text", "nn"), ("9", "cd"), (".", ".")]]
    assert found["train"][1:3] == [
        [("The", "at"), ("same", "ap"), ("--", "--")],
        [("un", "fw-at"), ("jour", "fw-nn"), ("ain't", "bem*")],
    ]


def test_series_get_names_that_all_sets_share(tmp_path):
    raw, made = tmp_path / "raw" / "Toy", tmp_path / "made"
    raw.mkdir(parents=True)
    made.mkdir()
    (raw / "Toy_TRAIN.ts").write_bytes(b"@data\r\n1,2:a\n")
    (raw / "Toy_TEST.ts").write_bytes(b"@data\n")
    archive_series.prepare(tmp_path / "raw", made)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == {
        "train.ts": b"@data\r\n1,2:a\n",
        "test.ts": b"@data\n",
    }
