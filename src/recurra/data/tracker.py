"""From a film of a fixed camera to tracks: what moves before a still background, put together from frame to frame.

    foreground   pixels that a mixture of Gaussians does not know as background (Zivkovic 2004, OpenCV's MOG2)
    boxes        connected regions of them that are large enough; an agent stands at the middle of the lower side
    tracks       each is expected to go on at its speed; boxes go to tracks with the least sum of distances
                 (Hungarian method, Kuhn 1955), none farther than a gate

Two people who walk as one region are one agent, and a bush in the wind may be one: a plain method, for a plain
camera. Better tracks of another program can be read as text (`recurra.data.tracks`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.data.tracks import Recording, make_tracks
from recurra.data.video import read_frames
from recurra.errors import ConfigError, DataError

__all__ = ["FILMS", "Box", "Tracker", "Tracking", "background", "boxes", "track_film"]

FILMS = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v", ".gif")
SAMPLES = 40  # frames spread over the beginning, from which the background is learned before the first one


class Box(NamedTuple):
    """A region in pixels: its left upper corner, its width and height."""

    left: float
    top: float
    width: float
    height: float

    @property
    def feet(self) -> tuple[float, float]:
        """The middle of the lower side."""
        return self.left + self.width / 2, self.top + self.height


@dataclass(frozen=True)
class Tracking:
    """How films are tracked. Sizes are shares of the height of the picture, so that they fit any resolution.

    rate      frames a second that are looked at
    smallest  height of a box
    gate      how far from where it was expected an agent may be found
    patience  seconds for which an agent may be hidden before its track ends
    least     seconds of a track, shorter ones are taken for noise
    memory    seconds over which the background is learned
    """

    rate: float = 10.0
    smallest: float = 0.05
    gate: float = 0.06
    patience: float = 0.8
    least: float = 1.5
    memory: float = 50.0

    def __post_init__(self) -> None:
        for name in ("rate", "smallest", "gate", "memory"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"tracking.{name}: expected a positive number, got {getattr(self, name)}")


@dataclass
class _Agent:
    """A track that is being followed: where it is, how it moves a frame, and where it was."""

    name: str
    at: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)
    unseen: int = 0
    seen: dict[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def expected(self) -> tuple[float, float]:
        return self.at[0] + self.velocity[0], self.at[1] + self.velocity[1]


class Tracker:
    """Puts boxes together to tracks, frame after frame; it knows nothing of pixels.

        tracker = Tracker(Tracking(), height=576)
        tracker.push([(103.0, 240.0)])          -> {"1": (103.0, 240.0)}, who is where

    Raises ConfigError if scipy is missing (the extra ``video``).
    """

    def __init__(self, tracking: Tracking, height: int) -> None:
        self.tracking, self.gate = tracking, tracking.gate * height
        self.assign = _assignment()
        self.frame, self.count = -1, 0
        self.here: list[_Agent] = []
        self.gone: list[_Agent] = []

    def push(self, places: list[tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Who is where, after one more frame with agents at these places ``(x, y)``."""
        self.frame += 1
        pairs = self._pairs(places)
        for number, agent in enumerate(self.here):
            self._move(agent, places[pairs[number]] if number in pairs else None)
        for number in sorted(set(range(len(places))) - set(pairs.values())):
            self.count += 1
            self.here.append(_Agent(str(self.count), places[number], seen={self.frame: places[number]}))
        limit = self.tracking.patience * self.tracking.rate
        self.gone += [agent for agent in self.here if agent.unseen > limit]
        self.here = [agent for agent in self.here if agent.unseen <= limit]
        return {agent.name: agent.at for agent in self.here if not agent.unseen}

    def _pairs(self, places: list[tuple[float, float]]) -> dict[int, int]:
        """The place of each agent that has one."""
        if not self.here or not places:
            return {}
        expected = torch.tensor([agent.expected for agent in self.here])
        apart = torch.cdist(expected, torch.tensor(places))
        # Beyond the gate all are as bad: no good pair is given up to make a bad one a little better.
        rows, columns = self.assign(apart.clamp(max=self.gate).numpy())
        return {int(a): int(b) for a, b in zip(rows, columns, strict=True) if apart[a, b] < self.gate}

    def _move(self, agent: _Agent, place: tuple[float, float] | None) -> None:
        if place is None:
            agent.unseen += 1
            agent.at = agent.expected
            return
        x, y = agent.expected
        # A fixed-gain filter: half of what was not expected is taken for movement, a fifth for a new speed.
        off = place[0] - x, place[1] - y
        agent.velocity = agent.velocity[0] + 0.2 * off[0], agent.velocity[1] + 0.2 * off[1]
        agent.at, agent.unseen = (x + 0.5 * off[0], y + 0.5 * off[1]), 0
        agent.seen[self.frame] = agent.at

    def tracks(self) -> dict[str, dict[int, tuple[float, float]]]:
        """Positions by agent and frame, of all who were seen long enough."""
        least = self.tracking.least * self.tracking.rate
        everyone = sorted([*self.gone, *self.here], key=lambda agent: int(agent.name))
        return {agent.name: agent.seen for agent in everyone if max(agent.seen) - min(agent.seen) >= least}


