"""Where a predictor's scenes come from, and how training changes them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from recurra.data.batches import RowBatches
from recurra.data.scenes import PathBatch, Scene, scene_batches, scenes, side_by_side
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.data.track_parts import SUFFIXES, read_recordings, recording_parts
from recurra.data.tracker import FILMS, track_film
from recurra.data.tracks import Recording, read_tracks
from recurra.errors import DataError
from recurra.tasks.trajectory_config import TrajectoryAugment, TrajectoryConfig, TrajectoryData

__all__ = ["PathReader", "augmented", "film_of", "learned_scenes", "training_batches"]


class PathReader:
    """Recordings, from files of tracks and from films, as the table [data] says."""

    def __init__(self, config: TrajectoryData) -> None:
        self.config = config

    def parts(self) -> Parts:
        """The recordings of the three parts."""
        path = film_of(place_of(self.config.path)) or place_of(self.config.path)
        return recording_parts(path, self.config.fold, self.config.split, self.recording)

    def recording(self, path: Path) -> Recording:
        """One file of tracks, or one film."""
        if path.suffix.lower() in FILMS:
            return track_film(path, self.config.rate)
        return read_tracks(path, self.config.every, self.config.fill)

    def scenes(self, source: str) -> list[Scene]:
        """All scenes of a file, a folder or a data set, as they are measured."""
        path = film_of(place_of(source)) or place_of(source)
        return self.measured(read_recordings(path, self.recording), source)

    def measured(self, recordings: Sequence[Recording], name: str) -> list[Scene]:
        """Scenes to measure on. Raises DataError if there is none."""
        return _cut(recordings, self.config, 1, self.config.company, name)

    def trained(self, recordings: Sequence[Recording]) -> list[Scene]:
        """Scenes to train on."""
        return _cut(recordings, self.config, self.config.stride, 1, "the training part")


def _cut(
    recordings: Sequence[Recording], config: TrajectoryData, stride: int, company: int, name: str
) -> list[Scene]:
    split = replace(config.windows, stride=stride, company=company)
    found = [scene for recording in recordings for scene in scenes(recording, split)]
    if not found:
        raise DataError(
            f"{name}: expected somebody who is there for {config.observed} + {config.future} steps on end, "
            "there is nobody; record longer, or give smaller data.observed and data.future"
        )
    return found


def film_of(path: Path) -> Path | None:
    """The film that this is, or the only one in this folder without tracks; None if there is none."""
    if path.suffix.lower() in FILMS:
        return path
    if not path.is_dir() or any(file.suffix in SUFFIXES for file in path.rglob("*")):
        return None
    films = [file for file in sorted(path.iterdir()) if file.suffix.lower() in FILMS]
    return films[0] if len(films) == 1 else None


def learned_scenes(found: Sequence[Scene], social: bool) -> list[Scene]:
    """What one row of training is: a whole scene; or without neighbours each whole agent of it alone."""
    if social:
        return list(found)
    return [
        Scene(scene.past[i : i + 1], scene.future[i : i + 1], scene.agents[i : i + 1], scene.frame, scene.where)
        for scene in found
        for i in scene.whole.nonzero()[:, 0].tolist()
    ]


def training_batches(found: Sequence[Scene], config: TrajectoryConfig, stride: float) -> RowBatches:
    """Shuffled batches of scenes, each changed a little in its own way."""
    batches = scene_batches(found, config.data.batch, shuffled=True)
    return replace(
        batches, collate=lambda rows, random: augmented(side_by_side(rows), config.augment, stride, random)
    )


def augmented(batch: PathBatch, config: TrajectoryAugment, stride: float, random: torch.Generator) -> PathBatch:
    """The batch with each scene mirrored or not, grown or shrunk; with noise, errors and late comers.

    The amount of noise is drawn for each agent, evenly from none to ``noise``: some files are traced by hand and
    some are smooth, and a network that has met both sees which it has before it.
    """
    agents, scenes_here = len(batch.past), int(batch.scene.max()) + 1
    normal = lambda *shape: torch.randn(*shape, generator=random)
    even = lambda *shape: torch.rand(*shape, generator=random)
    factor = torch.exp(config.size * normal(scenes_here))[:, None].repeat(1, 2)
    factor[:, 0] *= torch.where(even(scenes_here) < config.mirror, -1.0, 1.0)
    factor = factor[batch.scene][:, None]
    past, future = batch.past * factor, batch.future * factor
    past = past + config.noise * stride * even(agents, 1, 1) * normal(*past.shape)
    return batch._replace(past=_late(past, config, random), future=future, error=config.turn * normal(agents))


def _late(past: Tensor, config: TrajectoryAugment, random: torch.Generator) -> Tensor:
    """Past positions with the first ones hidden of some agents; two are left at least."""
    steps = past.shape[1]
    hidden = torch.randint(0, steps - 1, (len(past), 1), generator=random)
    hidden = hidden * (torch.rand(len(past), 1, generator=random) < config.shorten)
    return past.masked_fill((torch.arange(steps) < hidden)[..., None], torch.nan)
