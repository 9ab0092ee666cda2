"""Tracks: where agents were over time, as people's paths on a street; files of lines ``frame id x y``.

780  1  8.46  3.59       frame, agent, position; between spaces, tabs or commas (ETH, UCY: metres)
1,2,640,210,53,120,1     or boxes: frame, agent, left, top, width, height (MOTChallenge: pixels), the feet are
                         where the agent stands
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recurra import files
from recurra.data.text import read_text
from recurra.errors import DataError

__all__ = ["Recording", "Track", "make_tracks", "parse_tracks", "read_tracks", "write_tracks"]

LEAP = 12.0  # times the usual step of a recording, which no agent takes: such a step joins two agents


class Track(NamedTuple):
    """Where one agent was, step after step without a gap.

    agent   its name; a second part of a broken track has ``#2`` behind it
    begin   the step of the recording at which it comes
    points  (T, 2) positions, in the units of the file
    """

    agent: str
    begin: int
    points: Tensor

    @property
    def end(self) -> int:
        """The step after its last one."""
        return self.begin + len(self.points)


@dataclass(frozen=True)
class Recording:
    """All tracks of one camera.

    where   the file
    first   the frame of step 0
    every   frames from one step to the next
    tracks  in the order in which they begin
    notes   what was mended on the way, for people
    """

    where: str
    first: int
    every: int
    tracks: tuple[Track, ...]
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps from the first position to the last."""
        return max(track.end for track in self.tracks)

    def frame(self, step: int) -> int:
        """The frame of a step."""
        return self.first + step * self.every

    def strides(self) -> Tensor:
        """How far agents come in a step ``(S,)``, of those steps in which they move."""
        lengths = torch.cat([track.points.diff(dim=0).norm(dim=-1) for track in self.tracks])
        return lengths[lengths > 0]


class _Row(NamedTuple):
    frame: int
    agent: str
    x: float
    y: float
    line: int


def read_tracks(path: str | Path, every: int = 0, fill: int = 2) -> Recording:
    """The tracks of a file.

    every  frames between two steps; 0: the commonest distance of an agent's frames. Others have to be multiples
    fill   gaps of up to so many steps are filled on a straight line; a longer one breaks the track in two

    Raises DataError with file and line for what is no position, and for two agents with one id in one frame.
    """
    return parse_tracks(read_text(path), str(path), every, fill)


