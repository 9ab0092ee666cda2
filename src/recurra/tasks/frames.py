"""Next frames: what a film shows next, from what it has shown.

A memory over maps (Shi et al. 2015; Wang et al. 2017) reads frames and says how the next one comes of the last.
What it predicts is measured beside two rules that learn nothing: the last frame again, and every pixel going on.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from recurra.data.decoding import describe
from recurra.data.films import write_video
from recurra.data.video import read_frames
from recurra.errors import DataError, RunError
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.frames_config import FramesAugment, FramesConfig, FramesData, FramesLoss, FramesNet
from recurra.tasks.frames_data import DIGITS, FilmReader, FrameBatch, digits, enlarged, film_place, films_of
from recurra.tasks.frames_network import FORMS, FrameNetwork, Seen
from recurra.tasks.frames_pictures import (
    Example,
    draw_errors,
    draw_example,
    draw_film,
    draw_maps,
    draw_next,
    draw_prediction,
    framed,
)
from recurra.tasks.frames_scores import Scored, scored, steps, summary, table
from recurra.tasks.frames_stream import FrameStream, as_bytes, as_values

__all__ = ["FramePredictor", "FramesAugment", "FramesConfig", "FramesData", "FramesLoss", "FramesNet"]

AT_ONCE = 32  # frames of a film that are read together
SHEETS = 3  # clips that are drawn
DIGITS_SHOWN = 4  # decimals of an answer's pixels


class FramePredictor(Estimator):
    """A predictor of frames that is trained on films.

    >>> model = FramePredictor(FramesConfig(FramesData(path="street.avi", size=(96, 128))))       # doctest: +SKIP
    >>> model.fit("runs/street")                                                                  # doctest: +SKIP
    >>> model.predict("street.avi")["frames"]                                                     # doctest: +SKIP
    """

    name = "frames"
    source: ClassVar[str] = "data.path"
    unit: ClassVar[str] = "frames"
    Config = FramesConfig
    config: FramesConfig

    def __init__(self, config: FramesConfig | None = None) -> None:
        super().__init__(config)
        self.reader = FilmReader(self.config)
        self.shape, self.rate = (0, 0, 0), 0.0

    def data(self) -> Data:
        """Clips of the three parts."""
        found = digits(self.config) if self.config.data.path == DIGITS else self.reader.found()
        self.shape, self.rate = found.shape, found.rate
        self.say(*found.notes, *self._mended())
        return found.data

    def _mended(self) -> list[str]:
        patch, (_, height, width) = self.config.model.patch, self.shape
        if height % patch == 0 and width % patch == 0:
            return []
        return [
            f"{height} x {width} pixels are no whole patches of {patch}: the last row or column is repeated inside"
        ]

    def read(self, source: str) -> Batches:
        """All clips of a film, a folder of films or a data set, stretched to the size of training."""
        self.say(*filter(None, (enlarged(path, self.shape) for path in films_of(film_place(source)))))
        return self.reader.read(source, self.shape)

    def network(self) -> nn.Module:
        return FORMS[self.config.model.form](self.config.model, self.shape)

    def loss(self, network: nn.Module, batch: FrameBatch, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum over frames of the mean error of a pixel, and how many frames; nothing is carried."""
        known, came = as_values(batch.known), as_values(batch.came)
        weight = self.config.loss.known
        found = network(known, came.shape[1], known.shape[1] - 1 if weight else 0)
        total, again = self._off(found.frames, came), found.known.shape[1]
        if again:
            total = total + weight * self._off(found.known, known[:, -again:])
        return total, len(came) * (came.shape[1] + again), None

    def _off(self, found: Tensor, came: Tensor) -> Tensor:
        """The weighted errors, a mean over the pixels of a frame and a sum over frames."""
        weights, pixels, off = self.config.loss, came[0, 0].numel(), found - came
        total = weights.mse * off.square().sum()
        if weights.l1:
            total = total + weights.l1 * off.abs().sum()
        if weights.bce:
            with torch.autocast(found.device.type, enabled=False):
                total = total + weights.bce * binary_cross_entropy(found.clamp(0, 1), came, reduction="sum")
        return total / pixels

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """MSE, MAE, PSNR and SSIM of frames from 0 to 1, means over all steps, beside those of the rules."""
        return summary(part for part, _ in self._scored(network, batches))

    @torch.no_grad()
    def evaluate(self, part: str = "test", source: str | None = None) -> dict[str, float]:
        """The same, and each step by itself if there are several."""
        return self._measured(self.held_out(part, source))

    def _measured(self, batches: Batches) -> dict[str, float]:
        parts = [part for part, _ in self._scored(self.ready(), batches)]
        return summary(parts) | (steps(parts) if self.config.data.ahead > 1 else {})

    def _scored(self, network: nn.Module, batches: Batches) -> Iterator[tuple[Scored, list[Example]]]:
        """The scores of each batch, and its clips with what is predicted for them."""
        device, passing = next(network.parameters()).device, batches.epoch(0)
        for number in range(len(passing)):
            begin = perf_counter()
            batch = passing[number]
            known, came = as_values(batch.known), as_values(batch.came)
            found = network(known.to(device), came.shape[1]).frames.clamp(0, 1).cpu()
            seconds = perf_counter() - begin
            yield scored(found, known, came, seconds), list(map(Example, known, came, found))

    def lines(self, measured: dict[str, float]) -> list[str]:
        return table(measured)

    @torch.no_grad()
    def predict(self, raw: Any) -> dict[str, Any]:
        """What follows a film.

        raw  its name, a folder of images, or frames ``(T, C, M, N)`` uint8 of the size of training

            {"film", "read", "rate", "frames": [[[[0.0, ...]]]], "shown"}

        "frames" are ``data.ahead`` frames of C channels, M rows and N columns, from 0 to 1. Raises DataError for
        what is no film, and for fewer than ``data.known`` frames.
        """
        count, seen = self._read(raw)
        ahead = self.config.data.ahead
        frames = self._network().ahead(seen, ahead)[0].clamp(0, 1)
        name = "frames" if isinstance(raw, Tensor) else str(raw)
        return {
            "film": name,
            "read": count,
            "rate": self._rate(raw),
            "frames": _rounded(frames.tolist()),
            "shown": f"{name}: {count} frames read, {ahead} predicted; see them with --pictures or --json",
        }

    def _read(self, raw: Any) -> tuple[int, Seen]:
        """How many frames there are, and what the network knows after them."""
        network, count, seen = self._network(), 0, None
        for frames in _together(self._frames(raw)):
            _, seen = network.read(as_values(frames)[None], seen)
            count += len(frames)
        if seen is None or count < self.config.data.known:
            raise DataError(
                f"{'frames' if isinstance(raw, Tensor) else raw}: {count} frames are there, expected data.known = "
                f"{self.config.data.known} at least"
            )
        return count, seen

    def _frames(self, raw: Any) -> Iterable[Tensor]:
        """The frames of a question, in the size of training."""
        if isinstance(raw, Tensor):
            if raw.shape[1:] != self.shape or raw.dtype != torch.uint8:
                raise DataError(
                    f"predict: expected frames (T, {', '.join(map(str, self.shape))}) uint8, got "
                    f"{tuple(raw.shape)} {raw.dtype}"
                )
            return raw
        if not isinstance(raw, str | Path):
            raise DataError(f"predict: expected the name of a film, or frames, got {type(raw).__name__}")
        path = film_place(str(raw))
        if note := enlarged(path, self.shape):
            self.say(note)
        rate = None if path.is_dir() else self._rate(raw)
        return read_frames(path, rate, self.shape[1:], self.config.data.colours)

    def _rate(self, raw: Any) -> float:
        """Frames a second: as asked for, or the film's own on average; images and tensors have none."""
        if isinstance(raw, Tensor) or self.config.data.rate:
            return self.rate
        return describe(film_place(str(raw))).rate or self.rate

    def questions(self, source: str) -> list[Any]:
        """The films of a folder, or the one that is named."""
        return [str(path) for path in films_of(film_place(source))]

    def stream(self, raw: Any = None) -> FrameStream:
        """A `FrameStream` that has seen the frames of ``raw``; push more."""
        stream = FrameStream(self._network())
        for frame in () if raw is None else self._frames(raw):
            stream.push(frame)
        return stream

    def _network(self) -> FrameNetwork:
        network = self.ready()
        assert isinstance(network, FrameNetwork)
        return network

    def explain(self) -> str:
        """Which kernels run for a training batch."""
        data = self.config.data
        with dispatch.record() as log, torch.no_grad():
            self._network()(torch.zeros(data.batch, data.known, *self.shape), data.ahead)
        return "\n".join(dict.fromkeys(map(str, log))) or "one path only, in plain PyTorch"

    @torch.no_grad()
    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """Some clips with what came and what was predicted, errors by step, and what the memory says."""
        scores: list[Scored] = []
        examples: list[Example] = []
        for part, found in self._scored(self.ready(), batches):
            scores.append(part)
            examples += found if len(examples) < 10 * SHEETS else found[:1]
        chosen = _spread(examples, 10 if self.config.data.ahead == 1 else SHEETS)
        drawn = self._draw_clips(chosen, folder)
        if self.config.data.ahead > 1:
            draw_errors(steps(scores), folder / "errors.png")
            drawn.append(folder / "errors.png")
        known = chosen[0].known
        maps, _ = self._network().read(known[None])
        draw_maps(known, maps[0], folder / "maps.png")
        return [*drawn, folder / "maps.png"]

    def _draw_clips(self, chosen: list[Example], folder: Path) -> list[Path]:
        if self.config.data.ahead == 1:
            draw_next(chosen, folder / "next.png")
            return [folder / "next.png"]
        drawn = []
        for number, example in enumerate(chosen, 1):
            draw_example(example, folder / f"clip_{number}.png")
            draw_film(example, folder / f"clip_{number}.mp4", self.rate)
            draw_film(example, folder / f"clip_{number}.gif", self.rate)
            drawn += [folder / f"clip_{number}.{kind}" for kind in ("png", "mp4", "gif")]
        return drawn

    @torch.no_grad()
    def draw_answer(self, raw: Any, folder: Path, name: str) -> list[Path]:
        """The last known frames and those predicted, as MP4 and GIF, and on a sheet."""
        last = torch.stack(list(self._frames(raw))[-self.config.data.known :])
        _, seen = self._read(raw)
        found = self._network().ahead(seen, self.config.data.ahead)[0]
        paths = [folder / f"{name}.{kind}" for kind in ("png", "mp4", "gif")]
        draw_prediction(last, as_bytes(found), paths[0])
        for path in paths[1:]:
            write_video(path, framed(as_values(last), found), self._rate(raw))
        return paths

    def learned(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "rate": self.rate}

    def relearn(self, values: dict[str, Any]) -> None:
        shape, rate = values.get("shape"), values.get("rate")
        whole = isinstance(shape, list) and [type(side) for side in shape] == [int] * 3 and min(shape) > 0
        if not (whole and isinstance(rate, float) and rate > 0):
            raise RunError("the run has no shape and rate of its frames; was it made by this task?")
        channels, height, width = values["shape"]
        self.shape, self.rate = (channels, height, width), rate


def _together(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """Frames one by one as stacks ``(T, C, M, N)`` of a few."""
    waiting: list[Tensor] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == AT_ONCE:
            yield torch.stack(waiting)
            waiting = []
    if waiting:
        yield torch.stack(waiting)


def _rounded(values: Any) -> Any:
    """Nested lists of numbers with few decimals."""
    return [_rounded(value) for value in values] if isinstance(values, list) else round(values, DIGITS_SHOWN)


def _spread(items: list[Any], count: int) -> list[Any]:
    """Some at equal distances, the first among them."""
    return items[:: -(-len(items) // count)]
