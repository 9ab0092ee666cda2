"""Labelled videos: lists of them, windows of the same length, and batches that are decoded ahead.

clips.txt            walk/a.mp4 walk      a file, or a folder of images, and its label in each line, named from
                                          the list's own folder; a tab before the label if there is one
clips/walk/a.mp4     or a folder for each label
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.data.batches import RowBatches
from recurra.data.decoding import IMAGES, SLACK, VIDEOS, describe
from recurra.data.splits import PARTS, Parts, fill_parts, find_parts
from recurra.data.text import read_text
from recurra.data.video import read_clip
from recurra.errors import ConfigError, DataError

__all__ = [
    "Augmentation",
    "ClipBatch",
    "Reader",
    "Shot",
    "View",
    "clip_batches",
    "read_shot_parts",
    "read_shots",
    "windows",
]

Augmentation = Callable[
    [Tensor, torch.Generator], Tensor
]  # frames, random numbers -> frames, as in clip_augmentation


class Shot(NamedTuple):
    """A stretch of a video with its label, and where it is named.

    start, duration  seconds; a duration of 0: up to the end
    """

    path: Path
    label: str
    where: str
    start: float = 0.0
    duration: float = 0.0


@dataclass(frozen=True)
class View:
    """How videos are looked at.

    rate     frames per second
    size     (M, N) to which frames are stretched, or the shorter side; batches need frames of one size
    colours  "rgb" or "grey"
    length   frames of a window; 0: whole videos
    stride   frames from the beginning of a window to that of the next; 0: half a window
    """

    rate: float = 12.0
    size: int | tuple[int, int] = (64, 64)
    colours: Literal["rgb", "grey"] = "rgb"
    length: int = 0
    stride: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf or min(self.length, self.stride) < 0:
            raise ConfigError(f"view: expected a rate above 0, a length and a stride from 0 on, got {self}")

    def count(self, seconds: float) -> int:
        """Frames of a stretch."""
        return max(1, math.ceil((seconds - SLACK) * self.rate))


def read_shots(path: str | Path) -> list[Shot]:
    """The videos of a list, or of a folder with a folder for each label, in order.

    Raises DataError with the line, or the name, of what is no video or has no label.
    """
    path = Path(path)
    found = _folders(path) if path.is_dir() else _listed(path)
    if not found:
        raise DataError(f"{path}: expected a list of videos with labels, or a folder of them for each label")
    return found


def _listed(path: Path) -> list[Shot]:
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).split("\n"), 1)]
    return [_line(line, path, f"{path}, line {number}") for number, line in lines if line]


def _line(line: str, path: Path, where: str) -> Shot:
    name, _, label = line.rpartition("\t") if "\t" in line else line.rpartition(" ")
    if not name.strip() or not label.strip():
        raise DataError(f"{where}: expected the name of a video, a space and its label, got {line[:60]!r}")
    video = path.parent / name.strip()
    if not video.exists():
        raise DataError(f"{where}: there is no video {video}")
    return Shot(video, label.strip(), where)


def _folders(path: Path) -> list[Shot]:
    labels = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    return [
        Shot(video, folder.name, str(video))
        for folder in labels
        for video in sorted(folder.iterdir())
        if _film(video)
    ]


def _film(path: Path) -> bool:
    """Whether it is a video by its name, or a folder with images."""
    if path.is_dir():
        return any(inner.suffix.lower() in IMAGES for inner in path.iterdir())
    return path.suffix.lower() in VIDEOS


def read_shot_parts(path: str | Path, valid: str, test: str, shares: Sequence[float], seed: int) -> Parts:
    """Training, validation and test videos.

    path         a folder with ``train`` and perhaps ``valid`` and ``test``, lists or folders; or the training ones
    valid, test  others for these parts; "": those of the folder. What is missing is cut from the training ones

    A video is in one part whole. Raises DataError as `read_shots` does, for fewer than two labels, and for a label
    that training never sees.
    """
    path = Path(path)
    if (path / "train").is_dir():
        places = {part: path / part for part in PARTS if (path / part).is_dir()}
    elif path.is_dir() and list(path.glob("*train.txt")):
        places = find_parts(path, (".txt",))
    else:
        places = {"train": path}
    places |= {part: Path(given) for part, given in (("valid", valid), ("test", test)) if given}
    shots = {part: read_shots(place) for part, place in places.items()}
    labels = {shot.label for shot in shots["train"]}
    if len(labels) < 2:
        raise DataError(
            f"{places['train']}: every video has the label {min(labels)!r}; expected at least two labels"
        )
    parts = fill_parts(shots, shares, seed, lambda shot: shot.label, lambda shot: shot.path)
    for shot in (*parts.valid, *parts.test):
        if shot.label not in labels:
            raise DataError(f"{shot.where}: no video to learn from has the label {shot.label!r}")
    notes = (*(f"{place}: {len(shots[part])} videos" for part, place in places.items()), *parts.notes)
    return Parts(parts.train, parts.valid, parts.test, notes)


def windows(shots: Sequence[Shot], view: View) -> list[Shot]:
    """Every shot cut into windows; the last one ends with the video, so that no frame is left out.

    A video shorter than a window is one window, as short as it is. Raises DataError for what is no video.
    """
    return [window for shot in shots for window in _windows(shot, view)]


def _windows(shot: Shot, view: View) -> list[Shot]:
    facts = describe(shot.path)
    seconds = facts.seconds or facts.frames / view.rate
    total = view.count(shot.duration or seconds - shot.start)
    length = min(view.length, total) or total
    starts = list(range(0, total - length + 1, view.stride or max(1, length // 2)))
    if starts[-1] < total - length:
        starts.append(total - length)
    return [shot._replace(start=shot.start + start / view.rate, duration=length / view.rate) for start in starts]


@dataclass(frozen=True)
class Reader:
    """Frames of shots, of which the first that are asked for stay in memory, so that they are decoded once.

    view    how videos are looked at
    memory  bytes that may stay
    """

    view: View
    memory: int = 2**29
    _kept: dict[Shot, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __call__(self, shot: Shot) -> Tensor:
        """Frames ``(T, C, M, N)`` uint8. Raises DataError as `read_clip` does."""
        if shot in self._kept:
            return self._kept[shot]
        view = self.view
        frames = read_clip(shot.path, view.rate, view.size, view.colours, shot.start, shot.duration).frames
        with self._lock:
            if sum(kept.numel() for kept in self._kept.values()) + frames.numel() <= self.memory:
                self._kept[shot] = frames
        return frames


class ClipBatch(NamedTuple):
    """Clips side by side.

    frames   (B, T, C, M, N) uint8, 0 after the end of a clip
    lengths  (B,) int64, frames of each
    labels   (B,) int64
    """

    frames: Tensor
    lengths: Tensor
    labels: Tensor


def clip_batches(
    shots: Sequence[Shot],
    labels: Mapping[str, int],
    reader: Reader,
    batch: int,
    augment: Sequence[Augmentation] | None = None,
) -> RowBatches:
    """Batches of shots; wrap them in `recurra.data.ahead.Ahead` to decode them before they are needed.

    labels   the number of each label
    augment  what is done to each clip, one after the other; None: not for training, so in order and as they are

    Raises DataError for a label without a number.
    """
    for shot in shots:
        if shot.label not in labels:
            raise DataError(f"{shot.where}: the label {shot.label!r} is none of {', '.join(labels)}")
    counts = [round(shot.duration * reader.view.rate) for shot in shots]

    def collate(rows: list[Shot], random: torch.Generator) -> ClipBatch:
        clips = [reader(row) for row in rows]
        for change in augment or ():
            clips = [change(clip, random) for clip in clips]
        return side_by_side(clips, [labels[row.label] for row in rows])

    return RowBatches(shots, counts, collate, batch, shuffled=augment is not None)


def side_by_side(clips: Sequence[Tensor], labels: Sequence[int]) -> ClipBatch:
    """Clips ``(T, C, M, N)`` of any lengths as one batch. Raises DataError if their frames differ in size."""
    sizes = sorted({tuple(clip.shape[1:]) for clip in clips})
    if len(sizes) > 1:
        raise DataError(f"videos of different shapes, {sizes[0]} and {sizes[-1]}; give a size of rows and columns")
    lengths = [len(clip) for clip in clips]
    frames = torch.zeros(len(clips), max(lengths), *sizes[0], dtype=torch.uint8)
    for row, clip in zip(frames, clips, strict=True):
        row[: len(clip)] = clip
    return ClipBatch(frames, torch.tensor(lengths), torch.tensor(labels))
