"""Labelled text: every format says the same, and each mistake is told with file and line."""

import json
from collections import Counter
from pathlib import Path

import pytest

from recurra.data.labelled import Layout, read_labelled, read_parts
from recurra.data.splits import find_parts, stratified
from recurra.data.subwords import Subwords
from recurra.data.words import PlainWords, unspaced
from recurra.errors import ConfigError, DataError

ODD = [
    ("שלום, עולם!", "heb"),
    ("e\u0301te\u0301 नमस्ते", "marks"),
    ("👨‍👩‍👧 👍🏽 ❤️", "emoji"),
    ('he said "no", twice\u2028here\x85', "quotes"),
]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


FILES = {
    "a.csv": "label,text\n" + "".join(f'{b},"{a.replace(chr(34), chr(34) * 2)}"\n' for a, b in ODD),
    "bom.csv": "\ufeffText,x,Label\r\n" + "".join(f'"{a.replace(chr(34), chr(34) * 2)}",0,{b}\r\n' for a, b in ODD),
    "a.tsv": "sentence\tsentiment\n" + "".join(f"{a}\t{b}\n" for a, b in ODD),
    "bare.tsv": "".join(f"{b}\t{a}\n" for a, b in ODD),
    "a.jsonl": "".join(json.dumps({"review": a, "class": b}) + "\n" for a, b in ODD),
    "a.txt": "".join(f"{b} {a}\n" for a, b in ODD) + "\n\n",
    "fast.txt": "".join(f"__label__{b} {a}\n" for a, b in ODD),
    "tabs.txt": "text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in ODD),
}


@pytest.mark.parametrize("name", FILES)
def test_all_formats_give_the_same_unharmed(tmp_path: Path, name: str) -> None:
    reading = read_labelled(write(tmp_path / name, FILES[name]))
    assert [(example.text, example.label) for example in reading.examples] == [
        (text.strip(), label) if name in ("a.txt", "fast.txt") else (text, label) for text, label in ODD
    ]
    assert f"{name}: 4 rows read as" in reading.note
    assert reading.examples[2].where == f"{tmp_path / name}, line {4 if FILES[name].count(chr(10)) == 5 else 3}"


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(text="b", label="c"), ("y", "z")),
        (Layout(text="1", label="3"), ("a", "c")),
        (Layout(format="csv", text="2", label="a"), ("y", "x")),
    ],
)
def test_columns_by_name_and_by_number(tmp_path: Path, layout: Layout, expected: tuple[str, str]) -> None:
    first = read_labelled(write(tmp_path / "x.csv", "a,b,c\nx,y,z\n"), layout).examples[0]
    assert (first.text, first.label) == expected


def test_of_two_columns_one_is_enough_and_fewer_values_are_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "words,which\none,a\ntwo,a\n")
    assert read_labelled(path, Layout(label="which")).examples[0].text == "one"
    bare = read_labelled(write(tmp_path / "y.csv", "one,a\ntwo,a\nthree,b\n"))
    assert [example.label for example in bare.examples] == ["a", "a", "b"]
    assert "without a header, text in column 1, label in column 2" in bare.note


