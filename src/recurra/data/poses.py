"""What a network reads of joints: their places in the body, how fast they move; and bodies that could have been.

z     = (x - centre) / scale             places
v_t   = (x_t - x_{t-1}) / scale          velocities, 0 at the first frame: how the whole body moves too
a_t   = v'_t - v'_{t-1}                  the same of the velocities
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.data.augmentation import between
from recurra.errors import ConfigError, NotCausalError

__all__ = ["PAIRS", "Mirror", "PoseFeatures", "PoseState", "Resize", "Turn", "filled", "mirrored"]

# Right and left of the 15 joints of JHMDB (Jhuang et al. 2013) and of `recurra.data.movements`.
PAIRS = ((3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14))
SMALLEST = 1e-6  # a scale below it is that of a body in one point


class PoseState(NamedTuple):
    """What is kept between two frames.

    last   (J, D) where each joint was seen last; NaN: never
    moved  (J, D) its last velocity, before it is scaled; NaN before there is one
    """

    last: Tensor
    moved: Tensor


def filled(x: Tensor, last: Tensor | None = None) -> Tensor:
    """Joints ``(T, J, D)`` where a point that is not seen is where it was last, so no frame is told by a later one.

    One that was never seen is put in the middle of those that are. Frames before anything is seen stay NaN.

    last  (J, D): where the joints were before; None: nothing was seen
    """
    if not x.isnan().any():
        return x
    held = torch.full_like(x[0], math.nan) if last is None else last
    frames = []
    for frame in x:
        held = torch.where(frame.isnan().any(1, keepdim=True), held, frame)
        held = torch.where(held.isnan(), held.nanmean(0), held)
        frames.append(held)
    return torch.stack(frames)


@dataclass(frozen=True)
class PoseFeatures:
    """Features ``(T, F)`` of joints ``(T, J, D)``, F = (1 + orders) J D: places, velocities, accelerations.

    centre  what becomes 0: "frame", the middle of the joints in each frame; "clip", that of all frames, so the
            body's own way stays; or "none"
    scale   what becomes 1: "frame", the mean distance of the joints from their middle, frame by frame; "clip", that
            of all frames; or "none"
    orders  0: places alone, 1: velocities, 2: accelerations too

    Points that are not seen are `filled`; before anything is seen, features are 0. With "clip" a frame's features
    depend on later frames, so they cannot be streamed: NotCausalError.
    """

    centre: Literal["frame", "clip", "none"] = "frame"
    scale: Literal["frame", "clip", "none"] = "frame"
    orders: int = 1

    def __post_init__(self) -> None:
        for name, value in (("centre", self.centre), ("scale", self.scale)):
            if value not in ("frame", "clip", "none"):
                raise ConfigError(f"{name}: expected frame, clip or none, got {value!r}")
        if self.orders not in (0, 1, 2):
            raise ConfigError(f"orders: expected 0, 1 or 2, got {self.orders}")

    @property
    def causal(self) -> bool:
        """Whether no feature depends on later frames."""
        return "clip" not in (self.centre, self.scale)

    def size(self, joints: int, directions: int) -> int:
        """F."""
        return (1 + self.orders) * joints * directions

    def __call__(self, x: Tensor) -> Tensor:
        """The features of a whole sequence."""
        return self._of(filled(x), self.initial(x))[0]

    def initial(self, x: Tensor) -> PoseState:
        """Before the first frame of joints like ``x (T, J, D)``."""
        nothing = torch.full(x.shape[1:], math.nan, dtype=x.dtype)
        return PoseState(nothing, nothing.clone())

    def push(self, x: Tensor, state: PoseState) -> tuple[Tensor, PoseState]:
        """The features of the next frames ``(t, J, D)``, equal to those of the whole, and the state after them.

        Raises NotCausalError if they depend on later frames.
        """
        if not self.causal:
            raise NotCausalError(f"joints: {self} needs the whole clip; stream with centre and scale of the frame")
        return self._of(filled(x, state.last), state)

    def _of(self, x: Tensor, state: PoseState) -> tuple[Tensor, PoseState]:
        centre = _reduced(x, self.centre)
        away = (x - _reduced(x, "frame")).norm(dim=2, keepdim=True)
        scale = _reduced(away, self.scale).clamp_min(SMALLEST) if self.scale != "none" else x.new_ones(1, 1, 1)
        first, second = _changes(x, state)
        found = [x - centre, first, second][: 1 + self.orders]
        features = torch.cat([(part / scale).nan_to_num(0).flatten(1) for part in found], 1)
        return features, PoseState(x[-1].clone(), first[-1].clone())


def _reduced(x: Tensor, over: str) -> Tensor:
    """The mean over the joints of each frame, of all frames, or 0."""
    if over == "frame":
        return x.mean(1, keepdim=True)
    return x.nanmean((0, 1), keepdim=True) if over == "clip" else x.new_zeros(1, 1, 1)


def _changes(x: Tensor, state: PoseState) -> tuple[Tensor, Tensor]:
    """Velocities and accelerations before they are scaled, NaN where there is no frame before."""
    first = torch.cat([state.last[None], x]).diff(dim=0)
    return first, torch.cat([state.moved[None], first]).diff(dim=0)


def mirrored(x: Tensor, pairs: Sequence[tuple[int, int]] = PAIRS) -> Tensor:
    """Joints ``(T, J, D)`` as in a mirror: x turns round, and right joints become left ones.

    pairs  numbers of the joints that change places
    """
    order = list(range(x.shape[1]))
    for right, left in pairs:
        order[right], order[left] = left, right
    found = x[:, order].clone()
    found[..., 0] = -found[..., 0]
    return found


@dataclass(frozen=True)
class Mirror:
    """Bodies as in a mirror, now and then. Not for actions that differ in their side.

    pairs   numbers of the joints that change places
    chance  of a sequence to be mirrored
    """

    pairs: tuple[tuple[int, int], ...] = PAIRS
    chance: float = 0.5

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """The joints ``(T, J, D)``, all frames mirrored or none."""
        return mirrored(x, self.pairs) if float(torch.rand((), generator=random)) < self.chance else x


@dataclass(frozen=True)
class Turn:
    """Bodies seen by a camera that is not held level: turned in the plane of the picture, x and y.

    most  degrees to either side
    """

    most: float = 10.0

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """The joints ``(T, J, D)``, all turned by the same angle."""
        angle = math.radians(between(-self.most, self.most, random))
        cos, sin = math.cos(angle), math.sin(angle)
        found = x.clone()
        found[..., 0] = cos * x[..., 0] - sin * x[..., 1]
        found[..., 1] = sin * x[..., 0] + cos * x[..., 1]
        return found


@dataclass(frozen=True)
class Resize:
    """Wider or taller bodies: each direction by its own factor.

    most  the factor is drawn from 1 - most to 1 + most
    """

    most: float = 0.1

    def __call__(self, x: Tensor, random: torch.Generator) -> Tensor:
        """The joints ``(T, J, D)``, all frames in the same way."""
        return x * x.new_tensor([between(1 - self.most, 1 + self.most, random) for _ in range(x.shape[2])])
