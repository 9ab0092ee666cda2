"""Word vectors in text: both formats, words with spaces, case, and each mistake with its line."""

from pathlib import Path

import pytest
import torch

from recurra.data.vectors import read_vectors
from recurra.errors import DataError

GLOVE = "the 0.5 -1 2e-1\nParis 1 2 3\nNew York 4 5 6\n. . . 7 8 9\nthe 0 0 0\nPARIS 9 9 9\n1/2 1 0 1\n"


def written(folder: Path, text: str) -> Path:
    (folder / "v.txt").write_text(text, "utf-8")
    return folder / "v.txt"


@pytest.mark.parametrize("header", ["", "7 3\n"])
def test_both_formats(tmp_path: Path, header: str) -> None:
    needed = {"the", "paris", "New York", ". . .", "unseen"}
    found = read_vectors(written(tmp_path, header + GLOVE), needed)
    values = dict(zip(found.words, found.values.tolist(), strict=True))
    assert values == {
        "the": pytest.approx([0.5, -1.0, 0.2]),  # the first of two
        "paris": [1.0, 2.0, 3.0],  # another case, the first that fits
        "New York": [4.0, 5.0, 6.0],
        ". . .": [7.0, 8.0, 9.0],
    }
    assert found.share == 0.8
    assert found.values.dtype == torch.float32


def test_the_same_case_wins_over_another(tmp_path: Path) -> None:
    found = read_vectors(written(tmp_path, "Paris 1 1\nPARIS 3 3\nparis 2 2\n"), {"paris", "PARIS", "pAris"})
    assert dict(zip(found.words, found.values[:, 0].tolist(), strict=True)) == {"paris": 2, "PARIS": 3, "pAris": 1}


def test_the_top_of_the_file_can_be_kept(tmp_path: Path) -> None:
    found = read_vectors(written(tmp_path, GLOVE), {"1/2", "unseen"}, keep=2)
    assert found.words == ("1/2", "Paris", "the")
    assert found.share == 0.5


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("a 1 2\nb 1 2 3\n", 0, "line 2: expected a word and 2 numbers, got 3 numbers"),
        ("a 1 2\nb 1\n", 0, "line 2: expected a word and 2 numbers, got 1"),
        ("a 1 2\n", 3, "line 1: expected a word and 3 numbers, got 2"),
        ("1 3\na 1 2\n", 0, "line 2: expected a word and 3 numbers, got 2"),
        ("1 3\na 1 2 3\n", 2, "line 1: expected 2 dimensions, the file says 3"),
        ("a 1 x\n", 2, "line 1: expected 2 finite numbers, got 'x'"),
        ("a 1 nan\n", 2, "line 1: expected 2 finite numbers, got 'nan'"),
        ("words only\n", 0, "line 1: expected a word and some numbers"),
        ("zebra 1 2\n", 0, "none of the 1 words of the data has a vector"),
    ],
)
def test_each_mistake_has_its_line(tmp_path: Path, text: str, size: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_vectors(written(tmp_path, text), {"a"}, size)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the word vectors"):
        read_vectors(tmp_path / "none.txt", {"a"})
    (tmp_path / "v.bin").write_bytes(b"a 1 2\nb \xff\xfe\x00\n")
    with pytest.raises(DataError, match="line 2: not UTF-8; expected word vectors in text"):
        read_vectors(tmp_path / "v.bin", {"a"})
