"""MIDI files: what is written reads back as the same roll, held notes are held, damage is one clear error."""

import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from recurra.data.midi import KEYS, Note, note_name, notes, read_midi, voices, write_midi
from recurra.errors import DataError, ShapeError

mido = pytest.importorskip("mido")


def roll_of(length: int = 19, seed: int = 0, density: float = 0.05) -> torch.Tensor:
    """Random notes, many of them held over several frames."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.rand(length, KEYS, generator=random) < density
    roll = drawn | drawn.roll(1, 0) | drawn.roll(2, 0)
    roll[0, 40] = True
    return roll.byte()


@pytest.mark.parametrize("step", [1.0, 0.25, 1 / 3])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3])
def test_written_and_read_is_the_same_roll(tmp_path: Path, step: float, density: float) -> None:
    roll = roll_of(density=density)
    write_midi(roll, tmp_path / "a.mid", step)
    assert torch.equal(read_midi(tmp_path / "a.mid", step), roll)


def test_transposed_when_written(tmp_path: Path) -> None:
    roll = roll_of(density=0.0)
    write_midi(roll, tmp_path / "a.mid", transpose=-12)
    assert torch.equal(read_midi(tmp_path / "a.mid"), roll.roll(-12, 1))
    with pytest.raises(DataError, match="leave the range of MIDI"):
        write_midi(roll, tmp_path / "a.mid", transpose=99)


def test_held_notes_are_struck_once_by_four_voices(tmp_path: Path) -> None:
    roll = torch.zeros(8, KEYS, dtype=torch.uint8)
    roll[:, [27, 34, 39, 43]] = 1
    roll[4:, 43], roll[4:, 46] = 0, 1
    write_midi(roll, tmp_path / "a.mid", tempo=72)
    song = mido.MidiFile(tmp_path / "a.mid")
    struck = [[m.note for m in track if m.type == "note_on"] for track in song.tracks]
    assert struck == [[], [64, 67], [60], [55], [48]]
    assert [track.name for track in song.tracks[1:]] == ["soprano", "alto", "tenor", "bass"]
    assert song.length == pytest.approx(8 * 60 / 72, abs=1e-3)


def test_notes_of_a_roll() -> None:
    roll = torch.zeros(6, KEYS)
    roll[1:3, 5] = roll[5, 5] = roll[1:6, 9] = 1
    assert notes(roll) == [Note(9, 1, 6), Note(5, 1, 3), Note(5, 5, 6)]
    assert notes(roll[:0]) == []
    assert [note_name(key) for key in (0, 1, 39, 87)] == ["A0", "A#0", "C4", "C8"]


def test_four_voices_sing_four_notes() -> None:
    roll = roll_of(80, 3, 0.03)
    roll = roll * (roll.cumsum(1) <= 4)
    assert int(roll.sum(1).max()) == 4
    for part in voices(notes(roll), [50, 40, 30, 20]):
        assert all(first.end <= second.begin for first, second in pairwise(part))
    crowd = voices([Note(key, 0, 2) for key in (50, 40, 33, 31, 20)], [50, 40, 30, 20])
    assert [[note.key for note in part] for part in crowd] == [[50], [40], [33], [31, 20]]


def song_of(path: Path, *events: tuple[str, int, int, int], ticks: int = 100, channel: int = 0) -> Path:
    song = mido.MidiFile(ticks_per_beat=ticks)
    song.tracks.append(mido.MidiTrack([mido.Message(kind, note=note, velocity=velocity, time=time, channel=channel)
                                       for kind, note, velocity, time in events]))  # fmt: skip
    song.save(path)
    return path


def test_frames_are_read_an_eighth_after_they_begin(tmp_path: Path) -> None:
    played = [("note_on", 60, 64, 12), ("note_on", 62, 64, 2), ("note_on", 60, 0, 98), ("note_off", 62, 0, 0)]
    roll = read_midi(song_of(tmp_path / "a.mid", *played))
    assert roll[:, 39].tolist() == [1], "12 of 100 ticks late; released by a note_on of velocity 0 12 ticks late"
    assert roll[:, 41].tolist() == [0], "14 ticks late is the next frame's, and it is gone by then"
    roll = read_midi(song_of(tmp_path / "b.mid", ("note_on", 60, 64, 0), ("note_on", 64, 64, 250)))
    assert roll[:, 39].tolist() == [1, 1], "a note that never ends lasts to the end of its track"


def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no notes in this MIDI file"):
        read_midi(song_of(tmp_path / "a.mid", ("note_on", 60, 64, 0), ("note_off", 60, 0, 9), channel=9))
    with pytest.raises(DataError, match=r"expected notes of a piano, 21 to 108, got 12"):
        read_midi(song_of(tmp_path / "b.mid", ("note_on", 12, 64, 0), ("note_off", 12, 0, 9)))
    with pytest.raises(DataError, match=r"No such file"):
        read_midi(tmp_path / "absent.mid")
    (tmp_path / "c.mid").write_text("no music at all")
    with pytest.raises(DataError, match=r"cannot read .*c\.mid"):
        read_midi(tmp_path / "c.mid")
    song = mido.MidiFile(tmp_path / "a.mid")
    song.type = 2
    song.save(tmp_path / "d.mid")
    with pytest.raises(DataError, match="sound together"):
        read_midi(tmp_path / "d.mid")
    with pytest.raises(ShapeError, match=r"expected a roll of shape \(T, 88\)"):
        write_midi(torch.zeros(3, 5), tmp_path / "e.mid")


def test_damaged_bytes_give_a_roll_or_a_data_error(tmp_path: Path) -> None:
    write_midi(roll_of(), tmp_path / "a.mid")
    whole, chance = (tmp_path / "a.mid").read_bytes(), random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.5 else whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256) if damaged else 0
        (tmp_path / "b.mid").write_bytes(damaged)
        try:
            read_midi(tmp_path / "b.mid")
        except DataError:
            refused += 1
    assert refused > 20
