"""Where a predictor's clips come from: films, cut by time, or moving digits, drawn when they are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.data.ahead import Ahead
from recurra.data.batches import RowBatches
from recurra.data.clip_augmentation import Colour, Flip
from recurra.data.clips import Reader, Shot, View
from recurra.data.decoding import IMAGES, VIDEOS, describe, pixels, shown
from recurra.data.moving_digits import MovingDigits, moving_digits
from recurra.data.sources import SOURCES, place_of
from recurra.data.splits import PARTS
from recurra.errors import ConfigError, DataError
from recurra.run.protocol import Batches, Data
from recurra.tasks.frames_config import FramesAugment, FramesConfig, FramesData

__all__ = [
    "DIGITS",
    "FilmReader",
    "FrameBatch",
    "FramesFound",
    "Shape",
    "digits",
    "enlarged",
    "film_place",
    "films_of",
]

DIGITS = "moving-digits"
SIDE = 64  # pixels of a side of moving digits, if no size is asked for
PASS = 100  # batches of drawn digits in an epoch
STRETCH = 256  # frames, about, that are decoded at once
FOLDERS = {"train": "train", "val": "valid", "valid": "valid", "dev": "valid", "test": "test"}

Shape = tuple[int, int, int]  # (C, M, N) of a frame


class FrameBatch(NamedTuple):
    """Clips side by side: known ``(B, P, C, M, N)`` and those that came ``(B, Q, C, M, N)``, uint8."""

    known: Tensor
    came: Tensor


@dataclass(frozen=True)
class FramesFound:
    """The three parts, the shape of a frame, frames a second, and what was decided on the way."""

    data: Data
    shape: Shape
    rate: float
    notes: tuple[str, ...] = ()


class _Window(NamedTuple):
    """A clip: so many frames after the beginning of a stretch."""

    stretch: Shot
    begin: int


class _Film(NamedTuple):
    """A film, or one part of its time: frames from ``begin`` to before ``end``."""

    path: Path
    begin: int
    end: int
    rate: float

    @property
    def length(self) -> int:
        return self.end - self.begin


class FilmReader:
    """Clips of films, as the tables [data] and [augment] say."""

    def __init__(self, config: FramesConfig) -> None:
        self.config, self.augment = config.data, config.augment

    def found(self) -> FramesFound:
        """The three parts of what ``data.path`` names. Raises DataError for what cannot be."""
        path = film_place(self.config.path)
        named = [place for place in _inside(path) if place.is_dir() and place.name in FOLDERS]
        parts = self._of_folders(path, named) if named else self._cut_by_time(films_of(path))
        shape = self.shape(parts["train"])
        used = {part: self._long_enough(films, part) for part, films in parts.items()}
        left_out = {part: len(films) - len(used[part]) for part, films in parts.items()}
        notes = [self._told(part, films) for part, films in used.items()]
        notes += [
            f"{count} films of the part {part!r} are left out: too short"
            for part, count in left_out.items()
            if count
        ]
        train = self._batches(used["train"], shape, self.augment)
        held_out = (self._batches(used[part], shape) for part in ("valid", "test"))
        return FramesFound(
            Data(train, *held_out), shape, parts["train"][0].rate, tuple(notes + self._sizes(parts, shape))
        )

    def read(self, source: str, shape: Shape) -> Batches:
        """All clips of a film, of a folder of films, or of a data set."""
        films = [self._whole(path) for path in films_of(film_place(source))]
        return self._batches(self._long_enough(films, source), shape)

    def _of_folders(self, path: Path, named: Sequence[Path]) -> dict[str, list[_Film]]:
        places = {FOLDERS[place.name]: place for place in named}
        missing = [part for part in PARTS if part not in places]
        if missing:
            raise DataError(f"{path}: expected folders train, valid and test, {missing[0]} is missing")
        return {part: [self._whole(film) for film in films_of(places[part])] for part in PARTS}

    def _cut_by_time(self, paths: Sequence[Path]) -> dict[str, list[_Film]]:
        films = [self._whole(path) for path in paths]
        return {part: [self._part(film, number) for film in films] for number, part in enumerate(PARTS)}

    def _part(self, film: _Film, number: int) -> _Film:
        ends = [0, *(round(film.length * share) for share in accumulate(self.config.split))]
        return film._replace(begin=ends[number], end=ends[number + 1])

    def _whole(self, path: Path) -> _Film:
        facts = describe(path)
        rate = self.config.rate or facts.rate or 1.0  # images have no times: one a second says which is which
        count = View(rate).count(facts.seconds) if facts.seconds else facts.frames
        return _Film(path, 0, count, rate)

    def shape(self, films: Sequence[_Film]) -> Shape:
        """The shape of a frame: as it is asked for, or as all films have it. Raises DataError if they differ."""
        channels = 3 if self.config.colours == "rgb" else 1
        if self.config.size:
            return channels, *self.config.size  # type: ignore[return-value]
        first, *others = [_size(film.path) for film in films]
        for film, size in zip(films[1:], others, strict=True):
            if size != first:
                raise DataError(
                    f"{film.path} has {size[0]} x {size[1]} pixels, {films[0].path} has {first[0]} x {first[1]}; "
                    "give data.size, to which both are stretched"
                )
        return channels, *first

    def _sizes(self, parts: dict[str, list[_Film]], shape: Shape) -> list[str]:
        """What is said of films that are made larger."""
        paths = dict.fromkeys(film.path for films in parts.values() for film in films)
        return [note for path in paths if (note := enlarged(path, shape))]

    def _long_enough(self, films: Sequence[_Film], part: str) -> list[_Film]:
        found = [film for film in films if film.length >= self.config.length]
        if not found:
            longest = max(films, key=lambda film: film.length)
            where = f"the part {part!r} of {longest.path}" if part in PARTS else str(longest.path)
            raise DataError(
                f"{where} has {longest.length} frames, expected {self.config.known} known ones and "
                f"{self.config.ahead} ahead at least; take a longer film, another data.split, or smaller "
                "data.known and data.ahead"
            )
        return found

    def _told(self, part: str, films: Sequence[_Film]) -> str:
        names = films[0].path.name if len(films) == 1 else f"{len(films)} films"
        clips = sum(len(range(0, film.length - self.config.length + 1, self.config.stride)) for film in films)
        return f"{part}: {sum(film.length for film in films)} frames of {names}, {clips} clips"

    def _batches(self, films: Sequence[_Film], shape: Shape, augment: FramesAugment | None = None) -> Batches:
        """Batches of all clips; shuffled and changed with ``augment``."""
        readers = {film.rate: Reader(View(film.rate, shape[1:], self.config.colours)) for film in films}
        rates = {film.path: film.rate for film in films}
        rows = [window for film in films for window in self._windows(film)]

        def collate(chosen: list[_Window], random: torch.Generator) -> FrameBatch:
            clips = [_clip(readers[rates[row.stretch.path]], row, self.config.length) for row in chosen]
            return _divided([_changed(clip, augment, random) for clip in clips], self.config.known)

        batches = RowBatches(rows, [1] * len(rows), collate, self.config.batch, shuffled=augment is not None)
        return Ahead(batches, threads=1)

    def _windows(self, film: _Film) -> Iterator[_Window]:
        """The clips of a film, in stretches that are decoded at once; one begins where no clip of the last does."""
        length, stride = self.config.length, self.config.stride
        begins = range(film.begin, film.end - length + 1, stride)
        each = max(1, (STRETCH - length) // stride + 1)  # clips in a stretch
        for first in range(0, len(begins), each):
            inside = begins[first : first + each]
            frames = inside[-1] + length - inside[0]
            stretch = Shot(film.path, "", str(film.path), inside[0] / film.rate, frames / film.rate)
            yield from (_Window(stretch, begin - inside[0]) for begin in inside)


def _clip(reader: Reader, row: _Window, length: int) -> Tensor:
    frames = reader(row.stretch)
    begin = min(row.begin, len(frames) - length)  # a header may promise a frame more than there is
    if begin < 0:
        raise DataError(f"{row.stretch.path}: {len(frames)} frames are there, expected {length} at least")
    return frames[begin : begin + length]


def _changed(clip: Tensor, augment: FramesAugment | None, random: torch.Generator) -> Tensor:
    if augment is None:
        return clip
    clip = Flip(augment.mirror)(clip, random)
    if augment.light:
        clip = Colour(augment.light, augment.light, 0.0)(clip, random)
    return clip.flip(0) if float(torch.rand((), generator=random)) < augment.backward else clip


def _divided(clips: Sequence[Tensor], known: int) -> FrameBatch:
    frames = torch.stack(list(clips))
    return FrameBatch(frames[:, :known], frames[:, known:])


def film_place(name: str) -> Path:
    """A file, a folder, a data set, or a film in one, such as ``video-clips/carphone.mp4``."""
    source, slash, rest = name.partition("/")
    if Path(name).exists() or source not in SOURCES or not slash:
        return place_of(name)
    found = place_of(source) / rest
    if not found.exists():
        films = ", ".join(path.name for path in films_of(place_of(source)))
        raise DataError(f"data.path: the data set {source} holds no {rest!r}; there are {films}")
    return found


def _inside(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []


def films_of(path: Path) -> list[Path]:
    """The films of a folder, or of those in it; a file, and a folder of images, is one film."""
    inside = _inside(path)
    if not path.is_dir() or any(file.suffix.lower() in IMAGES for file in inside):
        return [path]
    found = [
        film for place in inside for film in ([place] if _is_film(place) else _inside(place)) if _is_film(film)
    ]
    if not found:
        raise DataError(f"{path}: expected films ({', '.join(VIDEOS)}) or folders of images, there is none")
    return found


def _is_film(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in IMAGES for file in path.iterdir())
    return path.suffix.lower() in VIDEOS


def _size(path: Path) -> tuple[int, int]:
    """Rows and columns of a film's first frame, upright."""
    _, height, width = pixels(next(shown(path)).picture, None, True).shape
    return height, width


