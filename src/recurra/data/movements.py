"""Ten movements of a body, as angles of its joints over time: what `recurra.data.figures` draws.

    limb(s, r, side)   a unit vector: down, swung forward by s, then raised sideways by r (radians)
                       (side sin r, -cos r cos s, cos r sin s)   in x (to the left of the body), y (up), z (forward)

A pose is 15 joints in metres; its lower foot stands on y = 0 unless the body is in the air.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["ACTIONS", "JOINTS", "LIMBS", "Body", "joints"]

JOINTS = (
    "neck",
    "belly",
    "face",
    "right shoulder",
    "left shoulder",
    "right hip",
    "left hip",
    "right elbow",
    "left elbow",
    "right knee",
    "left knee",
    "right wrist",
    "left wrist",
    "right ankle",
    "left ankle",
)
LIMBS = (  # pairs of joints with a limb between them, and whose colour it has
    (0, 1, "shirt"),
    (3, 4, "shirt"),
    (3, 5, "shirt"),
    (4, 6, "shirt"),
    (5, 6, "trousers"),
    (3, 7, "shirt"),
    (4, 8, "shirt"),
    (7, 11, "skin"),
    (8, 12, "skin"),
    (5, 9, "trousers"),
    (6, 10, "trousers"),
    (9, 13, "trousers"),
    (10, 14, "trousers"),
    (0, 2, "skin"),
)
RIGHT, LEFT = -1.0, 1.0


@dataclass(frozen=True)
class Body:
    """Lengths in metres."""

    trunk: float = 0.55
    neck: float = 0.25
    shoulders: float = 0.20
    hips: float = 0.12
    upper_arm: float = 0.30
    forearm: float = 0.28
    thigh: float = 0.42
    shank: float = 0.42


@dataclass(frozen=True)
class Limb:
    """An arm or a leg: swung forward and raised sideways at the trunk, then bent, forward and sideways."""

    swing: float = 0.0
    rise: float = 0.06
    bend: float = 0.0
    aside: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Angles in radians of the limbs and of the trunk, which leans forward; metres of the body above the ground."""

    right_arm: Limb = field(default_factory=lambda: Limb(bend=0.15))
    left_arm: Limb = field(default_factory=lambda: Limb(bend=0.15))
    right_leg: Limb = field(default_factory=Limb)
    left_leg: Limb = field(default_factory=Limb)
    lean: float = 0.0
    hop: float = 0.0


def _walk(way: float, side: float) -> Pose:
    swing = math.sin(way)
    return Pose(
        Limb(-0.45 * swing, bend=0.3),
        Limb(0.45 * swing, bend=0.3),
        Limb(0.5 * swing, bend=-0.15 - 0.55 * max(0.0, math.cos(way))),
        Limb(-0.5 * swing, bend=-0.15 - 0.55 * max(0.0, -math.cos(way))),
        lean=0.04,
    )


def _run(way: float, side: float) -> Pose:
    swing = math.sin(way)
    return Pose(
        Limb(-0.9 * swing, bend=1.5),
        Limb(0.9 * swing, bend=1.5),
        Limb(0.25 + 0.85 * swing, bend=-0.4 - 1.3 * max(0.0, math.cos(way))),
        Limb(0.25 - 0.85 * swing, bend=-0.4 - 1.3 * max(0.0, -math.cos(way))),
        lean=0.25,
        hop=0.08 * abs(math.cos(way)),
    )


def _jump(way: float, side: float) -> Pose:
    flight = math.sin(way)
    crouch, up = max(0.0, -flight), max(0.0, flight)
    arm = Limb(-0.7 * crouch + 2.7 * up, bend=0.2)
    leg = Limb(1.0 * crouch, 0.08, -1.9 * crouch)
    return Pose(arm, arm, leg, leg, lean=0.45 * crouch, hop=0.45 * up)


def _wave(way: float, side: float) -> Pose:
    arm = Limb(0.1, 1.9, 0.0, 0.7 + 0.65 * math.sin(2 * way))
    return Pose(left_arm=arm) if side == LEFT else Pose(arm)


def _clap(way: float, side: float) -> Pose:
    open_ = (1 + math.cos(2 * way)) / 2
    arm = Limb(1.0, 0.05 + 0.5 * open_, 0.35, -0.35 + 0.7 * open_)
    return Pose(arm, arm)


def _squat(way: float, side: float) -> Pose:
    down = (1 - math.cos(way)) / 2
    arm = Limb(1.5 * down, bend=0.1)
    leg = Limb(1.45 * down, 0.12, -2.4 * down)
    return Pose(arm, arm, leg, leg, lean=0.5 * down)


