"""Pictures of a predictor of frames: what came beside what was predicted, errors by step, hidden maps as heat."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra import files
from recurra.data.films import contact_sheet, write_video
from recurra.tasks.frames_scores import NAMES, RULES
from recurra.tasks.frames_stream import as_bytes

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = [
    "Example",
    "draw_errors",
    "draw_example",
    "draw_film",
    "draw_maps",
    "draw_next",
    "draw_prediction",
    "framed",
]

SIDE = 256  # pixels of a film's longer side, about: small films are shown larger
EDGE = 4  # pixels around a frame: dark around known ones, bright around predicted ones
DARK, BRIGHT = 60, 255
GAIN = 4  # by which errors are shown
COLUMNS = 10
MAPS = 6  # that are shown


class Example(NamedTuple):
    """A clip with its prediction, all from 0 to 1: known ``(P, C, M, N)``, came and found ``(Q, C, M, N)``."""

    known: Tensor
    came: Tensor
    found: Tensor


def draw_example(example: Example, path: Path) -> None:
    """The known frames, what came, what was predicted and its error, below each other."""
    known, came, found = (as_bytes(frames) for frames in example)
    first, count = max(0, len(known) - len(came)), len(came)
    rows = {
        "known": known[first:],
        "came": came,
        "predicted": found,
        f"error x {GAIN}": _error(example.found, example.came),
    }
    longest = max(len(frames) for frames in rows.values())
    captions = [f"+{step}" if step <= count else "" for step in range(1, longest + 1)]
    contact_sheet(path, rows, captions, COLUMNS)


def draw_next(examples: Sequence[Example], path: Path) -> None:
    """The first frame ahead of several clips: what came, what was predicted, and errors beside those of copying."""
    known, came, found = (
        torch.stack([example[place][at] for example in examples]) for place, at in ((0, -1), (1, 0), (2, 0))
    )
    rows = {
        "came": as_bytes(came),
        "predicted": as_bytes(found),
        f"error x {GAIN}": _error(found, came),
        f"of a copy x {GAIN}": _error(known, came),
    }
    contact_sheet(path, rows, [f"clip {number}" for number in range(1, len(came) + 1)], COLUMNS)


def draw_prediction(known: Tensor, found: Tensor, path: Path) -> None:
    """Frames uint8 that are known, and those predicted after them; a single one stands beside the others."""
    if len(found) == 1:
        last = known[1 - COLUMNS :]
        contact_sheet(path, {"film": torch.cat([last, found])}, ["known"] * len(last) + ["predicted"])
        return
    contact_sheet(path, {"known": known[-len(found) :], "predicted": found}, most=COLUMNS)


def _error(found: Tensor, came: Tensor) -> Tensor:
    """How far each pixel is off, made brighter: black is right."""
    return as_bytes(GAIN * (found - came).abs().mean(1, keepdim=True))


def draw_film(example: Example, path: Path, rate: float) -> None:
    """What came beside what was predicted, after the known frames, as MP4 or GIF."""
    sides = [framed(example.known, example.came, DARK), framed(example.known, example.found, BRIGHT)]
    write_video(path, torch.cat(sides, 3), rate)


def framed(known: Tensor, found: Tensor, edge: int = BRIGHT) -> Tensor:
    """Frames from 0 to 1 one after the other as uint8, larger if they are small, with an edge of another brightness
    around those that were not known."""
    frames = as_bytes(torch.cat([known, found]))
    times = max(1, SIDE // max(frames.shape[2:]))
    large = frames.repeat_interleave(times, 2).repeat_interleave(times, 3)
    around = lambda part, value: pad(part, [EDGE] * 4, value=value)
    return torch.cat([around(large[: len(known)], DARK), around(large[len(known) :], edge)])


def draw_errors(measured: Mapping[str, float], path: Path) -> None:
    """Each score at each step ahead, of the network and of the rules, as a PNG."""
    count = sum(name.startswith("mse_") for name in measured)
    figure = Figure(figsize=(8, 5.2), dpi=110, layout="constrained")
    for axes, name in zip(figure.subplots(2, 2).flat, NAMES, strict=True):
        for who in ("", *RULES):
            values = [measured[f"{who}_{name}_{step}".strip("_")] for step in range(1, count + 1)]
            style: dict[str, Any] = {"linestyle": "--"} if who else {"marker": "."}
            axes.plot(range(1, count + 1), values, label=who or "network", **style)
        axes.set_title(name.upper() + (", dB" if name == "psnr" else ""), fontsize=9)
        axes.set_xlabel("steps ahead", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))


def draw_maps(frames: Tensor, maps: Tensor, path: Path) -> None:
    """Frames ``(T, C, M, N)`` from 0 to 1, and below each what the memory says: the maps ``(T, H, *places)`` that
    change most, blue below zero and red above."""
    moving = maps.float().var(0).mean((1, 2)).argsort(descending=True)[:MAPS].tolist()
    places = torch.linspace(0, len(frames) - 1, min(len(frames), COLUMNS)).round().long().tolist()
    tall, wide = frames.shape[2:]
    figure = Figure(
        figsize=(1 + 0.9 * len(places), 0.9 * tall / wide * (len(moving) + 1)), dpi=110, layout="constrained"
    )
    grid = figure.subplots(len(moving) + 1, len(places), squeeze=False)
    shown = as_bytes(frames)
    for column, place in enumerate(places):
        frame = shown[place, 0] if len(shown[place]) == 1 else shown[place].permute(1, 2, 0)
        grid[0][column].imshow(frame.numpy(), cmap="gray", vmin=0, vmax=255)
        for row, number in enumerate(moving, 1):
            most = float(maps[:, number].abs().max()) or 1.0
            grid[row][column].imshow(maps[place, number].float().numpy(), cmap="RdBu_r", vmin=-most, vmax=most)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for row, name in enumerate(["frame", *(f"map {number}" for number in moving)]):
        grid[row][0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))