def parse_tracks(text: str, where: str, every: int = 0, fill: int = 2) -> Recording:
    """The tracks in a text, as `read_tracks` reads them from a file."""
    rows = [_row(line, number, where) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    agents = _agents(rows, where)
    found = make_tracks(agents, where, every, fill)
    again = len(rows) - sum(map(len, agents.values()))
    return replace(found, notes=(*found.notes, f"{where}: lines that repeat another: {again}")) if again else found


def make_tracks(
    agents: dict[str, dict[int, tuple[float, float]]], where: str, every: int = 0, fill: int = 2
) -> Recording:
    """Tracks from positions by agent and frame; the rest as in `read_tracks`."""
    every = every or _commonest(agents.values())
    first = min(min(positions) for positions in agents.values())
    counts: Counter[str] = Counter()
    limit = LEAP * _usual(agents.values(), every)
    tracks: list[Track] = []
    for agent, positions in agents.items():
        off = next((frame for frame in sorted(positions) if (frame - first) % every), None)
        if off is not None:
            raise DataError(
                f"{where}: agent {agent} stands in frame {off}, which is not a multiple of {every} frames after "
                f"frame {first}; give the frames between two steps, as data.every"
            )
        tracks += _split(
            agent, {(frame - first) // every: at for frame, at in positions.items()}, fill, limit, counts
        )
    notes = [f"{where}: {what}: {count}" for what, count in sorted(counts.items())]
    return Recording(where, first, every, tuple(sorted(tracks, key=lambda track: track.begin)), tuple(notes))


def _row(line: str, number: int, where: str) -> _Row:
    words = line.replace(",", " ").split()
    try:
        values = [float(word) for word in (words[0], *words[2:6])]
        if len(words) not in (4, *range(6, 11)) or not all(map(math.isfinite, values)) or values[0] % 1:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{where}, line {number}: expected a whole frame, an agent, x and y (or left, top, width and height), "
            f"got {line.strip()[:60]!r}"
        ) from error
    frame, x, y = int(values[0]), values[1], values[2]
    if len(words) > 4:
        x, y = x + values[3] / 2, y + values[4]
    return _Row(frame, words[1].removesuffix(".0"), x, y, number)


def _agents(rows: list[_Row], where: str) -> dict[str, dict[int, tuple[float, float]]]:
    """Positions by agent and frame."""
    seen: dict[tuple[str, int], _Row] = {}
    agents: dict[str, dict[int, tuple[float, float]]] = {}
    for row in rows:
        other = seen.setdefault((row.agent, row.frame), row)
        if (other.x, other.y) != (row.x, row.y):
            raise DataError(
                f"{where}, lines {other.line} and {row.line}: two agents with one id: {row.agent!r} stands at "
                f"({other.x:g}, {other.y:g}) and ({row.x:g}, {row.y:g}) in frame {row.frame}; give each its own id"
            )
        agents.setdefault(row.agent, {})[row.frame] = (row.x, row.y)
    return agents


def _commonest(agents: Iterable[dict[int, tuple[float, float]]]) -> int:
    """The commonest distance of two frames of an agent; 1 if each stands in one frame only."""
    found = Counter(b - a for positions in agents for a, b in pairwise(sorted(positions)))
    return min(found, key=lambda distance: (-found[distance], distance)) if found else 1


def _usual(agents: Iterable[dict[int, tuple[float, float]]], every: int) -> float:
    """The median length of a step in which an agent moves; without limit if none does."""
    lengths = sorted(
        length
        for positions in agents
        for frame, at in positions.items()
        if frame + every in positions and (length := math.dist(at, positions[frame + every])) > 0
    )
    return lengths[len(lengths) // 2] if lengths else math.inf


def _split(
    agent: str, positions: dict[int, tuple[float, float]], fill: int, limit: float, counts: Counter[str]
) -> Iterator[Track]:
    """One track, or several where it is broken."""
    parts: list[list[int]] = []
    steps = sorted(positions)
    for before, step in zip([None, *steps], steps, strict=False):
        apart = 0 if before is None else step - before
        leaps = before is not None and math.dist(positions[before], positions[step]) > apart * limit
        if before is None or apart > fill + 1 or leaps:
            if before is not None:
                counts["leaps at which a track is broken" if leaps else "gaps at which a track is broken"] += 1
            parts.append([])
        elif apart > 1:
            counts["gaps filled on a straight line"] += 1
        parts[-1].append(step)
    for number, part in enumerate(parts, 1):
        yield Track(f"{agent}#{number}" if number > 1 else agent, part[0], _filled(part, positions))


def _filled(steps: list[int], positions: dict[int, tuple[float, float]]) -> Tensor:
    """``(T, 2)`` positions at every step from the first to the last."""
    known = torch.tensor([positions[step] for step in steps], dtype=torch.float64)
    times = torch.tensor(steps)
    wanted = torch.arange(steps[0], steps[-1] + 1)
    after = torch.searchsorted(times, wanted)
    before = (after - 1).clamp(min=0)
    share = (wanted - times[before]) / (times[after] - times[before]).clamp(min=1)
    return torch.lerp(known[before], known[after], share[:, None].double()).float()


def write_tracks(recording: Recording, path: str | Path) -> None:
    """Write lines ``frame id x y`` that `read_tracks` reads, in the order of the frames."""
    rows = sorted(
        (recording.frame(track.begin + i), number, track.agent, *point)
        for number, track in enumerate(recording.tracks)
        for i, point in enumerate(track.points.tolist())
    )
    files.write_text(Path(path), "".join(f"{frame}\t{agent}\t{x:.6g}\t{y:.6g}\n" for frame, _, agent, x, y in rows))
