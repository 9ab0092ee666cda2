"""Frames out of files, image folders and cameras: PyAV decodes, OpenCV asks cameras: the extra ``video``.

source           what it is                                    when a frame is shown
a file           any video that FFmpeg knows, GIF too          by its time stamps
a folder         images, in the order of the numbers in their  each is one frame; they have no times
                 names: 2.png before 10.png
camera:0         the first camera of this machine              when it came
"""

import importlib
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError, DataWarning

__all__ = [
    "IMAGES",
    "SLACK",
    "VIDEOS",
    "Facts",
    "Shown",
    "describe",
    "image_paths",
    "is_camera",
    "library",
    "pixels",
    "shown",
]

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".ts", ".gif")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
CAMERA = "camera:"
SLACK = 0.001  # seconds: formats such as WebM round times to milliseconds
WHOLE = 0.9  # share of the seconds that a header promises, below which a file is broken off
CODEC = re.compile(r"Video: ([^,\n]+)")  # in FFmpeg's own description of a file


class Shown(NamedTuple):
    """A frame as it was decoded.

    picture  PyAV's frame
    begin    seconds from the first frame of the source
    lasting  seconds for which it is shown; 0: not known
    """

    picture: Any
    begin: float
    lasting: float


class Facts(NamedTuple):
    """What a video is, found without decoding it.

    frames         how many there are
    seconds        how long they last together; 0 for a folder of images
    rate           frames per second, on average; 0 for a folder of images
    height, width  of a frame, as it is stored
    codec          its name in FFmpeg, such as h264
    """

    frames: int
    seconds: float
    rate: float
    height: int
    width: int
    codec: str


def shown(path: str | Path, start: float = 0.0) -> Iterator[Shown]:
    """The frames of a source in order, from the one that is shown at ``start`` seconds on. A folder knows no start.

    Raises DataError with the name of the source if it is missing, broken, no video, or has no frame there.
    """
    if is_camera(path):
        return _camera(str(path))
    if Path(path).is_dir():
        return _images(Path(path))
    return _seek(Path(path), start) if start > SLACK else _whole(Path(path))


def is_camera(path: str | Path) -> bool:
    """Whether a source is a camera, which never ends."""
    return str(path).startswith(CAMERA)


def _whole(path: Path) -> Iterator[Shown]:
    """All frames; a file that ends long before its header says so is broken off."""
    with _opened(path) as (container, stream):
        end = None
        for frame in _decoded(path, container, stream):
            end = frame.begin + frame.lasting
            yield frame
        if end is None:
            raise DataError(f"{path} holds no frame; expected a video")
        # The header of an AVI file counts units of its time, and FFmpeg mends the duration of one that was cut.
        promised = float(max(stream.duration or 0, stream.frames) * stream.time_base)
        if end < WHOLE * promised - frame.lasting:
            raise DataError(f"{path} is broken off: {end:.1f} of {promised:.1f} seconds are there; copy it again")


def _seek(path: Path, start: float) -> Iterator[Shown]:
    """The frames from ``start`` on, decoded from the last key frame before it where the file has an index."""
    with _opened(path) as (container, stream):
        origin = stream.start_time or 0
        av = library("av")
        try:
            container.seek(int(start / stream.time_base) + origin, stream=stream)
            frames = _decoded(path, container, stream)
            first = next(frames, None)
        except av.FFmpegError:
            first = None
        if first is not None and first.begin <= start + SLACK:
            yield from _from(path, start, first, frames)
            return
    frames = _whole(path)  # no index, or a wrong one: from the beginning
    yield from _from(path, start, next(frames), frames)


