"""Moving pictures in and out: frames by time from files, image folders and cameras; MP4, MKV, GIF and sheets out.

    frame n of a video read at `rate`   what is shown at `start` + n / rate seconds

So a variable frame rate needs no care, and a file of 30 frames a second read at 10 gives every third.
"""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.data.decoding import SLACK, Facts, Shown, describe, is_camera, pixels, shown
from recurra.data.films import contact_sheet, write_video
from recurra.errors import ConfigError, DataError, DataWarning

__all__ = ["Clip", "Facts", "contact_sheet", "describe", "read_clip", "read_frames", "write_video"]

Colours = Literal["rgb", "grey"]
Size = int | tuple[int, int] | None
LIMIT = 2**31  # bytes of frames in one clip
UNEVEN = 0.5  # of the usual distance of frames, by which one may be off before its video has a variable rate


class Clip(NamedTuple):
    """Some frames in memory.

    frames  (T, C, M, N) uint8: T frames of M rows and N columns, C = 3 (red, green, blue) or 1 (brightness)
    rate    frames per second; 0: not known, as for a folder of images
    """

    frames: Tensor
    rate: float

    @property
    def seconds(self) -> float:
        """How long it lasts; 0 if that is not known."""
        return len(self.frames) / self.rate if self.rate else 0.0


def read_frames(
    path: str | Path,
    rate: float | None = None,
    size: Size = None,
    colours: Colours = "rgb",
    start: float = 0.0,
    duration: float = 0.0,
) -> Iterator[Tensor]:
    """Frames ``(C, M, N)`` uint8 one by one, so a video may be longer than memory.

    path      a file, a folder of images, or ``camera:0``, which never ends
    rate      frames per second, taken by time: one that is shown longer comes again, one that is shown shorter is
              left out. None: every frame as it comes, with a DataWarning if their rate varies
    size      (M, N), to which frames are stretched; or the shorter side, the other in proportion; None: as they are
    colours   "rgb": C = 3, of a grey video three times the same; "grey": C = 1
    start     seconds from which on; duration  seconds, 0: up to the end. Each sample of time lies inside

    Transparent pixels are put on black, with a DataWarning. Turned videos are set upright. Raises DataError with
    the name of what is missing, broken, no video, of a codec that is missing here, or has no frame there.
    """
    if rate is not None and not 0 < rate < float("inf"):
        raise ConfigError(f"rate: expected frames per second, got {rate}")
    if not (start >= 0 and duration >= 0):
        raise ConfigError(f"expected start and duration in seconds from 0 on, got {start} and {duration}")
    if size is not None and min(size if isinstance(size, tuple) else (size,)) < 1:
        raise ConfigError(f"size: expected pixels, got {size}")
    if colours not in ("rgb", "grey"):
        raise ConfigError(f"colours: expected rgb or grey, got {colours!r}")
    found = _folder(path, rate, start, duration) if Path(path).is_dir() else _timed(path, rate, start, duration)
    return _converted(path, found, size, colours == "grey")


def _folder(path: str | Path, rate: float | None, start: float, duration: float) -> Iterator[Shown]:
    if rate is None and (start or duration):
        raise ConfigError(f"{path}: images have no times; give the rate at which they follow each other")
    first, count = round(start * (rate or 0)), round(duration * (rate or 0))
    return itertools.islice(shown(path), first, first + count if count else None)


def _timed(path: str | Path, rate: float | None, start: float, duration: float) -> Iterator[Shown]:
    frames = shown(path, start)
    if rate is not None:
        sampled = _sampled(frames, rate, start)
        return itertools.islice(sampled, max(1, round(duration * rate))) if duration else sampled
    camera = is_camera(path)
    end = start + duration if duration else float("inf")
    begun = itertools.takewhile(lambda frame: frame.begin < end - SLACK, frames if camera else _steady(frames))
    return itertools.dropwhile(lambda frame: frame.begin < start - SLACK, begun)


def _sampled(frames: Iterator[Shown], rate: float, start: float) -> Iterator[Shown]:
    """What is shown at ``start + n / rate``, for n = 0, 1, ... up to the end of the last frame."""
    number, held = 0, next(frames)
    for frame in frames:
        while start + number / rate < frame.begin - SLACK:
            yield held
            number += 1
        held = frame
    while not number or start + number / rate < held.begin + held.lasting - SLACK:
        yield held
        number += 1


def _steady(frames: Iterator[Shown]) -> Iterator[Shown]:
    """The same frames, with a DataWarning where one follows slower or faster than the second followed the first."""
    last, usual = None, 0.0
    for frame in frames:
        if last is not None:
            gap = frame.begin - last.begin
            usual = usual or gap
            if abs(gap - usual) > UNEVEN * usual + SLACK:
                # The same words for every file, so that Python's filter shows them once.
                warnings.warn(
                    "video with a variable frame rate: give a rate to take its frames by time",
                    DataWarning,
                    stacklevel=2,
                )
        last = frame
        yield frame


def _converted(path: str | Path, frames: Iterator[Shown], size: Size, grey: bool) -> Iterator[Tensor]:
    last, found = None, torch.empty(0)
    shape: torch.Size | None = None
    for number, frame in enumerate(frames, 1):
        if frame.picture is not last:
            last, found = frame.picture, pixels(frame.picture, size, grey)
        shape = shape or found.shape
        if found.shape != shape:
            raise DataError(
                f"{path}: frame {number} has {found.shape[1]} x {found.shape[2]} pixels, those before have "
                f"{shape[1]} x {shape[2]}; give a size"
            )
        yield found
    if last is None:
        raise DataError(f"{path} holds no frame there; expected at least one")


def read_clip(
    path: str | Path,
    rate: float | None = None,
    size: Size = None,
    colours: Colours = "rgb",
    start: float = 0.0,
    duration: float = 0.0,
) -> Clip:
    """The same frames all at once. Raises DataError as `read_frames` does, and for more than 2 GiB of them."""
    frames: list[Tensor] = []
    if is_camera(path) and not duration:
        raise ConfigError(f"{path} never ends; give a duration, or use read_frames")
    for frame in read_frames(path, rate, size, colours, start, duration):
        frames.append(frame)
        if len(frames) * frame.numel() > LIMIT:
            raise DataError(
                f"{path}: {len(frames)} frames are more than {LIMIT >> 30} GiB; give a size or a duration, or use "
                "read_frames, which holds one at a time"
            )
    own = 0.0 if rate is not None or Path(path).is_dir() or is_camera(path) else describe(path).rate
    return Clip(torch.stack(frames), rate or own)
