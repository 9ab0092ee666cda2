"""Column files: what is read is what is written, in every encoding of trouble; each mistake with its line."""

import warnings
from pathlib import Path

import pytest

from recurra.data.conll import Columns, Sentence, read_conll, write_conll
from recurra.errors import ConfigError, DataError, DataWarning

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER
"""


def written(folder: Path, text: str, name: str = "a.conll") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


def test_conll_2003_and_its_first_scheme(tmp_path: Path) -> None:
    found = read_conll(written(tmp_path, CONLL_2003))
    assert found == [
        Sentence(("EU", "rejects", "German"), ("B-ORG", "O", "B-MISC"), 3),
        Sentence(("Peter", "Blackburn"), ("B-PER", "I-PER"), 7),
    ]
    chunks = read_conll(tmp_path / "a.conll", Columns(tag=2))
    assert chunks[0].tags == ("B-NP", "B-VP", "B-NP")


def test_tabs_windows_ends_and_odd_tokens(tmp_path: Path) -> None:
    tokens = ("New York", "a\u00a0b", "👨‍👩‍👧", "שָׁלוֹם", "e\u0301", "#", "\u2028", "\x85x", "王")
    lines = [f"{token}\t{'B-loc' if i == 0 else 'O'}" for i, token in enumerate(tokens)]
    path = written(tmp_path, "\ufeff" + "\r\n".join([*lines, "\t", " ", "", "last\tO"]) + "\r\n")
    found = read_conll(path)
    assert [sentence.tokens for sentence in found] == [tokens, ("last",)]
    assert found[1].line == len(tokens) + 4
    write_conll(tmp_path / "b.conll", found, "BIOES")
    assert (tmp_path / "b.conll").read_text("utf-8").startswith("New York\tS-loc\n")
    assert [s.tags for s in read_conll(tmp_path / "b.conll")] == [s.tags for s in found]


def test_comments_are_for_those_who_ask(tmp_path: Path) -> None:
    path = written(tmp_path, "# text = a\n1\ta\tO\n2\tb\tB-X\n\n# text = c\n1\tc\tO\n")
    found = read_conll(path, Columns(word=1, comments=True))
    assert [sentence.tokens for sentence in found] == [("a", "b"), ("c",)]
    with pytest.raises(DataError, match="line 2: expected 4 columns as in line 1, got 3"):
        read_conll(path)
    tag = read_conll(written(tmp_path, "a\tO\n#\tO\n#b\tO\n"), Columns(comments=True))
    assert tag[0].tokens == ("a", "#", "#b"), "inside of a sentence # is a token"


def test_what_goes_on_with_nothing_is_mended_and_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a B-X\nb O\nc I-X\nd I-X\n\ne I-Y\n")
    with pytest.warns(DataWarning, match=r"line 3: I-X after O is not BIO; it and 1 others") as caught:
        found = read_conll(path)
    assert len(caught) == 1
    assert found[0].tags == ("B-X", "O", "B-X", "I-X")
    with pytest.raises(DataError, match=r"line 3: I-X after O is not BIO; mend the file, or set data.illegal"):
        read_conll(path, Columns(repair=False))
    unfinished = written(tmp_path, "a S-X\nb B-X\n")
    with pytest.warns(DataWarning, match="line 2: a sentence that ends with B-X is not BIOES"):
        assert read_conll(unfinished)[0].tags == ("B-X", "B-X")


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a O\nb\n", {}, r"line 2: expected 2 columns as in line 1, got 1: 'b'"),
        ("a O\nb O O\n", {}, r"line 2: expected 2 columns as in line 1, got 3"),
        ("a\tO\n\tO\n", {}, r"line 2: expected a token in column 0, got an empty one"),
        (
            "a\nb\n",
            {},
            r"line 1: expected a token in column 0 and a tag in column -1 \(-1: the last\), got 1 columns",
        ),
        ("a O\n", {"tag": 5}, r"line 1: .* a tag in column 5"),
        ("a O\n", {"word": 2}, r"line 1: expected a token in column 2"),
        ("a O\n\nb B\n", {}, r"line 3: expected a tag such as O, B-PER or I-PER, got 'B' in column -1 of 'b B'"),
        ("a O\nb b-per\n", {}, r"line 2: .* got 'b-per'"),
        ("a O\nO b\n", {}, r"line 2: .* got 'b'"),
        ("-DOCSTART- O\n\n", {}, "expected sentences of tagged tokens, found none"),
        ("\n\n", {}, "is empty"),
        (
            "".join(f"a B-{i}\n" for i in range(300)),
            {},
            "300 types of entity, such as 0, 1, 10; is column -1 right",
        ),
    ],
)
def test_each_mistake_has_file_and_line(tmp_path: Path, text: str, columns: dict, message: str) -> None:
    path = written(tmp_path, text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=message) as caught:
            read_conll(path, Columns(**columns))
    assert str(path) in str(caught.value)


def test_binary_missing_and_other_encodings(tmp_path: Path) -> None:
    (tmp_path / "latin.conll").write_bytes(b"a O\ncaf\xe9 O\n")
    with pytest.raises(DataError, match="not UTF-8: byte 0xe9 in line 2"):
        read_conll(tmp_path / "latin.conll")
    with pytest.raises(DataError, match="No such file"):
        read_conll(tmp_path / "none.conll")


def test_what_does_not_fit_a_column_is_refused(tmp_path: Path) -> None:
    for token in ("a\tb", "a\nb", "", " "):
        with pytest.raises(DataError, match="tokens that fit into a column"):
            write_conll(tmp_path / "a.conll", [Sentence((token,), ("O",))])
    with pytest.raises(ConfigError, match="scheme"):
        write_conll(tmp_path / "a.conll", [Sentence(("a",), ("O",))], "IOB")
