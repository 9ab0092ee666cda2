"""Films for a recognizer of actions: frames of one size at one rate, decoded when they are needed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra.data.clip_augmentation import Colour, Crop, Flip, Speed
from recurra.data.clips import Reader, Shot, View, read_shot_parts, read_shots, windows
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.data.video import Clip, read_frames
from recurra.errors import DataError
from recurra.tasks.actions_config import ActionConfig
from recurra.tasks.actions_input import Input, Window

__all__ = ["Films"]


class Films(Input):
    """Videos with labels; an example is a `Shot` whose duration is known."""

    def __init__(self, config: ActionConfig) -> None:
        self.config, view = config, config.view
        rows, columns = view.size
        self.shape = (3 if view.colours == "rgb" else 1, rows, columns)
        self.view = View(view.rate, (rows, columns), view.colours)
        self.reader = Reader(self.view)
        self.changes = _augmentations(config)

    def parts(self) -> Parts:
        data = self.config.data
        found = read_shot_parts(place_of(data.path), data.valid, data.test, data.split, data.seed)
        train, valid, test = (windows(part, self.view) for part in (found.train, found.valid, found.test))
        return Parts(train, valid, test, found.notes)

    def rows_of(self, source: str) -> tuple[list[Shot], str]:
        shots = windows(read_shots(source), self.view)
        return shots, f"{source}: {len(shots)} videos"

    def learn(self, examples: list[Shot]) -> None:
        return

    def count(self, example: Shot) -> int:
        return max(1, round(example.duration * self.view.rate))

    def read(self, window: Window) -> Tensor:
        rate, shot = self.view.rate, window.example
        start, duration = shot.start + window.begin / rate, (window.end - window.begin) / rate
        return self.reader(shot._replace(start=start, duration=duration))

    def disturbed(self, window: Window, random: torch.Generator) -> Tensor:
        frames = self.read(window)
        for change in self.changes:
            frames = change(frames, random)
        return frames

    def frames(self, raw: Any, where: str) -> Iterator[Tensor]:
        """The frames of a file, a folder of images, a `Clip`, or a tensor ``(T, C, M, N)``."""
        if isinstance(raw, str | Path):
            return read_frames(raw, self.view.rate, self.view.size, self.view.colours)
        given = raw.frames if isinstance(raw, Clip) else raw
        if not isinstance(given, Tensor):
            raise DataError(f"{where}: expected the name of a video or frames, got {type(raw).__name__}")
        return iter(self._checked(given, where))

    def shown(self, raw: Any) -> Tensor:
        return torch.stack(list(self.frames(raw, "predict")))

    def initial(self) -> Any:
        return ()

    def push(self, raw: Any, state: Any) -> tuple[Tensor, Any]:
        if not isinstance(raw, Tensor):
            raise DataError(f"push: expected a frame {self.shape} of bytes, got {type(raw).__name__}")
        return self._checked(raw[None] if raw.dim() == 3 else raw, "push"), state

    def _checked(self, frames: Tensor, where: str) -> Tensor:
        if frames.dim() != 4 or frames.shape[1:] != self.shape or frames.dtype != torch.uint8 or not len(frames):
            raise DataError(
                f"{where}: expected frames {self.shape} of uint8, as view.size and view.colours say, got "
                f"{tuple(frames.shape)} of {frames.dtype}"
            )
        return frames

    def some(self, steps: int) -> Tensor:
        return torch.zeros(steps, *self.shape, dtype=torch.uint8)

    def learned(self) -> dict[str, Any]:
        return {}

    def relearn(self, values: dict[str, Any]) -> None:
        return


def _augmentations(config: ActionConfig) -> list[Callable[[Tensor, torch.Generator], Tensor]]:
    augment = config.augment
    found: list[Any] = [Flip(augment.mirror)] if augment.mirror else []
    found += [Speed(augment.slow, augment.fast)] if (augment.slow, augment.fast) != (1, 1) else []
    found += [Crop(augment.crop)] if augment.crop < 1 else []
    return found + ([Colour(augment.light, augment.light, augment.light)] if augment.light else [])