def track_film(path: str | Path, rate: float = 2.5, tracking: Tracking | None = None) -> Recording:
    """The tracks in a film, in pixels, x to the right and y down.

    rate      steps a second that are kept; ``tracking.rate`` has to be a multiple of it
    tracking  how

    Raises DataError if the film cannot be read or nothing moves in it, ConfigError if OpenCV, PyAV or scipy is
    missing (the extra ``video``).
    """
    how = tracking or Tracking(rate=rate * max(1, round(10 / rate)))
    every = round(how.rate / rate)
    if abs(every * rate - how.rate) > 1e-6 * how.rate:
        raise ConfigError(f"tracking.rate: expected a multiple of {rate} steps a second, got {how.rate}")
    tracker: Tracker | None = None
    for frame, found in boxes(path, how):
        tracker = tracker or Tracker(how, frame.shape[1])
        tracker.push([box.feet for box in found])
    agents = tracker.tracks() if tracker is not None else {}
    kept = _thinned(agents, every)
    if not kept:
        raise DataError(
            f"{path}: nothing was seen to move for {how.least:g} seconds; is the camera fixed, and are people at "
            f"least {how.smallest:.0%} of the picture high?"
        )
    return make_tracks(kept, str(path), every, fill=round(how.patience * how.rate / every) + 1)


def _thinned(
    agents: dict[str, dict[int, tuple[float, float]]], every: int
) -> dict[str, dict[int, tuple[float, float]]]:
    """Each agent at every so many frames; where it was hidden then, between the frames before and after."""
    found = {}
    for name, seen in agents.items():
        frames = sorted(seen)
        wanted = range(-(-frames[0] // every) * every, frames[-1] + 1, every)
        if len(wanted) > 1:
            found[name] = {frame: _between(seen, frames, frame) for frame in wanted}
    return found


def _between(seen: dict[int, tuple[float, float]], frames: list[int], frame: int) -> tuple[float, float]:
    if frame in seen:
        return seen[frame]
    before = max(f for f in frames if f < frame)
    after = min(f for f in frames if f > frame)
    share = (frame - before) / (after - before)
    (x0, y0), (x1, y1) = seen[before], seen[after]
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


def boxes(path: str | Path, tracking: Tracking | None = None) -> Iterator[tuple[Tensor, list[Box]]]:
    """Each frame ``(3, M, N)`` of a film with the boxes of what moves in it."""
    how, cv2 = tracking or Tracking(), _opencv()
    model = cv2.createBackgroundSubtractorMOG2(
        history=max(1, round(how.memory * how.rate)), varThreshold=30, detectShadows=True
    )
    for frame in _some(path, how):
        model.apply(_picture(frame))
    for frame in read_frames(path, how.rate):
        yield frame, _regions(cv2, model.apply(_picture(frame)), how)


def _some(path: str | Path, how: Tracking) -> Iterator[Tensor]:
    """A few frames far apart, in which nobody stands at the same place for long."""
    seconds = how.memory / SAMPLES
    frames = read_frames(path, 1 / seconds)
    return (frame for frame, _ in zip(frames, range(SAMPLES), strict=False))


def background(path: str | Path) -> Tensor:
    """The scene without those who pass: the median ``(3, M, N)`` uint8 of a few frames."""
    frames = list(_some(path, Tracking()))
    return torch.stack(frames).median(0).values


def _picture(frame: Tensor) -> Any:
    """``(3, M, N)`` as OpenCV has pictures, ``(M, N, 3)``."""
    return frame.permute(1, 2, 0).contiguous().numpy()


def _regions(cv2: Any, mask: Any, how: Tracking) -> list[Box]:
    """The boxes of connected foreground that are large enough; shadows (127) are background."""
    height = mask.shape[0]
    size = max(3, round(height * 0.01) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    upright = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, 2 * size + 1))
    solid = cv2.morphologyEx((mask == 255).astype("uint8"), cv2.MORPH_OPEN, cv2.getStructuringElement(0, (3, 3)))
    solid = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, upright)
    solid = cv2.dilate(solid, kernel)
    _, _, stats, _ = cv2.connectedComponentsWithStats(solid)
    smallest = how.smallest * height
    return [
        Box(*map(float, row[:4])) for row in stats[1:].tolist() if row[3] >= smallest and row[2] >= smallest / 4
    ]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("films are tracked with OpenCV; install it with: pip install 'recurra[video]'") from error
    return cv2


def _assignment() -> Any:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise ConfigError(
            "tracks are put together with scipy; install it with: pip install 'recurra[video]'"
        ) from error
    return linear_sum_assignment