def enlarged(path: Path, shape: Shape) -> str:
    """A note if a film has fewer pixels than it is stretched to; "" if not."""
    height, width = _size(path)
    if height >= shape[1] and width >= shape[2]:
        return ""
    return f"{path}: its {height} x {width} pixels are made {shape[1]} x {shape[2]}; no detail comes of that"


@dataclass(frozen=True)
class _Drawn:
    """Batches of moving digits that are drawn for each step of training: none comes twice."""

    config: FramesConfig
    sequences: MovingDigits
    rank: int = 0
    world: int = 1

    def shard(self, rank: int, world: int) -> "_Drawn":
        """The part of every batch for process ``rank`` of ``world``."""
        if self.config.data.batch % world:
            raise ConfigError(
                f"data.batch: expected a multiple of the {world} processes, got {self.config.data.batch}"
            )
        return replace(self, rank=rank, world=world)

    def epoch(self, number: int) -> Sequence[FrameBatch]:
        """`PASS` batches, made when they are asked for."""
        return _DrawnPass(self, number)


@dataclass(frozen=True)
class _DrawnPass(Sequence[FrameBatch]):
    source: _Drawn
    number: int

    def __len__(self) -> int:
        return PASS

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if not 0 <= index < PASS:
            raise IndexError(f"batch {index} of {PASS}")
        source, batch = self.source, self.source.config.data.batch
        first = (self.number * PASS + index) * batch
        random = torch.Generator().manual_seed(first)
        clips = [source.sequences[(first + row) % len(source.sequences)] for row in range(batch)]
        clips = [_changed(clip, source.config.augment, random) for clip in clips][source.rank :: source.world]
        return _divided(clips, source.config.data.known)


def digits(config: FramesConfig) -> FramesFound:
    """Moving digits: new ones for each step of training; for validation and test the first ones of seed 0."""
    data = config.data
    side = _side(data)
    drawn = partial(moving_digits, seed=0, frames=data.length, size=side)
    train = Ahead(_Drawn(config, drawn("train", 2**30)), threads=1)
    held_out = (_held_out(drawn(part, data.clips), data) for part in ("valid", "test"))
    note = (
        f"moving digits of {side} x {side} pixels, drawn for each step; {data.clips} clips for each held-out part"
    )
    return FramesFound(Data(train, *held_out), (1, side, side), 10.0, (note,))


def _held_out(sequences: MovingDigits, data: FramesData) -> RowBatches:
    return RowBatches(sequences, [1] * len(sequences), lambda rows, random: _divided(rows, data.known), data.batch)


def _side(data: FramesData) -> int:
    if data.size and data.size[0] != data.size[1]:
        raise ConfigError(f"data.size: moving digits are square, got {list(data.size)}")
    if data.colours != "grey":
        raise ConfigError("data.colours: moving digits are grey")
    return data.size[0] if data.size else SIDE