def _from(path: Path, start: float, held: Shown, frames: Iterator[Shown]) -> Iterator[Shown]:
    """Leave out what is over before ``start``."""
    for frame in frames:
        if frame.begin > start + SLACK:
            yield held
        held = frame
    if held.begin + held.lasting <= start:
        raise DataError(
            f"{path} lasts {held.begin + held.lasting:.3f} s; expected a frame at {start:g} s, there is none"
        )
    yield held


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Shown]:
    usual = float(1 / rate) if (rate := stream.guessed_rate or stream.average_rate) else 0.0
    unit = float(stream.time_base or 0)
    origin = (stream.start_time or 0) * unit
    last, number = -usual, 0
    try:
        for picture in container.decode(stream):
            number += 1
            begin = last + usual if picture.time is None else picture.time - origin
            last = begin
            if picture.is_corrupt:
                warnings.warn("video with damaged frames: they are shown as they are", DataWarning, stacklevel=3)
            yield Shown(picture, begin, (picture.duration or 0) * unit or usual)
    except library("av").FFmpegError as error:
        raise DataError(
            f"{path}: cannot decode frame {number + 1}: {_reason(error)}; copy the file again"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A file and its first video stream, which is no cover picture."""
    av = library("av")
    if not path.is_file():
        raise DataError(f"cannot read the video {path}: {'it is no file' if path.exists() else 'no such file'}")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty; expected a video")
    try:
        with path.open("rb") as file, av.open(file) as container:
            yield container, _stream(path, container)
    except av.FFmpegError as error:
        raise DataError(
            f"cannot read the video {path}: {_reason(error)}; expected a whole video, such as MP4, AVI, WebM or GIF"
        ) from error


def _stream(path: Path, container: Any) -> Any:
    streams = container.streams.video
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise DataError(f"{path} holds no pictures, only {kinds}; expected a video")
    if streams[0].codec_context is None:
        raise DataError(
            f"{path}: there is no decoder for its codec, {_codec(container)}; "
            f"convert it, as with: ffmpeg -i {path.name} -c:v libx264 {path.stem}-h264.mp4"
        )
    return streams[0]


def _codec(container: Any) -> str:
    """The name of a codec that FFmpeg knows and cannot decode here, or four letters that it does not know."""
    logging = library("av").logging
    before = logging.get_level()
    logging.set_level(logging.INFO)  # below it the description is empty
    try:
        named = CODEC.search(container.dumps_format())
    finally:
        logging.set_level(before)
    return named[1] if named else "which has no name"


def _images(folder: Path) -> Iterator[Shown]:
    for path in image_paths(folder):
        with _opened(path) as (container, stream):
            frame = next(_decoded(path, container, stream), None)
            if frame is None:
                raise DataError(f"{path} holds no picture")
            yield frame._replace(begin=0.0, lasting=0.0)


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder, by the numbers in their names. Raises DataError if there is none."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES]
    if not found:
        raise DataError(f"{folder}: expected images ({', '.join(IMAGES)}), there is none")
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _camera(name: str) -> Iterator[Shown]:
    """Frames of a camera as they come, for ever."""
    opencv, number = library("cv2"), name.removeprefix(CAMERA)
    if not number.isdecimal():
        raise ConfigError(f"expected a camera by its number, such as {CAMERA}0, got {name!r}")
    av, camera = library("av"), opencv.VideoCapture(int(number))
    try:
        if not camera.isOpened():
            raise DataError(f"there is no camera {number}, or another program uses it")
        begun = None
        while True:
            there, picture = camera.read()
            if not there:
                raise DataError(f"the camera {number} sends no pictures any more")
            now = time.monotonic()
            begun = now if begun is None else begun
            yield Shown(av.VideoFrame.from_ndarray(picture, format="bgr24"), now - begun, 0.0)
    finally:
        camera.release()


def describe(path: str | Path) -> Facts:
    """What a file or a folder of images holds. The packets of a file are counted, none is decoded."""
    path = Path(path)
    if path.is_dir():
        images = image_paths(path)
        with _opened(images[0]) as (_, stream):
            context = stream.codec_context
            return Facts(len(images), 0.0, 0.0, context.height, context.width, context.name)
    with _opened(path) as (container, stream):
        usual = 1 / (stream.guessed_rate or stream.average_rate or 25) / stream.time_base
        spans = [
            (packet.pts, packet.pts + (packet.duration or usual))
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_discard
        ]
        context, count = stream.codec_context, len(spans) or stream.frames
        if not count:
            raise DataError(f"{path} holds no frame; expected a video")
        unit = float(stream.time_base)
        seconds = (
            (max(end for _, end in spans) - min(begin for begin, _ in spans)) * unit if spans else count * unit
        )
        return Facts(count, float(seconds), count / float(seconds), context.height, context.width, context.name)


def pixels(picture: Any, size: int | tuple[int, int] | None, grey: bool) -> Tensor:
    """A decoded frame as ``(C, M, N)`` uint8, upright: 3 channels red, green, blue, or 1, the brightness.

    size  (M, N), to which it is stretched; or the shorter side, the other in proportion; None: as it is
    """
    turns = round((picture.rotation or 0) / 90) % 4
    height, width = _size(picture, size, bool(turns % 2))
    kind = "rgba" if _transparent(picture.format) else "gray" if grey else "rgb24"
    array = picture.reformat(width=width, height=height, format=kind, interpolation="BILINEAR").to_ndarray()
    found = torch.from_numpy(array)
    if kind == "rgba":
        found = _on_black(found, grey)
    found = found[None] if found.dim() == 2 else found.permute(2, 0, 1)
    return found.rot90(turns, (1, 2)).contiguous()


def _size(picture: Any, size: int | tuple[int, int] | None, turned: bool) -> tuple[int, int]:
    """Height and width before the frame is turned upright."""
    height, width = picture.height, picture.width
    if size is None:
        return height, width
    if isinstance(size, int):
        shorter = min(height, width)
        return max(1, round(height * size / shorter)), max(1, round(width * size / shorter))
    return (size[1], size[0]) if turned else size


def _transparent(format: Any) -> bool:
    return format.has_palette or any(component.is_alpha for component in format.components)


def _on_black(found: Tensor, grey: bool) -> Tensor:
    """Red, green, blue and alpha ``(M, N, 4)`` put on black."""
    alpha = found[..., 3:].int()
    if int(alpha.min()) < 255:
        warnings.warn("video with transparent pixels: they are put on black", DataWarning, stacklevel=4)
    solid = ((found[..., :3].int() * alpha + 127) // 255).to(torch.uint8)
    if not grey:
        return solid
    frame = library("av").VideoFrame.from_ndarray(solid.numpy(), format="rgb24")
    return torch.from_numpy(frame.reformat(format="gray").to_ndarray())


def _reason(error: Any) -> str:
    return (error.strerror or type(error).__name__).rstrip(".")


def library(name: str) -> Any:
    """PyAV (``av``), OpenCV (``cv2``) or Pillow (``PIL.Image``). Raises ConfigError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"video needs the library {name}; install it with: pip install 'recurra[video]'"
        ) from error
