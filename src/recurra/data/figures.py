"""Drawn people who walk, run, jump, wave ...: short films with labels and joints, made anywhere from a seed.

    person      lengths of the limbs, thickness, colours of skin, shirt and trousers: a part has its own people
    film        one movement of a person, seen from a drawn side, somewhere before a drawn background
    distance    of a pixel from each limb decides its colour; nearer limbs hide those behind

The joints of the same films are there too, in pixels. No part has a person or a background of another.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from recurra.data.augmentation import between
from recurra.data.movements import ACTIONS, LIMBS, Body, joints
from recurra.data.splits import PARTS
from recurra.errors import ConfigError

__all__ = ["ACTIONS", "FRAMES", "PEOPLE", "RATE", "SIZE", "Film", "figures"]

FRAMES, RATE, SIZE = 24, 12.0, 64  # two seconds, frames a second, pixels of a side
PEOPLE = {"train": 40, "valid": 10, "test": 20}
TURN = 1.2  # radians to either side of the front
TALL = 1.75  # metres of a usual body
GRAIN = 4.0  # standard deviation of the noise of the camera, of 255


class Film(NamedTuple):
    """What one person does.

    frames  (T, 3, M, M) uint8
    joints  (T, 15, 2) float32: column and row of each joint in pixels, which may lie outside
    action  its name
    person  whose number it is among those of the part
    """

    frames: Tensor
    joints: Tensor
    action: str
    person: int


@dataclass(frozen=True)
class _Person:
    body: Body
    thickness: float  # metres, half that of an arm
    colours: dict[str, Tensor]


def figures(part: str, each: int, seed: int = 0, frames: int = FRAMES, size: int = SIZE) -> Iterator[Film]:
    """``each`` films of every action, one action after the other, then again; the same for the same seed.

    Raises ConfigError for another part than train, valid or test, or fewer than 1 film or 16 pixels.
    """
    if part not in PARTS:
        raise ConfigError(f"part: expected one of {', '.join(PARTS)}, got {part!r}")
    if min(each, frames) < 1 or size < 16:
        raise ConfigError(f"figures: expected a film, a frame and 16 pixels, got {each}, {frames} and {size}")
    return _figures(part, each, seed, (frames, size))


def _figures(part: str, each: int, seed: int, shape: tuple[int, int]) -> Iterator[Film]:
    own = (3 * seed + PARTS.index(part)) * 1_000_003
    people = [_person(torch.Generator().manual_seed((own + n) % 2**32)) for n in range(PEOPLE[part])]
    for number in range(each * len(ACTIONS)):
        random = torch.Generator().manual_seed((own + len(people) + number) % 2**32)
        person = int(torch.randint(len(people), (), generator=random))
        action = list(ACTIONS)[number % len(ACTIONS)]
        yield _film(people[person], action, shape, random)._replace(person=person)


def _person(random: torch.Generator) -> _Person:
    usual = Body()
    lengths = {name: value * between(0.87, 1.15, random) for name, value in vars(usual).items()}
    tone = between(0.25, 1.0, random)
    colours = {
        "skin": torch.tensor([240.0, 200.0, 170.0]) * tone,
        "shirt": 255 * torch.rand(3, generator=random),
        "trousers": 220 * torch.rand(3, generator=random),
    }
    return _Person(Body(**lengths), between(0.045, 0.075, random), colours)


def _film(person: _Person, action: str, shape: tuple[int, int], random: torch.Generator) -> Film:
    """One film; the person's number is left 0."""
    frames, size = shape
    times = torch.arange(frames) / RATE * between(0.8, 1.25, random)
    side = 1.0 if torch.rand((), generator=random) < 0.5 else -1.0
    places = joints(person.body, action, times, between(0, 1, random), side)
    flat, depth, scale = _seen(places, size, random)
    picture = _background(size, random).expand(frames, -1, -1, -1)
    picture = _drawn(picture, person, (flat, depth), scale)
    noise = GRAIN * torch.randn(picture.shape, generator=random)
    return Film((picture + noise).round().clamp(0, 255).byte(), flat, action, 0)