def _kick(way: float, side: float) -> Pose:
    up = max(0.0, math.sin(way)) ** 2
    leg = Limb(-0.25 * max(0.0, -math.sin(way)) + 1.45 * up, bend=-0.9 * max(0.0, math.cos(way)) * (1 - up))
    ahead, back = Limb(0.6 * up, 0.35, 0.3), Limb(-0.5 * up, 0.35, 0.3)
    if side == LEFT:
        return Pose(ahead, back, left_leg=leg, lean=-0.18 * up)
    return Pose(back, ahead, right_leg=leg, lean=-0.18 * up)


def _bow(way: float, side: float) -> Pose:
    down = (1 - math.cos(way)) / 2
    arm = Limb(0.2 * down, bend=0.1)
    return Pose(arm, arm, lean=1.35 * down)


def _jumping_jack(way: float, side: float) -> Pose:
    out = (1 - math.cos(way)) / 2
    arm, leg = Limb(0, 0.1 + 2.6 * out, 0.1), Limb(0, 0.05 + 0.42 * out)
    return Pose(arm, arm, leg, leg, hop=0.1 * abs(math.sin(way)))


def _punch(way: float, side: float) -> Pose:
    right, left = max(0.0, math.sin(way)) ** 2, max(0.0, -math.sin(way)) ** 2
    first, second = (Limb(0.55 + 0.95 * out, 0.12, 1.75 * (1 - out)) for out in (right, left))
    return Pose(first, second, Limb(0.25, bend=-0.35), Limb(-0.2, bend=-0.3), lean=0.12)


Movement = Callable[[float, float], Pose]

# What is done, how often a second it is done, and metres a second of the body.
ACTIONS: dict[str, tuple[Movement, float, float]] = {
    "walk": (_walk, 0.9, 0.7),
    "run": (_run, 1.4, 1.2),
    "jump": (_jump, 0.8, 0.0),
    "wave": (_wave, 0.9, 0.0),
    "clap": (_clap, 0.9, 0.0),
    "squat": (_squat, 0.6, 0.0),
    "kick": (_kick, 0.8, 0.0),
    "bow": (_bow, 0.5, 0.0),
    "jumping_jack": (_jumping_jack, 1.0, 0.0),
    "punch": (_punch, 1.1, 0.0),
}


def joints(body: Body, action: str, times: Tensor, begin: float, side: float) -> Tensor:
    """The joints ``(T, 15, 3)`` in metres at some seconds ``times (T,)`` of a movement that is begun at a phase.

    side  1 or -1: whether the left or the right limb does what one limb does
    """
    movement, often, speed = ACTIONS[action]
    found = []
    for time in times.tolist():
        pose = movement(2 * math.pi * (often * time + begin), side)
        found.append(_joints(body, pose) + torch.tensor([0, 0, speed * time]))
    return torch.stack(found)


def _joints(body: Body, pose: Pose) -> Tensor:
    trunk = (0.0, math.cos(pose.lean), math.sin(pose.lean))
    belly, neck = (0.0, 0.0, 0.0), _along((0.0, 0.0, 0.0), trunk, body.trunk)
    face = _along(neck, trunk, body.neck)
    shoulders = [_along(neck, (side, 0.0, 0.0), body.shoulders) for side in (RIGHT, LEFT)]
    hips = [_along(belly, (side, 0.0, 0.0), body.hips) for side in (RIGHT, LEFT)]
    arms = [
        _limb(start, limb, side, (body.upper_arm, body.forearm))
        for start, limb, side in zip(shoulders, (pose.right_arm, pose.left_arm), (RIGHT, LEFT), strict=True)
    ]
    legs = [
        _limb(start, limb, side, (body.thigh, body.shank))
        for start, limb, side in zip(hips, (pose.right_leg, pose.left_leg), (RIGHT, LEFT), strict=True)
    ]
    middle, ends = [limb[0] for limb in (*arms, *legs)], [limb[1] for limb in (*arms, *legs)]
    found = torch.tensor([neck, belly, face, *shoulders, *hips, *middle, *ends])
    return found - torch.tensor([0, float(found[-2:, 1].min()) - pose.hop, 0])


Point = tuple[float, float, float]


def _along(start: Point, way: Point, length: float) -> Point:
    return (start[0] + way[0] * length, start[1] + way[1] * length, start[2] + way[2] * length)


def _limb(start: Point, limb: Limb, side: float, lengths: tuple[float, float]) -> tuple[Point, Point]:
    """Where its middle joint and its end are."""
    middle = _along(start, _way(limb.swing, limb.rise, side), lengths[0])
    return middle, _along(middle, _way(limb.swing + limb.bend, limb.rise + limb.aside, side), lengths[1])


def _way(swing: float, rise: float, side: float) -> Point:
    return (side * math.sin(rise), -math.cos(rise) * math.cos(swing), math.cos(rise) * math.sin(swing))
