"""What was said where: lists of recordings with their texts, from a manifest or a folder.

a line of a manifest   {"audio_filepath": "a.wav", "duration": 1.2, "text": "good morning"}
a folder               a.wav and a.txt, b.flac and b.txt, ...
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recurra import files
from recurra.data.audio import SUFFIXES, Sound, read_sound
from recurra.data.text import read_text
from recurra.errors import DataError

__all__ = ["Utterance", "load", "read_manifest", "write_manifest"]


class Utterance(NamedTuple):
    """A recording and what is said in it.

    path      the file of the sound
    text      the words
    start     seconds in the file where it begins
    duration  seconds; 0: up to the end of the file
    language  such as "en"; "": not said
    speaker   a name; "": not said
    more      files whose sound follows that of ``path``, to make one utterance of several recordings
    """

    path: Path
    text: str
    start: float = 0.0
    duration: float = 0.0
    language: str = ""
    speaker: str = ""
    more: tuple[Path, ...] = ()


def load(utterance: Utterance, rate: int) -> Sound:
    """The sound of an utterance. Raises DataError as `read_sound` does."""
    first = read_sound(utterance.path, rate, utterance.start, utterance.duration)
    rest = [read_sound(path, rate).samples for path in utterance.more]
    return Sound(torch.cat([first.samples, *rest]), rate) if rest else first


def read_manifest(path: str | Path) -> list[Utterance]:
    """The utterances of a manifest or of a folder, in order.

    A manifest holds a JSON object a line: ``audio_filepath`` (a name beside the manifest, a whole path, or a list
    of them that follow each other) and ``text``; ``duration``, ``offset`` (the start), ``language`` and ``speaker``
    if they are known. Other keys are for other programs. In a folder, each sound has a text of the same name.

    Raises DataError with the line, or the file, that is not so.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    return [_utterance(line, path.parent, f"{path}, line {number}") for number, line in lines]


def _utterance(line: str, folder: Path, where: str) -> Utterance:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object with audio_filepath and text, got {line[:60]!r}")
    names = row.get("audio_filepath")
    names = names if isinstance(names, list) else [names]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise DataError(
            f"{where}: expected the name of a sound in 'audio_filepath', got {row.get('audio_filepath')!r}"
        )
    paths = [folder / name for name in names]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{where}: there is no sound {path}")
    if "text" not in row:
        raise DataError(f"{where}: expected 'text', what is said in {names[0]}; there are {', '.join(row)}")
    start, duration = (_seconds(row, key, where) for key in ("offset", "duration"))
    if len(paths) > 1:
        if start:
            raise DataError(f"{where}: an offset is for one sound, and there are {len(paths)}")
        duration = 0.0  # that of all of them
    text, language, speaker = (_words(row, key, where) for key in ("text", "language", "speaker"))
    return Utterance(paths[0], text, start, duration, language, speaker, tuple(paths[1:]))


def _seconds(row: dict[str, Any], key: str, where: str) -> float:
    value = row.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise DataError(f"{where}: expected seconds in {key!r}, got {value!r}")
    return float(value)


def _words(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a text in {key!r}, got {value!r}")
    return " ".join(value.split())


def _read_folder(folder: Path) -> list[Utterance]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*SUFFIXES, ".txt"))
    sounds = [path for path in found if path.suffix.lower() != ".txt"]
    if not sounds:
        raise DataError(
            f"{folder}: expected sounds ({', '.join(SUFFIXES)}), each with a .txt of the same name; there is none"
        )
    texts = {path.with_suffix("") for path in found if path.suffix.lower() == ".txt"}
    stems = {path.with_suffix("") for path in sounds}
    if alone := sorted(stems ^ texts):
        first, what = alone[0], "text" if alone[0] in stems else "sound"
        raise DataError(f"{folder}: {len(alone)} files without a partner; {first} has no {what} beside it")
    return [Utterance(path, " ".join(read_text(path.with_suffix(".txt")).split())) for path in sounds]


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest that `read_manifest` reads. Sounds in its folder are named from there."""
    path = Path(path)
    lines = [json.dumps(_row(utterance, path.parent), ensure_ascii=False) + "\n" for utterance in utterances]
    files.write_text(path, "".join(lines))


def _row(utterance: Utterance, folder: Path) -> dict[str, Any]:
    names = [_name(path, folder) for path in (utterance.path, *utterance.more)]
    row: dict[str, Any] = {"audio_filepath": names[0] if len(names) == 1 else names, "text": utterance.text}
    known = {"offset": utterance.start, "duration": utterance.duration}
    return row | {
        key: value
        for key, value in {**known, "language": utterance.language, "speaker": utterance.speaker}.items()
        if value
    }


def _name(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path.absolute()).as_posix()
