"""Recordings in three parts: one scene left out of a folder or zip, a folder of parts, or one file cut by time.

datasets/eth/train/*.txt    all scenes but eth       ETH (Pellegrini et al. 2009) and UCY (Lerner et al. 2007)
datasets/eth/val/*.txt      later parts of the same  as Gupta et al. (2018) cut them: in each of five folds
datasets/eth/test/*.txt     the scene eth            another scene is left out
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from recurra.config import suggest
from recurra.data.splits import PARTS, Parts
from recurra.data.tracks import Recording
from recurra.data.unpacked import unpacked
from recurra.errors import ConfigError, DataError

__all__ = ["SUFFIXES", "cut", "read_recordings", "recording_parts"]

SUFFIXES = (".txt", ".csv", ".tsv")
FOLDERS = {"train": "train", "val": "valid", "valid": "valid", "dev": "valid", "test": "test"}

Reader = Callable[[Path], Recording]


def recording_parts(path: Path, fold: str, shares: Sequence[float], read: Reader) -> Parts:
    """The recordings of the three parts.

    path    a file, which is cut by time; a folder with ``train``, ``val`` and ``test``; or a folder or zip of those
    fold    which of several folders
    shares  of the time of one file
    read    reads one file

    Raises DataError or ConfigError if there is no such part or fold.
    """
    if path.is_file() and path.suffix != ".zip":
        return _cut_in_three(read(path), shares)
    folder = _fold(unpacked(path, "*.txt", "tracks") if path.is_file() else path, fold)
    if folder is None:
        return _joined([_cut_in_three(recording, shares) for recording in read_recordings(path, read)])
    places = {FOLDERS[place.name]: place for place in sorted(folder.iterdir()) if place.name in FOLDERS}
    missing = [part for part in PARTS if part not in places]
    if missing:
        raise DataError(f"{folder}: expected folders train, val and test, {missing[0]} is missing")
    found = {part: read_recordings(place, read) for part, place in places.items()}
    notes = [note for part in PARTS for recording in found[part] for note in recording.notes]
    return Parts(found["train"], found["valid"], found["test"], tuple(notes))


def read_recordings(path: Path, read: Reader) -> list[Recording]:
    """The recording of a file, or those of all files in a folder."""
    if path.is_file():
        return [read(path)]
    paths = [file for file in sorted(path.rglob("*")) if file.suffix in SUFFIXES]
    if not paths:
        raise DataError(f"{path}: expected files of tracks, {', '.join(SUFFIXES)}; there is none")
    return [read(file) for file in paths]


def _fold(folder: Path, name: str) -> Path | None:
    """The folder of a fold, the folder itself if it holds the parts, or None if there are no parts."""
    places = [folder, *(place for place in sorted(folder.rglob("*")) if place.is_dir())]
    folds = {place.name: place for place in places if (place / "train").is_dir() and (place / "test").is_dir()}
    if name:
        if name not in folds:
            raise ConfigError(f"data.fold: there is no fold {name!r} in {folder}{suggest(name, list(folds))}")
        return folds[name]
    if len(folds) > 1:
        raise ConfigError(f"data.fold: expected which scene is left out, one of {', '.join(folds)}")
    return next(iter(folds.values()), None)


def cut(recording: Recording, begin: int, end: int) -> Recording | None:
    """The steps from ``begin`` to before ``end``, counted as in the whole; None if nobody is there."""
    tracks = []
    for track in recording.tracks:
        first, last = max(track.begin, begin), min(track.end, end)
        if first < last:
            points = track.points[first - track.begin : last - track.begin]
            tracks.append(track._replace(begin=first - begin, points=points))
    first_frame = recording.frame(begin)
    return replace(recording, first=first_frame, tracks=tuple(tracks)) if tracks else None


def _cut_in_three(recording: Recording, shares: Sequence[float]) -> Parts:
    """Earlier steps for training, later ones for validation, the last for the test: no window crosses a cut."""
    ends = [round(recording.steps * share) for share in accumulate(shares)]
    parts = [cut(recording, begin, end) for begin, end in zip([0, *ends[:2]], ends, strict=True)]
    named = dict(zip(PARTS, parts, strict=True))
    lacking = [part for part, found in named.items() if found is None]
    if lacking:
        raise DataError(f"{recording.where}: nobody is there in the part {lacking[0]!r}; change data.split")
    note = f"{recording.where}: cut by time, {ends[0]}, {ends[1] - ends[0]} and {ends[2] - ends[1]} steps"
    train, valid, test = ([found] for found in parts if found is not None)
    return Parts(train, valid, test, (*recording.notes, note))


def _joined(parts: list[Parts]) -> Parts:
    train, valid, test = ([one for part in parts for one in getattr(part, name)] for name in PARTS)
    return Parts(train, valid, test, tuple(note for part in parts for note in part.notes))
