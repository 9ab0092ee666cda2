"""Text: reading, splitting, tokens and windows."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.data.text import TOKENS, read_text, split_text
from recurra.data.windows import Windows
from recurra.errors import ConfigError, DataError

POEM = "床前明月光，疑是地上霜。\nTo be, or not to be: that is the question.\n\n  Émile\tsaid “no”!\n" * 5


@pytest.mark.parametrize("kind", TOKENS)
def test_tokens_lose_nothing(kind: str) -> None:
    tokens = TOKENS[kind].learn(POEM, 0)
    assert tokens.decode(tokens.encode(POEM)) == POEM
    again = TOKENS[kind].from_dict(tokens.to_dict())
    assert again.encode(POEM) == tokens.encode(POEM)
    assert len(again) == len(tokens) > max(tokens.encode(POEM))


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_unknown_pieces_and_sizes(kind: str) -> None:
    tokens = TOKENS[kind].learn("a a a b b c", 3)
    assert len(tokens) == 3
    assert tokens.encode("Z") == [0]
    assert 0 not in TOKENS[kind].learn(POEM, 0).encode(POEM)


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_byte_pairs_know_every_text(text: str) -> None:
    tokens = test_byte_pairs_know_every_text.tokens
    assert tokens.decode(tokens.encode(text)) == text


test_byte_pairs_know_every_text.tokens = TOKENS["byte_pairs"].learn(POEM, 300)


def test_byte_pairs_need_all_bytes() -> None:
    with pytest.raises(ConfigError, match="at least 256"):
        TOKENS["byte_pairs"].learn(POEM, 100)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b" \n\n ", "is empty"),
        (b"\x89PNG\x00\x00abc", "binary file"),
        ("schön".encode("latin-1"), "not UTF-8: byte 0xf6 in line 1"),
        (b"one\ntwo\n\xff", "in line 3"),
    ],
)
def test_bad_files(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message):
        read_text(path)
    with pytest.raises(DataError, match="No such file"):
        read_text(tmp_path / "absent.txt")


def test_line_ends_and_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc")
    assert read_text(path) == "a\nb\nc"


def test_split_is_in_order_and_whole() -> None:
    assert split_text("0123456789", (0.8, 0.1, 0.1)) == ["01234567", "8", "9"]
    assert "".join(split_text(POEM, (0.9, 0.05, 0.05))) == POEM
    with pytest.raises(ConfigError, match="add up to 1"):
        split_text(POEM, (0.9, 0.2, 0.1))


@given(st.integers(2, 200), st.integers(1, 5), st.integers(1, 30))
def test_held_out_windows_predict_every_token_once(count: int, batch: int, window: int) -> None:
    if count < 2 * batch:
        return
    passing = Windows(torch.arange(count), batch, window).epoch(0)
    pairs = [
        (int(a), int(b))
        for x, y in passing
        for row_x, row_y in zip(x, y, strict=True)
        for a, b in zip(row_x, row_y, strict=True)
        if b != -100
    ]
    assert sorted(pairs) == [(i, i + 1) for i in range(count - 1)]


@given(st.integers(30, 300), st.integers(1, 4), st.integers(1, 6), st.integers(0, 50))
def test_training_windows_go_on_where_the_row_stopped(count: int, batch: int, window: int, number: int) -> None:
    windows = Windows(torch.arange(count), batch, window, shifted=True)
    passing = windows.epoch(number)
    assert len(passing) >= 1
    before = None
    for x, y in passing:
        assert x.shape == y.shape == (batch, window)
        assert torch.equal(y, x + 1)
        assert before is None or torch.equal(x[:, 0], before)
        before = y[:, -1]
    with pytest.raises(IndexError):
        passing[len(passing)]


def test_processes_share_the_rows() -> None:
    windows = Windows(torch.arange(100), 4, 5, shifted=True)
    parts = [windows.shard(rank, 2).epoch(3) for rank in range(2)]
    for i, whole in enumerate(windows.epoch(3)):
        assert torch.equal(torch.cat([part[i].x for part in parts]), whole.x)
    with pytest.raises(ConfigError, match="multiple of the 3 processes"):
        windows.shard(0, 3)


def test_a_short_text_is_told() -> None:
    with pytest.raises(DataError, match="too short for 4 rows of 50 steps; expected at least 204"):
        Windows(torch.arange(100), 4, 50, shifted=True)