def _seen(places: Tensor, size: int, random: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Joints in metres as pixels ``(T, 15, 2)``, how far away they are ``(T, 15)``, and pixels a metre."""
    turn = between(-TURN, TURN, random)
    across = places[..., 0] * math.cos(turn) + places[..., 2] * math.sin(turn)
    depth = places[..., 0] * math.sin(turn) - places[..., 2] * math.cos(turn)
    scale = size * between(0.5, 0.68, random) / TALL
    middle = (across.min() + across.max()) / 2
    column = size * between(0.4, 0.6, random) + scale * (across - middle)
    row = size * between(0.88, 0.96, random) - scale * places[..., 1]
    return torch.stack([column, row], -1), depth, scale


def _background(size: int, random: torch.Generator) -> Tensor:
    """A picture ``(3, M, M)``: two colours mixed by a slope, by stripes, by squares or by clouds."""
    first, second = 255 * torch.rand(2, 3, 1, 1, generator=random)
    row, column = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    angle, often = between(0, 2 * math.pi, random), between(2, 7, random)
    way = row * math.sin(angle) + column * math.cos(angle)
    cross = column * math.sin(angle) - row * math.cos(angle)
    clouds = torch.rand(1, 1, 6, 6, generator=random)
    mixes = (
        (way - way.min()) / (way.max() - way.min()),
        0.5 + 0.5 * torch.sin(2 * math.pi * often * way),
        0.5 + 0.5 * torch.sign(torch.sin(math.pi * often * way) * torch.sin(math.pi * often * cross)),
        interpolate(clouds, (size, size), mode="bicubic", align_corners=True)[0, 0].clamp(0, 1),
    )
    mix = mixes[int(torch.randint(len(mixes), (), generator=random))]
    return first * mix + second * (1 - mix)


def _drawn(picture: Tensor, person: _Person, seen: tuple[Tensor, Tensor], scale: float) -> Tensor:
    """The person put on ``picture (T, 3, M, M)``, limb by limb, the farthest first."""
    flat, depth = seen
    size = picture.shape[-1]
    row, column = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    covers, colours, far = [], [], []
    for start, end, kind in LIMBS:
        away = _distance(flat[:, start], flat[:, end], (column, row))
        covers.append((_half(kind, start, person) * scale + 0.5 - away).clamp(0, 1))
        colours.append(person.colours[kind])
        far.append((depth[:, start] + depth[:, end]) / 2)
    head = ((flat[:, 2, None, None, :] - torch.stack([column, row], -1)).norm(dim=-1) - 0.13 * scale).neg()
    covers.append((head + 0.5).clamp(0, 1))
    colours.append(person.colours["skin"])
    far.append(depth[:, 2])
    return _layered(picture, torch.stack(covers), torch.stack(colours), torch.stack(far))


def _half(kind: str, start: int, person: _Person) -> float:
    """Half the thickness of a limb in metres: the trunk is thickest, legs are thicker than arms."""
    if start in (0, 3, 4) and kind == "shirt":
        return 1.5 * person.thickness
    return (1.25 if kind == "trousers" else 0.85) * person.thickness


def _distance(start: Tensor, end: Tensor, grid: tuple[Tensor, Tensor]) -> Tensor:
    """Of each pixel from the segments between ``start`` and ``end (T, 2)``: ``(T, M, M)``."""
    x, y = grid[0] - start[:, 0, None, None], grid[1] - start[:, 1, None, None]
    way = (end - start)[..., None, None]
    share = (x * way[:, 0] + y * way[:, 1]) / way.square().sum(1).clamp_min(1e-6)
    share = share.clamp(0, 1)
    return (x - share * way[:, 0]).hypot(y - share * way[:, 1])


def _layered(picture: Tensor, covers: Tensor, colours: Tensor, far: Tensor) -> Tensor:
    """Lay limbs over the picture: covers ``(K, T, M, M)``, colours ``(K, 3)``, far ``(K, T)``."""
    order = far.argsort(0, descending=True)
    moment = torch.arange(far.shape[1])
    nearest, farthest = far.min(), far.max()
    light = 1 - 0.35 * (far - nearest) / (farthest - nearest).clamp_min(1e-6)
    for layer in order:
        cover = covers[layer, moment][:, None]
        colour = (colours[layer] * light[layer, moment][:, None])[..., None, None]
        picture = picture * (1 - cover) + colour * cover
    return picture
