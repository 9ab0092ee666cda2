"""Parallel files by suffix, tables, and what is wrong with them."""

import gzip
from pathlib import Path

import pytest

from recurra.data.parallel import SentencePair, read_parallel, read_part, split_pairs
from recurra.errors import DataError

LANGUAGES = ("en", "de")
SHARES = (0.8, 0.1, 0.1)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", ".")
        data = text.encode("utf-8")
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def read(path: Path, test: str = ""):
    return read_parallel(path, LANGUAGES, test, SHARES)


def test_a_folder_and_a_prefix_gzipped_or_not(tmp_path: Path) -> None:
    write(tmp_path, train__en="a\n b \n\nc d\n", train__de="A\nB\nX\nC D", val__en__gz="e\n", val__de="E\n")
    write(tmp_path, test__en="f\n", test__de__gz="F\n")
    found = read(tmp_path)
    assert found.train == [("a", "A"), ("b", "B"), ("", "X"), ("c d", "C D")], "in order, empty lines in place"
    assert (found.valid, found.test) == ([SentencePair("e", "E")], [SentencePair("f", "F")])
    assert found.files == {"train": "train.en", "valid": "val.en.gz", "test": "test.en"}
    (tmp_path / "more").mkdir()
    for file in tmp_path.glob("*.*"):
        file.rename(tmp_path / "more" / f"set.{file.name}")
    again = read(tmp_path / "more" / "set")
    assert (again.train, again.valid, again.test) == (found.train, found.valid, found.test)


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    odd = "a\u2028b\x0bc\x85d"
    write(tmp_path, train__en=odd + "\nx\n", train__de="1\r\n2\r\n", dev__en="a\n", dev__de="A\n")
    write(tmp_path, test__en="a\n", test__de="A\n")
    assert read(tmp_path).train == [(odd, "1"), ("x", "2")]


def test_several_test_parts(tmp_path: Path) -> None:
    for part in ("train", "valid", "test_2016", "test_2017"):
        write(tmp_path, **{f"{part}__en": f"{part}\n", f"{part}__de": "x\n"})
    with pytest.raises(DataError, match=r"several test parts, test_2016, test_2017; choose one with data\.test"):
        read(tmp_path)
    assert read(tmp_path, "test_2017").test == [("test_2017", "x")]
    write(tmp_path, test__en="plain\n", test__de="x\n")
    assert read(tmp_path).test == [("plain", "x")]


def test_one_pair_of_files_or_a_table_is_split_by_source(tmp_path: Path) -> None:
    lines = [(f"s{i % 40}", f"t{i}") for i in range(100)]
    write(tmp_path, all__en="".join(f"{a}\n" for a, _ in lines), all__de="".join(f"{b}\n" for _, b in lines))
    write(tmp_path, table__tsv__gz="".join(f"{a}\t{b}\tCC BY\n" for a, b in lines))
    found = read(tmp_path / "all")
    assert found.train + found.valid + found.test != lines
    assert sorted(found.train + found.valid + found.test) == sorted(lines)
    parts = [{pair.source for pair in part} for part in (found.train, found.valid, found.test)]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert len(set.union(*parts)) == 40, "no source in two parts"
    table = read(tmp_path / "table.tsv.gz")
    assert (table.train, table.valid, table.test) == (found.train, found.valid, found.test), "the same every time"
    assert sum(int(source[1:]) for source in parts[1]) != sum(range(32, 36)), "not just the last ones"
    (tmp_path / "all.en").unlink()
    (tmp_path / "all.de").unlink()
    assert read(tmp_path).train == found.train, "the only table of a folder"
    assert read_part(tmp_path / "table.tsv.gz", LANGUAGES) == lines


def test_a_small_set_has_every_part() -> None:
    found = split_pairs([SentencePair(str(i), "x") for i in range(3)], SHARES, "x")
    assert [len(part) for part in (found.train, found.valid, found.test)] == [1, 1, 1]
    with pytest.raises(DataError, match=r"x: expected at least three different source sentences, .* got 2"):
        split_pairs([SentencePair(str(i % 2), "x") for i in range(9)], SHARES, "x")


def test_part_to_measure_on(tmp_path: Path) -> None:
    write(tmp_path, new__en="a\n\n", new__de="A\n\n")
    assert read_part(tmp_path / "new", LANGUAGES) == [("a", "A"), ("", "")]
    with pytest.raises(DataError, match=r"expected a TSV file with two columns, or the files .*old\.en and"):
        read_part(tmp_path / "old", LANGUAGES)


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({"x__en": "a\nb\n", "x__de": "A\n"}, "x", r"x\.en has 2 lines and .*x\.de has 1; expected as many"),
        ({"x__en": "a\n"}, "x", r"x\.en is there, but .*x\.de \(or with \.gz\) is missing"),
        ({"train__en": "a\n", "train__de": "A\n"}, "", r"no valid part; expected files valid or val or dev"),
        ({}, "", r"no train part; expected files train with the suffixes \.en and \.de"),
        (
            {"x__tsv": "a\tA\n\nb A\n"},
            "x.tsv",
            r"x\.tsv:3: expected a sentence, a tab and its translation, got 'b A'",
        ),
        ({"x__en": "", "x__de": ""}, "x", r"x\.en is empty"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, files: dict[str, str], path: str, message: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(DataError, match=message):
        read(tmp_path / path if path else tmp_path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.en").write_bytes("gut\nschön\n".encode("latin-1"))
    (tmp_path / "x.de").write_bytes(b"a\nb\n")
    with pytest.raises(DataError, match=r"x\.en is not UTF-8: byte 0xf6 in line 2; convert it with: iconv"):
        read(tmp_path / "x")
    (tmp_path / "x.en").unlink()
    (tmp_path / "x.en.gz").write_bytes(gzip.compress(b"a\nb\n" * 400)[:-9])
    with pytest.raises(DataError, match=r"x\.en\.gz: not a whole gzip file"):
        read(tmp_path / "x")


def test_any_script(tmp_path: Path) -> None:
    text = "שלום\tمرحبا\ne\u0301 👩‍👩‍👧\t檔案\n"
    write(tmp_path, x__tsv=text)
    assert read_part(tmp_path / "x.tsv", LANGUAGES) == [("שלום", "مرحبا"), ("e\u0301 👩‍👩‍👧", "檔案")]
