"""Spoken digits: names, splits that share no recording, strings made of a part's own recordings."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from recurra.data.spoken_digits import WORDS, Digit, connected, official, read_digits, without
from recurra.errors import ConfigError, DataError

SPEAKERS = ("ann", "bob", "eve")
DIGITS = [
    Digit(Path(f"{d}_{who}_{take}.wav"), d, who, take) for who in SPEAKERS for d in range(10) for take in range(12)
]


def recordings(utterances) -> set[Path]:
    return {path for utterance in utterances for path in (utterance.path, *utterance.more)}


def test_reading_a_folder_and_a_zip_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "data"))
    (tmp_path / "recordings").mkdir()
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
        for name in ("7_eve_11", "7_eve_2", "0_ann_0"):
            (tmp_path / "recordings" / f"{name}.wav").write_bytes(b"sound")
            archive.writestr(f"recordings/{name}.wav", b"sound")
        archive.writestr("README.md", b"text")
    for path in (tmp_path / "recordings", tmp_path / "digits.zip", tmp_path / "digits.zip"):
        found = read_digits(path)
        assert [digit[1:] for digit in found] == [(0, "ann", 0), (7, "eve", 2), (7, "eve", 11)]
        assert all(digit.path.read_bytes() == b"sound" for digit in found)
    assert found[1].utterance[1:] == ("seven", 0.0, 0.0, "en", "eve", ())
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_what_are_no_digits(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*none"):
        read_digits(tmp_path / "none")
    with pytest.raises(DataError, match=r"expected sounds named digit_speaker_index\.wav, there is none"):
        read_digits(tmp_path)
    (tmp_path / "seven.wav").touch()
    with pytest.raises(DataError, match=r"seven\.wav: expected a name like 7_jackson_32\.wav"):
        read_digits(tmp_path)


def test_official_split():
    parts = official(DIGITS)
    takes = [
        {int(path.stem.rpartition("_")[2]) for path in recordings(part)}
        for part in (parts.train, parts.valid, parts.test)
    ]
    assert takes == [{10, 11}, {5, 6, 7, 8, 9}, {0, 1, 2, 3, 4}]
    assert sum(map(len, (parts.train, parts.valid, parts.test))) == len(DIGITS)
    assert Counter(row.text for row in parts.test) == dict.fromkeys(WORDS, 15)
    with pytest.raises(DataError, match="the part 'train' has no recording"):
        official([digit for digit in DIGITS if digit.take < 10])


def test_leaving_a_speaker_out():
    parts = without(DIGITS, "bob")
    assert {row.speaker for row in parts.test} == {"bob"}
    assert len(parts.test) == 120
    assert {row.speaker for row in (*parts.train, *parts.valid)} == {"ann", "eve"}
    assert not recordings(parts.train) & recordings(parts.valid)
    assert len(parts.train) + len(parts.valid) == 240
    with pytest.raises(ConfigError, match="expected one of ann, bob, eve, got 'tom'"):
        without(DIGITS, "tom")


def test_strings_of_digits():
    test = official(DIGITS).test
    strings = connected(test, 60, seed=3)
    assert strings == connected(test, 60, seed=3)
    assert strings != connected(test, 60, seed=4)
    assert {len(row.text.split()) for row in strings} == {3, 4, 5, 6, 7}
    assert {len(row.text.split()) for row in connected(test, 9, 3, 2, 2)} == {2}
    assert recordings(strings) == recordings(test), "all of them, and no other"
    words = {row.path: row.text for row in test}
    for row in strings:
        assert row.text == " ".join(words[path] for path in (row.path, *row.more))
        assert {path.stem.split("_")[1] for path in (row.path, *row.more)} == {row.speaker}
    assert Counter(row.speaker for row in strings) == dict.fromkeys(SPEAKERS, 20)
    used = Counter(path for row in strings for path in (row.path, *row.more))
    assert max(used.values()) - min(used.values()) <= 2, "dealt like cards"
    for rows, least, most in (([], 3, 7), (test, 4, 3), (test, 0, 3)):
        with pytest.raises(ConfigError, match="1 <= least <= most"):
            connected(rows, 5, 1, least, most)
