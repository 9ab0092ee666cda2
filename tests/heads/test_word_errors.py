"""Error rates against the smallest number of edits, found by trying all of them; the table that people read."""

import random
import sys
from functools import cache

import pytest

from recurra.errors import ConfigError, DataError
from recurra.heads.word_errors import Errors, word_errors

pytest.importorskip("jiwer")


def fewest_edits(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    @cache
    def edits(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, edits(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return edits(len(a), len(b))


def test_rates_are_the_fewest_edits() -> None:
    drawn = random.Random(3)
    texts = [[" ".join(drawn.choices("abcd", k=drawn.randrange(7))) for _ in range(60)] for _ in range(2)]
    found = word_errors(*texts)
    words = sum(fewest_edits(tuple(a.split()), tuple(b.split())) for a, b in zip(*texts, strict=True))
    characters = sum(fewest_edits(tuple(a), tuple(b)) for a, b in zip(*texts, strict=True))
    assert found.wer == words / sum(len(a.split()) for a in texts[0])
    assert found.cer == characters / sum(map(len, texts[0]))
    assert sum(row.there for row in found.rows) == found.words.there
    assert sum(row.inserted for row in found.rows) == found.words.inserted
    assert sum(row.deleted for row in found.rows) == found.words.deleted
    assert sum(count for row in found.rows for _, count in row.taken_for) == found.words.substituted


def test_the_table_says_what_became_of_each_word() -> None:
    found = word_errors(["the cat sat", "the  hat", "five"], ["the bat sat down", "the bat", "nine"])
    assert found.words == Errors(6, 3, 0, 1)
    assert found.wer == pytest.approx(4 / 6)
    assert found.table() == "\n".join(
        [
            "word  there  right  deleted  inserted  taken for",
            "cat       1      0        0         0  bat 1",
            "down      0      0        0         1",
            "five      1      0        0         0  nine 1",
            "hat       1      0        0         0  bat 1",
        ]
    )
    assert found.table(1).count("\n") == 1
    assert word_errors(["a"], ["a"]).table() == "word  there  right  deleted  inserted  taken for"


def test_nothing_said() -> None:
    assert word_errors([], []).wer == 0
    assert word_errors(["", "a"], ["b", ""]).words == Errors(1, 0, 1, 1)
    assert word_errors([""], ["b c"]).wer == 2


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="1 references, got 0"):
        word_errors(["a"], [])
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ConfigError, match=r"recurra\[speech\]"):
        word_errors(["a"], ["a"])
