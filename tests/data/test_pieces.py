"""The simple tokenizer: pinned cases, and offsets that always lead back to the text."""

import random

import pytest

from recurra.data.pieces import characters, words

CASES = [
    ("It's the U.S., don't!!", ["It", "'s", "the", "U.S.", ",", "do", "n't", "!!"]),
    ("O'Brien's co-op (3.5%)", ["O'Brien", "'s", "co-op", "(", "3.5", "%", ")"]),
    ("@paulwalk #oscars... ok", ["@paulwalk", "#oscars", "...", "ok"]),
    ("see https://t.co/x?a=1. a.b@mail.org", ["see", "https://t.co/x?a=1", ".", "a.b@mail.org"]),
    ("1,000.50 on 7:30", ["1,000.50", "on", "7:30"]),
    ("王小明 in 台北101", ["王", "小", "明", "in", "台", "北", "101"]),
    ("👨‍👩‍👧 ❤️👍🏽🇹🇼🇯🇵", ["👨‍👩‍👧", "❤️", "👍🏽", "🇹🇼", "🇯🇵"]),
    ("שָׁלוֹם cafe\u0301 नमस्ते", ["שָׁלוֹם", "cafe\u0301", "नमस्ते"]),
    ("a\u00a0b\u3000c\u2028d", ["a", "b", "c", "d"]),
    ("", []),
    (" \t", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_words(text: str, expected: list[str]) -> None:
    assert [piece.text for piece in words(text)] == expected


def test_characters_keep_their_marks() -> None:
    assert [piece.text for piece in characters("王 e\u0301👍")] == ["王", "e\u0301", "👍"]


@pytest.mark.parametrize("cut", [words, characters])
def test_offsets_lead_back_and_nothing_is_lost(cut) -> None:
    drawn = random.Random(0)
    alphabet = "aB1 .'-@#:/\u0301\u200d\ufe0f👍王क\u094dש\t🇹"
    for _ in range(500):
        text = "".join(drawn.choices(alphabet, k=drawn.randrange(12)))
        pieces = cut(text)
        assert all(text[piece.begin : piece.end] == piece.text for piece in pieces)
        assert "".join(piece.text for piece in pieces) == "".join(text.split())
