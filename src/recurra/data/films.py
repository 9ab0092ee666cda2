"""Moving pictures out: MP4, MKV and GIF files, and sheets that show frames side by side."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

from recurra import files
from recurra.data.decoding import library
from recurra.errors import ConfigError, DataError, DtypeError, RunError, ShapeError

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

__all__ = ["contact_sheet", "write_video"]

H264 = {
    "crf": "18",
    "preset": "medium",
    "movflags": "faststart",
}  # a loss that is hard to see; plays while it loads
LONGEST = 12  # frames in a row of a sheet
TILE = 1.1  # inches of a frame's longer side on a sheet


def write_video(path: str | Path, frames: Iterable[Tensor], rate: float) -> None:
    """Write frames ``(C, M, N)`` uint8, those of a clip or any others; one is held at a time.

    .mp4  H.264, which every player knows. It has even sides: of an odd one the last row or column comes twice
    .mkv  FFV1, without loss
    .gif  256 colours a frame, in hundredths of a second, repeated for ever

    Raises ConfigError for another suffix or rate, ShapeError or DtypeError for other frames, DataError if there is
    none, RunError if the file cannot be written.
    """
    path, write = Path(path), WRITERS.get(Path(path).suffix.lower())
    if write is None:
        raise ConfigError(f"cannot write the video {path}: expected a name with one of {', '.join(WRITERS)}")
    if not 0 < rate < float("inf"):
        raise ConfigError(f"rate: expected frames per second, got {rate}")
    checked = _checked(path, frames)
    first = next(checked)  # what is wrong with it is said before a file is made

    def fill(temporary: Path) -> None:
        try:
            write(temporary, itertools.chain([first], checked), rate)
        except BaseException:  # a later frame is refused, or somebody stops it
            temporary.unlink()
            raise

    files.write(path, fill)


def _checked(path: Path, frames: Iterable[Tensor]) -> Iterator[Tensor]:
    shape = None
    for frame in frames:
        if frame.dim() != 3 or frame.shape[0] not in (1, 3) or frame.shape != (shape or frame.shape):
            what = tuple(shape) if shape else "(1 or 3, M, N)"
            raise ShapeError(f"frames: expected {what} each, got {tuple(frame.shape)}")
        if frame.dtype != torch.uint8:
            raise DtypeError(f"frames: expected uint8, 0 to 255, got {frame.dtype}")
        shape = frame.shape
        yield frame.detach().cpu()
    if shape is None:
        raise DataError(f"cannot write the video {path}: there is no frame")


def _mp4(path: Path, frames: Iterator[Tensor], rate: float) -> None:
    _encode(path, map(_even, frames), rate, ("mp4", "libx264"), ("yuv420p", "yuv420p"), H264)


def _even(frame: Tensor) -> Tensor:
    """A frame with even sides."""
    _, height, width = frame.shape
    rows, columns = torch.arange(height + height % 2), torch.arange(width + width % 2)
    return frame[:, rows.clamp_max(height - 1)][:, :, columns.clamp_max(width - 1)]


def _mkv(path: Path, frames: Iterator[Tensor], rate: float) -> None:
    _encode(path, frames, rate, ("matroska", "ffv1"), ("gray", "bgr0"), {})


def _encode(
    path: Path,
    frames: Iterator[Tensor],
    rate: float,
    names: tuple[str, str],
    formats: tuple[str, str],
    options: Mapping[str, str],
) -> None:
    """names  of the container and the codec; formats  of the pixels of frames with one channel and with three"""
    av, (container, codec) = library("av"), names
    own = {name: value for name, value in options.items() if name != "movflags"}
    outer = {name: value for name, value in options.items() if name == "movflags"}
    first = next(frames)
    try:
        with av.open(str(path), "w", format=container, options=outer) as file:
            stream = file.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=own)
            stream.height, stream.width = first.shape[1:]
            stream.pix_fmt = formats[first.shape[0] == 3]
            for frame in itertools.chain([first], frames):
                file.mux(stream.encode(_picture(av, frame).reformat(format=stream.pix_fmt)))
            file.mux(stream.encode())
    except av.FFmpegError as error:
        raise RunError(f"cannot write the video as {codec}: {error.strerror}") from error


def _picture(av: Any, frame: Tensor) -> Any:
    if frame.shape[0] == 1:
        return av.VideoFrame.from_ndarray(frame[0].contiguous().numpy(), format="gray")
    return av.VideoFrame.from_ndarray(frame.permute(1, 2, 0).contiguous().numpy(), format="rgb24")


def _gif(path: Path, frames: Iterator[Tensor], rate: float) -> None:
    pillow = library("PIL.Image")
    first, *rest = (_timed(pillow, frame, number, rate) for number, frame in enumerate(frames))
    first.save(path, format="GIF", save_all=True, append_images=rest, loop=0)


def _timed(pillow: Any, frame: Tensor, number: int, rate: float) -> Any:
    """A frame with its 256 colours, and its time in whole hundredths of a second, so that none is lost in sum."""
    array = frame[0] if frame.shape[0] == 1 else frame.permute(1, 2, 0)
    image = pillow.fromarray(array.contiguous().numpy())
    image = image if frame.shape[0] == 1 else image.quantize(256)
    image.info["duration"] = 10 * (round(100 * (number + 1) / rate) - round(100 * number / rate))
    return image


WRITERS: dict[str, Callable[[Path, Iterator[Tensor], float], None]] = {".mp4": _mp4, ".mkv": _mkv, ".gif": _gif}


def contact_sheet(
    path: str | Path, rows: Mapping[str, Tensor], captions: Sequence[str] = (), most: int = LONGEST
) -> None:
    """Draw clips below each other as a PNG, a frame beside the next.

    rows      what to call a clip, and its frames ``(T, C, M, N)`` uint8; longer and shorter ones may stand together
    captions  a word or two under each frame, such as its number or what was recognised in it
    most      frames in a row; of more, so many at equal distances, the first and the last among them

    Raises ConfigError if there is nothing to draw, or captions are not as many as frames.
    """
    longest = max((len(frames) for frames in rows.values()), default=0)
    if not longest or most < 1:
        raise ConfigError("contact sheet: expected a clip with a frame at least, and room for one")
    if captions and len(captions) != longest:
        raise ConfigError(f"contact sheet: expected {longest} captions, one a frame, got {len(captions)}")
    places = _places(longest, most)
    figure = _grid(rows, len(places))
    for number, (axes, (name, frames)) in enumerate(zip(figure.axes[:: len(places)], rows.items(), strict=True)):
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        line = figure.axes[number * len(places) : (number + 1) * len(places)]
        for cell, place in zip(line, places, strict=True):
            _draw(cell, frames, place)
    for cell, place in zip(figure.axes[-len(places) :], places, strict=True):
        cell.set_xlabel(captions[place] if captions else str(place + 1), fontsize=8)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _places(longest: int, most: int) -> list[int]:
    """The numbers of the frames to show."""
    return sorted({int(place) for place in torch.linspace(0, longest - 1, min(longest, most)).round()})


def _grid(rows: Mapping[str, Tensor], columns: int) -> Figure:
    height, width = next(iter(rows.values())).shape[2:]
    scale = TILE / max(height, width)
    named = 0.3 + 0.075 * max(len(name) for name in rows)
    tall = len(rows) * (height * scale + 0.05) + 0.35
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    figure = Figure(figsize=(columns * (width * scale + 0.05) + named, tall), dpi=120, layout=tight)
    figure.subplots(len(rows), columns, squeeze=False)
    return figure


def _draw(cell: Any, frames: Tensor, place: int) -> None:
    cell.set_xticks([])
    cell.set_yticks([])
    for spine in cell.spines.values():
        spine.set_visible(False)
    there = place < len(frames)
    frame = frames[place].detach().cpu() if there else torch.full_like(frames[0], 255)  # white keeps the grid
    image = frame[0] if frame.shape[0] == 1 else frame.permute(1, 2, 0)
    cell.imshow(image.numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
