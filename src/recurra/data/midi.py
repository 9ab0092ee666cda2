"""MIDI files to piano rolls and back: notes on the 88 keys of a piano, in frames of equal length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import files
from recurra.errors import ConfigError, DataError, ShapeError

__all__ = ["KEYS", "LOWEST", "Note", "note_name", "notes", "read_midi", "voices", "write_midi"]

KEYS = 88
LOWEST = 21  # the MIDI number of the piano's lowest key, A0
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MOST = 1_000_000  # frames of a file: a damaged one may ask for more than fits in memory
TICKS = 480  # a beat, in files that we write
PERCUSSION = 9  # the channel whose numbers are drums, not pitches
VOICES = {"soprano": 67, "alto": 60, "tenor": 55, "bass": 48}  # and about where each sings, as MIDI numbers
CHOIR, LOUDNESS = 52, 80  # General MIDI's choir; of 127


@dataclass(frozen=True)
class Note:
    """A key held over frames: ``key`` from 0, first frame ``begin``, first frame after it ``end``."""

    key: int
    begin: int
    end: int


def note_name(key: int) -> str:
    """The name of a key from 0, with its octave: ``A0`` for 0, ``C4`` for 39."""
    number = LOWEST + key
    return f"{NAMES[number % 12]}{number // 12 - 1}"


def notes(roll: Tensor) -> list[Note]:
    """The notes of a roll ``(T, keys)``, by begin, the highest first; a key that goes on sounding is one note."""
    edge = roll.new_zeros(1, roll.shape[1], dtype=torch.int8)
    change = torch.cat([edge, (roll > 0).to(torch.int8), edge]).diff(dim=0)
    found = []
    for key in range(roll.shape[1]):
        begins, ends = ((change[:, key] == sign).nonzero()[:, 0].tolist() for sign in (1, -1))
        found += [Note(key, begin, end) for begin, end in zip(begins, ends, strict=True)]
    return sorted(found, key=lambda note: (note.begin, -note.key))


def voices(played: list[Note], homes: Sequence[float]) -> list[list[Note]]:
    """Share notes among voices: each goes to the free voice that last sang nearest to it, or began at its home.

    homes  keys where the voices begin. When all voices are busy the nearest one takes the note as well.
    """
    parts: list[list[Note]] = [[] for _ in homes]
    for note in played:
        last = [part[-1].key if part else home for part, home in zip(parts, homes, strict=True)]
        free = [i for i, part in enumerate(parts) if not part or part[-1].end <= note.begin]
        nearest = min(free or range(len(parts)), key=lambda i: abs(last[i] - note.key))
        parts[nearest].append(note)
    return parts


def write_midi(roll: Tensor, path: str | Path, step: float = 1.0, tempo: float = 80.0, transpose: int = 0) -> None:
    """Write a roll ``(T, 88)`` as a MIDI file of four voices, each a track with the sound of a choir.

    step       beats a frame
    tempo      beats a minute
    transpose  semitones that all notes are moved by

    A key that sounds in several frames in a row is one long note. Raises DataError if notes leave MIDI's range.
    """
    if roll.dim() != 2 or roll.shape[1] != KEYS:
        raise ShapeError(f"write_midi: expected a roll of shape (T, {KEYS}), got {tuple(roll.shape)}")
    mido, played = _mido(), notes(roll)
    if any(not 0 <= LOWEST + note.key + transpose <= 127 for note in played):
        raise DataError(f"write_midi: moved by {transpose} semitones, notes leave the range of MIDI, 0 to 127")
    song = mido.MidiFile(ticks_per_beat=TICKS)
    begin = mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo))
    song.tracks.append(mido.MidiTrack([begin, _end(mido, len(roll) * step)]))
    homes = [home - LOWEST - transpose for home in VOICES.values()]
    for channel, (name, part) in enumerate(zip(VOICES, voices(played, homes), strict=True)):
        song.tracks.append(_track(mido, name, channel, part, step, LOWEST + transpose))
    files.write(Path(path), song.save)


def _end(mido: Any, beats: float) -> Any:
    return mido.MetaMessage("end_of_track", time=round(beats * TICKS))


def _track(mido: Any, name: str, channel: int, part: list[Note], step: float, lowest: int) -> Any:
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    track.append(mido.Message("program_change", program=CHOIR, channel=channel))
    events = [(note.begin, 1, note.key) for note in part] + [(note.end, 0, note.key) for note in part]
    now = 0
    for frame, on, key in sorted(events):  # at the same time the old note ends before the new one begins
        tick = round(frame * step * TICKS)
        kind, velocity = ("note_on", LOUDNESS) if on else ("note_off", 0)
        track.append(mido.Message(kind, note=lowest + key, velocity=velocity, channel=channel, time=tick - now))
        now = tick
    return track


def read_midi(path: str | Path, step: float = 1.0) -> Tensor:
    """The roll ``(T, 88)`` of a MIDI file, 0 and 1 as uint8; drums are left out.

    step  beats a frame. A key counts if it sounds an eighth of a frame after the frame's begin: hands that are a
          little late do no harm.

    Raises DataError if the file is not MIDI, is empty, or has a note that a piano has not.
    """
    song = _parse(Path(path))
    frame = step * song.ticks_per_beat
    found = [note for track in song.tracks for note in _held(track)]
    if not found:
        raise DataError(f"{path}: no notes in this MIDI file")
    for number, _, _ in found:
        if not LOWEST <= number < LOWEST + KEYS:
            raise DataError(f"{path}: expected notes of a piano, {LOWEST} to {LOWEST + KEYS - 1}, got {number}")
    length = max(sum(message.time for message in track) for track in song.tracks)
    if length / frame > MOST:
        raise DataError(f"{path}: expected at most {MOST:,} frames, got {length / frame:,.0f}; is it damaged?")
    roll = torch.zeros(max(1, round(length / frame)), KEYS, dtype=torch.uint8)
    for number, begin, end in found:
        first, last = (max(0, math.ceil(tick / frame - 0.125)) for tick in (begin, end))
        roll[first:last, number - LOWEST] = 1
    return roll


def _parse(path: Path) -> Any:
    try:
        song = _mido().MidiFile(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error or 'not a MIDI file'}") from error
    except (EOFError, ValueError, IndexError, KeyError, TypeError) as error:  # damaged bytes
        raise DataError(f"cannot read {path}: not a whole MIDI file ({type(error).__name__}: {error})") from error
    if song.type == 2 or not 0 < song.ticks_per_beat < 1 << 15:
        raise DataError(
            f"{path}: expected tracks that sound together and some ticks a beat, got type {song.type} and "
            f"{song.ticks_per_beat} ticks"
        )
    return song


def _held(track: Any) -> list[tuple[int, int, int]]:
    """(number, first tick, last tick) of the notes of a track; one that never ends lasts to the track's end."""
    begun: dict[tuple[int, int], list[int]] = {}
    found, now = [], 0
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
            continue
        waiting = begun.setdefault((message.channel, message.note), [])
        if message.type == "note_on" and message.velocity:
            waiting.append(now)
        elif waiting:
            found.append((message.note, waiting.pop(0), now))
    return found + [(number, begin, now) for (_, number), waiting in begun.items() for begin in waiting]


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise ConfigError(
            "MIDI files need the library mido; install it with: pip install 'recurra[music]'"
        ) from error
    return mido
