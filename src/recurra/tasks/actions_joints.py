"""Joints of bodies for a recognizer of actions: places and velocities, standardised by the training part."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from recurra.data.augmentation import between
from recurra.data.joints import SUFFIXES, Joints, parse_joints, read_joint_parts, read_joints
from recurra.data.poses import Mirror, PoseState, Resize, Turn, filled
from recurra.data.series import Scale
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.errors import ConfigError, DataError, NotCausalError, RunError
from recurra.tasks.actions_config import ActionConfig
from recurra.tasks.actions_input import Input, Window

__all__ = ["Bodies"]


class Bodies(Input):
    """Sequences of joints with labels; an example is a `Joints`."""

    def __init__(self, config: ActionConfig) -> None:
        self.config, self.features = config, config.view.features
        self.body: tuple[int, int] | None = None  # joints and directions
        self.scale: Scale | None = None

    def parts(self) -> Parts:
        data = self.config.data
        return read_joint_parts(place_of(data.path), data.valid, data.test, data.split, data.seed)

    def rows_of(self, source: str) -> tuple[list[Joints], str]:
        found = read_joints(source)
        return found, f"{source}: {len(found)} sequences"

    def learn(self, examples: list[Joints]) -> None:
        _, joints, directions = examples[0].x.shape
        self.body = (joints, directions)
        highest = max(self.config.augment.pairs, default=0)
        if self.config.augment.mirror and highest >= joints:
            raise ConfigError(
                f"augment.pairs: there is no joint {highest} among 0 to {joints - 1}; name the joints that change "
                "places in a mirror, or set augment.mirror=0"
            )
        self.scale = Scale.of(self.features(example.x) for example in examples)

    def count(self, example: Joints) -> int:
        return len(example.x)

    def read(self, window: Window) -> Tensor:
        return self.whole(window.example)[window.begin : window.end]

    def whole(self, example: Joints) -> Tensor:
        """All frames of an example as the network reads them."""
        return self._scaled(self.features(self._checked(example.x, example.where)))

    def places(self, example: Joints) -> Tensor:
        """The same without velocities, ``(T, J D)``: what sequences are compared by."""
        joints, directions = self._body()
        return self.whole(example)[:, : joints * directions]

    def disturbed(self, window: Window, random: torch.Generator) -> Tensor:
        augment = self.config.augment
        x = filled(self._checked(window.example.x, window.example.where))[window.begin : window.end]
        x = _played(x, between(augment.slow, augment.fast, random), self.config.view.window)
        x = Mirror(tuple(zip(augment.pairs[::2], augment.pairs[1::2], strict=True)), augment.mirror)(x, random)
        x = Resize(augment.resize)(Turn(augment.turn)(x, random), random)
        size = (x - x.mean(1, keepdim=True)).norm(dim=2).nanmean()
        x = x + augment.noise * size * torch.randn(x.shape, generator=random)
        return self._scaled(self.features(x))

    def frames(self, raw: Any, where: str) -> Iterator[Tensor]:
        """The frames of a `Joints`, of a tensor or lists ``(T, J, D)``, or of a line of JSON."""
        return iter(self.whole(Joints(self.shown(raw), "", where)))

    def shown(self, raw: Any) -> Tensor:
        if isinstance(raw, Path) or (isinstance(raw, str) and Path(raw).suffix in SUFFIXES):
            raise DataError(f"predict: expected joints, or a line of JSON with them, got a file; give --data {raw}")
        if isinstance(raw, str):
            return self._checked(parse_joints(raw, "predict"), "predict")
        return self._checked(raw.x if isinstance(raw, Joints) else _tensor(raw, "predict"), "predict")

    def initial(self) -> PoseState:
        if not self.features.causal:
            raise NotCausalError(
                "actions: joints are centred and scaled by the whole clip; to stream, train with "
                "--set view.centre=frame --set view.scale=frame"
            )
        return self.features.initial(torch.empty(0, *self._body()))

    def push(self, raw: Any, state: PoseState) -> tuple[Tensor, PoseState]:
        x = _tensor(raw, "push")
        found, state = self.features.push(self._checked(x[None] if x.dim() == 2 else x, "push"), state)
        return self._scaled(found), state

    def _checked(self, x: Tensor, where: str) -> Tensor:
        body = self._body()
        if x.dim() != 3 or x.shape[1:] != body or not len(x):
            raise DataError(f"{where}: expected joints (T, {body[0]}, {body[1]}), got {tuple(x.shape)}")
        if x.isinf().any():
            raise DataError(f"{where}: joints hold infinite numbers; a point that was not seen is NaN")
        return x.float()

    def _body(self) -> tuple[int, int]:
        if self.body is None:
            raise RunError("ActionRecognizer knows no joints yet; call fit(...) or load(folder)")
        return self.body

    def _scaled(self, features: Tensor) -> Tensor:
        assert self.scale is not None
        return self.scale(features)

    @property
    def size(self) -> int:
        """Features of a frame."""
        return self.features.size(*self._body())

    def some(self, steps: int) -> Tensor:
        return torch.zeros(steps, self.size)

    def learned(self) -> dict[str, Any]:
        body, scale = self._body(), self.scale
        assert scale is not None
        return {"body": list(body), "mean": scale.mean.tolist(), "deviation": scale.deviation.tolist()}

    def relearn(self, values: dict[str, Any]) -> None:
        try:
            joints, directions = values["body"]
            mean, deviation = (torch.tensor(values[name], dtype=torch.float32) for name in ("mean", "deviation"))
            self.body = (int(joints), int(directions))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError("the run has no body, mean and deviation; was it made by this task?") from error
        self.scale = Scale(mean, deviation)


def _played(x: Tensor, speed: float, most: int) -> Tensor:
    """Joints ``(T, J, D)`` so many times as fast, between frames on straight lines; ``most`` frames, 0: all."""
    count = max(1, round(len(x) / speed))
    if count == len(x):
        return x
    flat = x.flatten(1).T[None]
    played = interpolate(flat, count, mode="linear", align_corners=True)[0].T.reshape(count, *x.shape[1:])
    return played[:most] if most else played


def _tensor(raw: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(raw, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{what}: expected joints (T, J, 2 or 3) as numbers, got {type(raw).__name__} ({error})"
        ) from error