def test_a_cell_of_several_lines_and_a_long_one(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", 'text,label\n"one\ntwo",a\n"' + "word " * 100_000 + '",b\nthree,\n')
    with pytest.raises(DataError, match=r"x\.csv, line 5: expected a label, got an empty one"):
        read_labelled(path)
    path.write_text(path.read_text()[: -len("three,\n")])
    assert [len(example.text) for example in read_labelled(path).examples] == [7, 500_000]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "text,label\na,b\nc\n", r"line 3: expected 2 columns as in line 1, got 1"),
        ("x.csv", "text,label\n ,b\n", r"line 2: expected a text, got an empty one"),
        ("x.csv", 'text,label\n"a"b,c\n', r"line 2: not CSV"),
        ("x.csv", "text,label\n", r"a header and no rows"),
        ("x.csv", "a\nb\n", r"line 1: expected a column of labels and one of texts, got one column: 'a'"),
        (
            "x.csv",
            "a,b,c\nd,e,f\n",
            r"cannot tell text and label among \['a', 'b', 'c'\]; name them with data\.text",
        ),
        ("x.tsv", "text\tlabel\na\tb\tc\n", r"line 2: expected 2 columns as in line 1, got 3"),
        ("x.jsonl", '{"text": "a", "label": 1}\n{"text": ', r"line 2: not JSON"),
        ("x.jsonl", '{"text": "a", "label": 1}\n[1]\n', r"line 2: expected a JSON object"),
        (
            "x.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b"}\n',
            r"line 2: expected a text or a number in 'label'",
        ),
        ("x.txt", "1 good\n\n0 bad\n", r"line 2: expected a label, a space and a text, got ''"),
        ("x.txt", "1 good\n0\n", r"line 2: expected a label, a space and a text, got '0'"),
        ("x.txt", "__label__a x\nno mark\n", r"line 2: expected one __label__ and its text"),
        ("x.txt", "__label__a __label__b x\n", r"line 1: expected one __label__ and its text"),
        ("x.txt", "", "is empty"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_labelled(write(tmp_path / name, text))
    assert name in str(error.value)


def test_more_mistakes(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"1 fine\n0 caf\xe9\n")
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8: byte 0xe9 in line 2"):
        read_labelled(tmp_path / "latin.txt")
    path = write(tmp_path / "x.csv", "text,label\n" + "".join(f"{i % 2},text {i}\n" for i in range(20)))
    with pytest.raises(DataError, match=r"20 different labels in 20 rows.*is the label in another column"):
        read_parts(path, "", "", Layout(), (0.8, 0.1, 0.1), 0)
    with pytest.raises(DataError, match=r"data\.text is 'x', but the columns are 'text', 'label'"):
        read_labelled(path, Layout(text="x"))
    with pytest.raises(DataError, match="both in the column 'text'"):
        read_labelled(path, Layout(text="text", label="text"))
    with pytest.raises(ConfigError, match=r"data\.label: expected the number of a column, from 1 to 2, got '3'"):
        read_labelled(path, Layout(label="3"))
    with pytest.raises(DataError, match="every row has the label 'a'"):
        read_parts(write(tmp_path / "one.txt", "a b\na c\n"), "", "", Layout(), (0.8, 0.1, 0.1), 0)


def test_parts_of_a_folder_and_what_is_missing(tmp_path: Path) -> None:
    rows = [f"{i % 2} text {i}\n" for i in range(40)]
    write(tmp_path / "set.train.txt", "".join(rows))
    write(tmp_path / "set.dev.txt", "".join(rows[:4]))
    write(tmp_path / "notes.txt", "nothing")
    parts = read_parts(tmp_path, "", "", Layout(), (0.8, 0.1, 0.1), 0)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [36, 4, 4]
    assert parts.notes[-1] == "test cut from the training rows, label by label, with seed 0"
    other = read_parts(tmp_path, "", str(tmp_path / "set.dev.txt"), Layout(), (0.8, 0.1, 0.1), 0)
    assert len(other.train) == 40
    write(tmp_path / "train.csv", "a,b\n")
    with pytest.raises(DataError, match=r"two files for the part 'train', set\.train\.txt and train\.csv"):
        find_parts(tmp_path, (".txt", ".csv"))
    with pytest.raises(DataError, match=r"expected a file such as train\.tsv"):
        find_parts(tmp_path, (".tsv",))


def test_the_split_is_stratified_and_repeated_texts_stay_together(tmp_path: Path) -> None:
    rows = [f"{'a' if i % 4 else 'b'} text {i % 90}\n" for i in range(100)] + ["rare once\n"]
    path = write(tmp_path / "x.txt", "".join(rows))
    parts = read_parts(path, "", "", Layout(), (0.6, 0.2, 0.2), 5)
    texts = [{row.text for row in part} for part in (parts.train, parts.valid, parts.test)]
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]
    assert sum(len(part) for part in (parts.train, parts.valid, parts.test)) == 101
    assert "once" in texts[0]
    said = "\n".join(parts.notes)
    assert "10 rows that repeat another one" in said
    assert "the label 'rare' has one example, which goes to training" in said
    assert read_parts(path, "", "", Layout(), (0.6, 0.2, 0.2), 5) == parts
    assert read_parts(path, "", "", Layout(), (0.6, 0.2, 0.2), 6).test != parts.test


@pytest.mark.parametrize("seed", range(3))
def test_each_part_has_its_share_of_each_label(seed: int) -> None:
    labels = ["a"] * 600 + ["b"] * 201 + ["c"] * 19 + ["d"] * 2 + ["e"]
    chosen = stratified(labels, (0.1, 0.2), seed)
    assert Counter(chosen) == {0: 823 - 82 - 165, 1: 82, 2: 165}
    for label in "abc":
        count = Counter(part for part, own in zip(chosen, labels, strict=True) if own == label)
        total = labels.count(label)
        assert abs(count[1] - 0.1 * total) <= 1.5
        assert abs(count[2] - 0.2 * total) <= 1.5
    assert 0 in chosen[820:822]
    assert chosen[822] == 0


def test_plain_words() -> None:
    words = PlainWords.learn_from(["I don't like it.", "i do n't LIKE it ."], 0, 2, True)
    assert words.encode("I don't like it.") == words.encode("i do n't LIKE it .")
    assert words.pieces == ["\N{REPLACEMENT CHARACTER}", ".", "do", "i", "it", "like", "n't"]
    assert words.encode("they like") == [0, 5]
    assert words.split("k-19 — naïve! 3") == ["k-19", "—", "naïve", "!", "3"]
    assert words.split("e\u0301te\u0301 नमस्ते 👨‍👩‍👧 👍🏽 ❤️") == ["e\u0301te\u0301", "नमस्ते", "👨‍👩‍👧", "👍🏽", "❤️"]
    assert PlainWords.from_dict(json.loads(json.dumps(words.to_dict()))).to_dict() == words.to_dict()
    assert PlainWords.learn_from(["a b b c c c"], 2, 1, False).pieces[1:] == ["c"]
    assert words.decode(words.encode("I like it")) == "i like it"
    with pytest.raises(ConfigError, match=r"data\.least: no word occurs 3 times"):
        PlainWords.learn_from(["a b"], 0, 3, True)


def test_scripts_without_spaces_between_words() -> None:
    assert unspaced(["今天很好，OK", "ไทย"])
    assert not unspaced(["a good film 好"])
    assert not unspaced(["한국어 шалом नमस्ते"])
    assert not unspaced([])


def test_pieces_of_words() -> None:
    pieces = Subwords(1000, most=6)
    assert pieces.grams("funny") == ["<funn", "funny", "unny>", "<fun", "funn", "unny"]
    assert pieces.grams("a") == ["<a>"]
    assert pieces("a")[1:] == [0] * 5
    assert all(1 <= number <= 1000 for number in pieces("unfunny"))
    assert pieces("unfunny") == Subwords(1000, most=6)("unfunny")
