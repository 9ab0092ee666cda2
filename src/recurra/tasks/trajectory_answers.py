"""Questions to a predictor of paths, and its answers as plain values."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.data.scenes import PathBatch
from recurra.data.track_parts import SUFFIXES
from recurra.data.tracker import FILMS
from recurra.data.tracks import Recording
from recurra.errors import DataError
from recurra.tasks.trajectory_data import PathReader
from recurra.tasks.trajectory_network import Futures

__all__ = ["Question", "answer", "question"]


class Question(NamedTuple):
    """Who is there, and where they were: past ``(N, P, 2)``, NaN before an agent came."""

    agents: tuple[str, ...]
    past: Tensor
    film: Path | None = None  # where they were seen
    frame: int = 0

    @property
    def batch(self) -> PathBatch:
        """The agents as one scene, without a future."""
        count, none = len(self.agents), torch.zeros(len(self.agents))
        return PathBatch(self.past, self.past[:, :0], none.long(), torch.zeros(count, dtype=torch.bool), none)


def question(raw: Any, reader: PathReader) -> Question:
    """What `predict` is given: positions by agent, the positions of one as text, or a file of tracks or a film."""
    observed = reader.config.observed
    if isinstance(raw, Mapping):
        if not raw:
            raise DataError("predict: expected positions by agent, got none")
        return _side_by_side(
            {str(agent): _points(points, f"agent {agent!r}") for agent, points in raw.items()}, observed
        )
    if not isinstance(raw, str | Path):
        raise DataError(
            "predict: expected positions by agent, a text such as '1.0,2.0 1.4,2.1' or a file, got "
            f"{type(raw).__name__}"
        )
    path = Path(raw)
    if isinstance(raw, Path) or path.suffix.lower() in (*SUFFIXES, *FILMS):
        if not path.is_file():
            raise DataError(f"predict: there is no file {raw}; expected tracks, a film, or positions as text")
        return _last(reader.recording(path), observed, path if path.suffix.lower() in FILMS else None)
    points = [word.split(",") for word in raw.split()]
    return _side_by_side({"1": _points(points, "a text such as '1.0,2.0 1.4,2.1'")}, observed)


def _points(points: Any, where: str) -> Tensor:
    try:
        found = [(float(x), float(y)) for x, y in points]
    except (TypeError, ValueError) as error:
        raise DataError(f"predict: expected x and y of each step, {where}, got {str(points)[:60]!r}") from error
    if not found or not all(math.isfinite(value) for point in found for value in point):
        raise DataError(f"predict: expected finite positions, one at least, {where}, got {str(points)[:60]!r}")
    return torch.tensor(found)


def _side_by_side(points: dict[str, Tensor], observed: int) -> Question:
    """All who are there now, of whom the last steps are known."""
    past = torch.full((len(points), observed, 2), torch.nan)
    for row, known in zip(past, points.values(), strict=True):
        known = known[-observed:]
        row[observed - len(known) :] = known
    return Question(tuple(points), past)


def _last(recording: Recording, observed: int, film: Path | None) -> Question:
    """Those who are there at the last step at which two or more steps of somebody are known."""
    known = [track for track in recording.tracks if len(track.points) > 1] or list(recording.tracks)
    now = max(track.end for track in known)
    points = {
        track.agent: track.points[: now - track.begin]
        for track in recording.tracks
        if track.begin < now <= track.end
    }
    return _side_by_side(points, observed)._replace(film=film, frame=recording.frame(now - 1))


def answer(agents: tuple[str, ...], found: Futures) -> dict[str, Any]:
    """Futures as plain values, the likeliest first.

    {"agents": {"1": {"expected": [[x, y], ...], "futures": [{"probability": 0.4, "path": ...}, ...]}}, "shown"}
    """
    chances = found.logits.softmax(-1)
    told: dict[str, dict[str, Any]] = {}
    lines = []
    for row, agent in enumerate(agents):
        order = chances[row].argsort(descending=True, stable=True).tolist()
        futures = [{"probability": float(chances[row, k]), "path": found.paths[row, k].tolist()} for k in order]
        told[agent] = {"expected": found.expected[row].tolist(), "futures": futures}
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in told[agent]["expected"])
        lines.append(f"{agent}: {path}" if len(agents) > 1 else path)
    return {"agents": told, "shown": "\t".join(lines)}
