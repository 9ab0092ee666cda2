"""Manifests and folders of recordings: what is read, and errors that name file and line."""

import json

import pytest
import torch

from recurra.data.audio import Sound, write_sound
from recurra.data.manifests import Utterance, load, read_manifest, write_manifest
from recurra.errors import DataError

pytest.importorskip("soundfile")


@pytest.fixture
def folder(tmp_path):
    """Three sounds of 0.1, 0.2 and 0.3 seconds."""
    for number, name in enumerate(("a", "b", "c"), 1):
        write_sound(tmp_path / f"{name}.wav", Sound(torch.full((800 * number,), 0.1 * number), 8000))
    return tmp_path


def manifest(folder, *rows) -> str:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "train.jsonl"


def test_a_manifest(folder):
    rows = [
        {"audio_filepath": "a.wav", "duration": 0.1, "text": " guten  Tag "},
        "",
        {
            "audio_filepath": str(folder / "b.wav"),
            "text": "",
            "offset": 0.05,
            "language": "de",
            "speaker": "x",
            "z": 1,
        },
        {"audio_filepath": ["a.wav", "c.wav"], "text": "two", "duration": 0.4},
    ]
    assert read_manifest(manifest(folder, *rows)) == [
        Utterance(folder / "a.wav", "guten Tag", duration=0.1),
        Utterance(folder / "b.wav", "", start=0.05, language="de", speaker="x"),
        Utterance(folder / "a.wav", "two", more=(folder / "c.wav",)),
    ]


def test_a_written_manifest_comes_back(folder, tmp_path_factory):
    utterances = [
        Utterance(folder / "a.wav", "naïve", 0.025, 0.05, "fr", "x"),
        Utterance(folder / "b.wav", "", more=(folder / "c.wav", folder / "a.wav")),
    ]
    for place in (folder, tmp_path_factory.mktemp("other")):
        write_manifest(place / "m.jsonl", utterances)
        assert read_manifest(place / "m.jsonl") == utterances
    assert '"audio_filepath": "a.wav", "text": "naïve"' in (folder / "m.jsonl").read_text("utf-8")


def test_loading(folder):
    whole, part = (
        load(Utterance(folder / "b.wav", ""), 8000),
        load(Utterance(folder / "b.wav", "", 0.05, 0.1), 8000),
    )
    assert (len(whole.samples), len(part.samples), part.rate) == (1600, 800, 8000)
    joined = load(Utterance(folder / "b.wav", "", more=(folder / "a.wav",)), 8000).samples
    assert joined.tolist() == pytest.approx([0.2] * 1600 + [0.1] * 800, abs=1e-4)
    pytest.importorskip("soxr")
    assert len(load(Utterance(folder / "b.wav", "", more=(folder / "a.wav",)), 16_000).samples) == 4800


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("{not json", r"line 2: not JSON"),
        ("[1]", r"line 2: expected a JSON object with audio_filepath and text"),
        ({"text": "x"}, r"line 2: expected the name of a sound in 'audio_filepath', got None"),
        ({"audio_filepath": [], "text": "x"}, r"line 2: expected the name of a sound"),
        ({"audio_filepath": "z.wav", "text": "x"}, r"line 2: there is no sound .*z\.wav"),
        ({"audio_filepath": "a.wav", "txt": "x"}, r"line 2: expected 'text', what is said in a\.wav"),
        ({"audio_filepath": "a.wav", "text": 5}, r"line 2: expected a text in 'text', got 5"),
        (
            {"audio_filepath": "a.wav", "text": "x", "duration": "1"},
            r"line 2: expected seconds in 'duration', got '1'",
        ),
        ({"audio_filepath": "a.wav", "text": "x", "offset": -1}, r"line 2: expected seconds in 'offset', got -1"),
        ({"audio_filepath": ["a.wav", "b.wav"], "text": "x", "offset": 1}, r"line 2: an offset is for one sound"),
    ],
)
def test_a_line_that_is_not_so(row, what, folder):
    path = manifest(folder, {"audio_filepath": "a.wav", "text": "first"}, row)
    with pytest.raises(DataError, match=rf"train\.jsonl, {what}"):
        read_manifest(path)


def test_a_folder(folder):
    for name, text in (("a", "Eins,\n"), ("b", "zwei"), ("c", "drei\nvier")):
        (folder / f"{name}.txt").write_text(text, "utf-8")
    found = read_manifest(folder)
    assert [(row.path.name, row.text) for row in found] == [
        ("a.wav", "Eins,"),
        ("b.wav", "zwei"),
        ("c.wav", "drei vier"),
    ]
    (folder / "c.txt").unlink()
    with pytest.raises(DataError, match=r"1 files without a partner; .*/c has no text beside it"):
        read_manifest(folder)
    (folder / "c.wav").rename(folder / "d.flac")
    (folder / "c.txt").write_text("drei", "utf-8")
    with pytest.raises(DataError, match=r"2 files without a partner; .*/c has no sound beside it"):
        read_manifest(folder)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"expected sounds \(\.wav, \.flac, \.ogg, \.mp3\)"):
        read_manifest(folder / "empty")


def test_a_missing_manifest(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.jsonl"):
        read_manifest(tmp_path / "none.jsonl")
