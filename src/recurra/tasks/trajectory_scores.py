"""How far predicted paths are from those that were gone, beside two rules that learn nothing.

ADE   mean distance over all steps              FDE   distance of the last step, of the expected path
min   the least over all futures, for ADE and FDE each for itself (Gupta et al. 2018)
miss  share of agents whose nearest last position is farther off than ``score.miss``

constant velocity   everybody goes on as in the last observed step (Schoeller et al. 2020)
linear fit          a straight line through all observed positions, least squares over time
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.data.scenes import PathBatch
from recurra.heads.social_pooling import neighbours
from recurra.tasks.trajectory_config import TrajectoryScore
from recurra.tasks.trajectory_network import Futures

__all__ = ["Scores", "constant_velocity", "linear_fit", "scores", "summary"]


class Scores(NamedTuple):
    """Sums over the whole agents of one batch, and their number."""

    sums: dict[str, float]
    agents: int


def constant_velocity(past: Tensor, future: int) -> Tensor:
    """``(A, Q, 2)``: the last observed step again and again; who has just come stands still."""
    step = (past[:, -1] - past[:, -2]).nan_to_num(0)
    return past[:, -1:] + step[:, None] * torch.arange(1, future + 1, device=past.device)[:, None]


def linear_fit(past: Tensor, future: int) -> Tensor:
    """``(A, Q, 2)``: a straight line through the observed positions ``(A, P, 2)``; NaN are left out."""
    here = (~past.isnan().any(-1)).to(past)
    times = torch.arange(past.shape[1], device=past.device, dtype=past.dtype) - (past.shape[1] - 1)
    at, count = past.nan_to_num(0), here.sum(1)
    middle = (here * times).sum(1) / count
    centred = here * (times - middle[:, None])
    mean = at.sum(1) / count[:, None]
    slope = torch.einsum("ap,apc->ac", centred, at) / centred.square().sum(1).clamp(min=1e-9)[:, None]
    ahead = torch.arange(1, future + 1, device=past.device, dtype=past.dtype)
    return mean[:, None] + slope[:, None] * (ahead - middle[:, None])[..., None]


def scores(found: Futures, batch: PathBatch, score: TrajectoryScore) -> Scores:
    """The sums of one batch: `found` for all its agents, measured on those who are whole."""
    whole, steps = batch.whole, batch.future.shape[1]
    future = batch.future[whole]
    expected = found.expected
    sums = _off("", expected[whole], future)
    if found.paths.shape[1] > 1:
        off = (found.paths[whole] - future[:, None]).norm(dim=-1)
        sums["min_ade"] = float(off.mean(-1).min(1).values.double().sum())
        sums["min_fde"] = float(off[..., -1].min(1).values.double().sum())
    last = (found.paths[whole, :, -1] - future[:, None, -1]).norm(dim=-1).min(1).values
    sums["miss_rate"] = float((last > score.miss).sum())
    sums["collision_rate"] = float(_collided(expected, batch.scene, score.collision)[whole].sum())
    sums |= _off("constant_velocity_", constant_velocity(batch.past[whole], steps), future)
    sums |= _off("linear_", linear_fit(batch.past[whole], steps), future)
    return Scores(sums, int(whole.sum()))


def _off(name: str, paths: Tensor, future: Tensor) -> dict[str, float]:
    off = (paths - future).norm(dim=-1).double()
    return {f"{name}ade": float(off.mean(-1).sum()), f"{name}fde": float(off[:, -1].sum())}


def _collided(paths: Tensor, scene: Tensor, distance: float) -> Tensor:
    """``(A,)`` booleans: who comes too near to a neighbour of its scene at one step."""
    pairs = neighbours(scene)
    near = ((paths[pairs.of] - paths[pairs.who]).norm(dim=-1) < distance).any(-1)
    return torch.zeros(len(paths), dtype=torch.bool, device=paths.device).index_put((pairs.of[near],), near[near])


def summary(found: Iterable[Scores], futures: int) -> dict[str, float]:
    """The means over all agents; the watched one first: the best of all futures, or the only one."""
    parts = list(found)
    count = max(1, sum(part.agents for part in parts))
    names = list(parts[0].sums) if parts else []
    means = {name: sum(part.sums[name] for part in parts) / count for name in names}
    first = ("min_ade", "min_fde") if futures > 1 else ("ade", "fde")
    return {name: means[name] for name in (*first, *(n for n in means if n not in first))}
