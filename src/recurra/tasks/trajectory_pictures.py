"""Pictures of a predictor of paths: paths on the scene with the spread of futures, and errors step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from torch import Tensor

from recurra import files
from recurra.data.scenes import PathBatch
from recurra.data.tracker import background
from recurra.tasks.trajectory_network import Futures
from recurra.tasks.trajectory_scores import constant_velocity, linear_fit

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = ["Drawn", "draw_errors", "draw_scene"]

RULES = {"constant velocity": constant_velocity, "linear fit": linear_fit}
MARGIN = 1.0  # of the positions' units, or a twentieth of their spread if that is more


class Drawn(NamedTuple):
    """A scene: past ``(N, P, 2)``, the futures of its agents, what came ``(N, Q, 2)`` if known, and the film."""

    past: Tensor
    futures: Futures
    future: Tensor | None = None
    film: Path | None = None
    agents: tuple[str, ...] = ()


def draw_scene(scene: Drawn, path: str | Path) -> None:
    """Draw paths as a PNG: walked, expected, possible (the fainter, the less likely), and what came, dashed."""
    low, high = _bounds(scene)
    street = None if scene.film is None else background(scene.film).permute(1, 2, 0).numpy()
    extent = high - low if street is None else torch.tensor(street.shape[1::-1])
    figure = Figure(figsize=_size(extent), dpi=110, layout="constrained")
    axes = figure.subplots()
    if street is not None:
        axes.imshow(street, alpha=0.75)
    for number in range(len(scene.past)):
        _draw_agent(axes, scene, number)
    _named(axes, scene)
    axes.set_aspect("equal")
    if street is None:
        axes.set_xlim(float(low[0]), float(high[0]))
        axes.set_ylim(float(low[1]), float(high[1]))
        axes.grid(alpha=0.25)
    else:  # futures may lead out of the picture
        axes.set_xlim(-0.5, street.shape[1] - 0.5)
        axes.set_ylim(street.shape[0] - 0.5, -0.5)
        axes.axis("off")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _size(extent: Tensor) -> tuple[float, float]:
    """Inches, with sides as the scene has them, neither too long nor too flat."""
    share = float((extent[1] / extent[0]).clamp(0.4, 1.4))
    return 8.0, 8.0 * share + 0.7


def _bounds(scene: Drawn) -> tuple[Tensor, Tensor]:
    known = [scene.past.reshape(-1, 2), scene.futures.paths.reshape(-1, 2)]
    known += [] if scene.future is None else [scene.future.reshape(-1, 2)]
    points = torch.cat(known)
    points = points[~points.isnan().any(-1)]
    low, high = points.min(0).values, points.max(0).values
    margin = ((high - low) / 20).clamp(min=MARGIN)
    return low - margin, high + margin


def _draw_agent(axes: Any, scene: Drawn, number: int) -> None:
    colour = f"C{number % 10}"
    past = scene.past[number]
    past = past[~past.isnan().any(-1)]
    chances = scene.futures.logits[number].softmax(-1)
    strongest = float(chances.max())
    for k in reversed(range(len(chances))):
        path = torch.cat([past[-1:], scene.futures.paths[number, k]])
        strength = 0.1 + 0.5 * float(chances[k]) / strongest if k else 0.95
        axes.plot(*path.T.tolist(), color=colour, linewidth=1.2 if k else 2.0, alpha=strength)
        axes.plot(*path[-1].tolist(), "o", color=colour, markersize=2.5, alpha=strength)
    axes.plot(*past.T.tolist(), color="black" if scene.film is None else "white", linewidth=3.2, zorder=3)
    axes.plot(*past.T.tolist(), color=colour, linewidth=1.8, zorder=4)
    axes.plot(*past[-1].tolist(), "o", color=colour, markeredgecolor="white", markersize=6, zorder=5)
    if scene.future is not None and not scene.future[number].isnan().all():
        came = torch.cat([past[-1:], scene.future[number]])
        axes.plot(*came.T.tolist(), color="black", linewidth=1.1, linestyle=(0, (2, 1.5)), zorder=6)


def _named(axes: Any, scene: Drawn) -> None:
    """What the lines are, once for all agents."""
    axes.plot([], [], color="0.4", linewidth=2.4, label="walked, outlined")
    axes.plot([], [], color="0.4", linewidth=2.0, alpha=0.95, label="expected")
    if scene.futures.paths.shape[1] > 1:
        axes.plot([], [], color="0.4", linewidth=1.2, alpha=0.3, label="other futures, the fainter the less likely")
    if scene.future is not None:
        axes.plot([], [], color="black", linewidth=1.1, linestyle=(0, (2, 1.5)), label="what came")


def draw_errors(found: Sequence[tuple[PathBatch, Futures]], path: str | Path) -> None:
    """Draw the mean distance at each step as a PNG: of the network, and of the rules that learn nothing."""
    lines: dict[str, list[Tensor]] = {}
    for batch, futures in found:
        future, past, whole = batch.future[batch.whole], batch.past[batch.whole], batch.whole
        off = (futures.paths[whole] - future[:, None]).norm(dim=-1)
        lines.setdefault("expected path", []).append((futures.expected[whole] - future).norm(dim=-1))
        if off.shape[1] > 1:
            best = off[torch.arange(len(off)), off.mean(-1).argmin(1)]
            lines.setdefault(f"best of {off.shape[1]} futures", []).append(best)
        for name, rule in RULES.items():
            lines.setdefault(name, []).append((rule(past, future.shape[1]) - future).norm(dim=-1))
    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, parts in lines.items():
        mean = torch.cat(parts).mean(0).tolist()
        style: dict[str, Any] = {"linestyle": "--"} if name in RULES else {"marker": "."}
        axes.plot(range(1, len(mean) + 1), mean, label=name, **style)
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("mean distance, in the units of the file")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
