"""Scenes: windows of tracks, some steps that are observed and some that are to be predicted.

                     observed         future
    agent 1     . . . . . . . .   . . . . . . . . . . . .     whole: trained on and measured
    agent 2               . . .   . . . . . . . . . . . .     came late: a neighbour of the others
    agent 3     . . . . . . . .   . . . .                     leaves: a neighbour, which nobody can know before

Who counts as a neighbour is decided by what was observed alone. Data sets that keep only agents who stay to the end
of the window tell the network who will stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.data.batches import RowBatches
from recurra.data.tracks import Recording
from recurra.errors import ConfigError

__all__ = ["PathBatch", "Scene", "Split", "scene_batches", "scenes", "side_by_side"]


class Scene(NamedTuple):
    """The agents who stand there at the last observed step of a window.

    past    (N, P, 2) positions in P observed steps, NaN before an agent came
    future  (N, Q, 2) positions in the Q steps after, NaN from where it left
    agents  names, N
    frame   of the last observed step
    where   the file
    """

    past: Tensor
    future: Tensor
    agents: tuple[str, ...]
    frame: int
    where: str

    @property
    def whole(self) -> Tensor:
        """(N,) booleans: who is there from the first step to the last."""
        return ~(self.past.isnan().any(-1).any(-1) | self.future.isnan().any(-1).any(-1))


@dataclass(frozen=True)
class Split:
    """How a recording is cut into scenes.

    observed  steps that are known
    future    steps that are to be predicted
    stride    steps from one window to the next
    company   whole agents that a window must have; 2 leaves out who walks alone, as some papers do
    """

    observed: int = 8
    future: int = 12
    stride: int = 1
    company: int = 1

    def __post_init__(self) -> None:
        if self.observed < 2 or min(self.future, self.stride, self.company) < 1:
            raise ConfigError(
                f"windows: expected 2 observed steps or more, and 1 or more of the others, got {self}"
            )


def scenes(recording: Recording, split: Split) -> list[Scene]:
    """All windows of a recording in which somebody is there from the first step to the last."""
    length, found = split.observed + split.future, []
    ends = sorted(recording.tracks, key=lambda track: track.end)
    begun = gone = 0
    here: dict[int, None] = {}
    order = {id(track): number for number, track in enumerate(recording.tracks)}
    for begin in range(0, recording.steps - length + 1, split.stride):
        now = begin + split.observed - 1
        while begun < len(recording.tracks) and recording.tracks[begun].begin <= now:
            here[begun] = None
            begun += 1
        while gone < len(ends) and ends[gone].end <= now:
            here.pop(order[id(ends[gone])], None)
            gone += 1
        tracks = [recording.tracks[number] for number in here]
        if sum(track.begin <= begin and track.end >= begin + length for track in tracks) >= split.company:
            found.append(_scene(recording, tracks, begin, split))
    return found


def _scene(recording: Recording, tracks: Sequence, begin: int, split: Split) -> Scene:
    points = torch.full((len(tracks), split.observed + split.future, 2), torch.nan)
    for row, track in zip(points, tracks, strict=True):
        first, end = max(track.begin, begin), min(track.end, begin + len(row))
        row[first - begin : end - begin] = track.points[first - track.begin : end - track.begin]
    past, future = points.split([split.observed, split.future], 1)
    # A gap of the future hides nothing of the past; what comes after it belongs to another track.
    frame = recording.frame(begin + split.observed - 1)
    return Scene(past, future, tuple(track.agent for track in tracks), frame, recording.where)


class PathBatch(NamedTuple):
    """The agents of several scenes, one after another.

    past    (A, P, 2), NaN before an agent came
    future  (A, Q, 2), NaN from where it left
    scene   (A,) the number of its scene in this batch
    whole   (A,) booleans: who is trained on and measured
    error   (A,) radians by which an agent errs about its direction; 0, but for training
    """

    past: Tensor
    future: Tensor
    scene: Tensor
    whole: Tensor
    error: Tensor


def side_by_side(rows: Sequence[Scene]) -> PathBatch:
    """A batch of whole scenes."""
    counts = torch.tensor([len(scene.agents) for scene in rows])
    return PathBatch(
        torch.cat([scene.past for scene in rows]),
        torch.cat([scene.future for scene in rows]),
        torch.arange(len(rows)).repeat_interleave(counts),
        torch.cat([scene.whole for scene in rows]),
        torch.zeros(int(counts.sum())),
    )


def scene_batches(found: Sequence[Scene], agents: int, shuffled: bool = False) -> RowBatches:
    """Batches of whole scenes with about so many agents."""
    counts = [len(scene.agents) for scene in found]
    return RowBatches(
        found, counts, lambda rows, random: side_by_side(rows), agents, "steps", shuffled, pool=8 if shuffled else 1
    )
