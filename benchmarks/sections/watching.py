"""Live recognition of actions: how long a frame takes, with the network of the recipe for drawn figures."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.results import Row, Section, Table, most
from benchmarks.timing import Effort, compare
from recurra import recipe
from recurra.data.figures import ACTIONS, RATE, figures
from recurra.data.films import write_video
from recurra.data.video import read_frames
from recurra.tasks.actions import ActionConfig, ActionNet, ActionRecognizer

__all__ = ["run"]

RECIPE = Path(__file__).parents[2] / "recipes" / "actions" / "figures.toml"
LIVE = 40.0  # milliseconds of a frame at 25 a second
CLOSE = 1e-4

ABOUT = """
Milliseconds on one core for one frame of a film, from the decoded frame to the probabilities of all actions, and
the same with decoding it from an MP4 file (H.264, 64 x 64). 25 frames a second leave 40 ms for each. The small
network is that of `recipes/actions/figures.toml`; the other one remembers 32 maps with a convolutional LSTM. Random
weights. Before the timing the stream must say what the whole film says.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table: a row for each network."""
    config: ActionConfig = recipe.read("actions", RECIPE).config
    maps = replace(config.model, layer="conv_lstm", hidden=32, bidirectional=False, members=1)
    rows, threads = [], torch.get_num_threads()
    film = next(figures("train", 1, frames=6 if effort.rounds <= 3 else 24)).frames
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            write_video(path, film, RATE)
            for name, model in {"small": config.model, "convolutional LSTM": maps}.items():
                say(f"watching: {name}")
                rows.append(_row(name, _recognizer(config, model), path, effort))
    finally:
        torch.set_num_threads(threads)
    return Section("watching", "Live recognition of actions", ABOUT, [Table("", rows)])


def _recognizer(config: ActionConfig, model: ActionNet) -> ActionRecognizer:
    torch.manual_seed(0)
    view = replace(config.view, rate=RATE, size=(64, 64), window=0, stride=0)
    task = ActionRecognizer(replace(config, model=model, view=view))
    task.labels = list(ACTIONS)
    task.trained = task.network().eval()
    return task


def _frames(task: ActionRecognizer, path: Path) -> list[Tensor]:
    rows, columns = task.config.view.size
    return list(read_frames(path, task.config.view.rate, (rows, columns), task.config.view.colours))


def _row(name: str, task: ActionRecognizer, path: Path, effort: Effort) -> Row:
    frames = _frames(task, path)
    whole, live = (torch.tensor(list(said.values())) for said in (_whole(task, frames), _watched(task, frames)))
    error = float((whole - live).abs().max())
    if error > CLOSE:
        return Row(name, "", note="not timed: the stream does not say what the whole says")
    sides = {
        "a frame": partial(_watched, task, frames),
        "with decoding": lambda: _watched(task, _frames(task, path)),
    }
    times = compare(sides, effort)
    values = {}
    for what in sides:
        value = times.time(what, "ms", most(LIVE) if name == "small" else None)
        values[f"{what} ms"] = replace(
            value, median=value.median / len(frames), low=value.low / len(frames), high=value.high / len(frames)
        )
    weights = sum(parameter.numel() for parameter in task.ready().parameters())
    return Row(name, f"{weights / 1e3:.0f} thousand weights", values, error=error)


def _whole(task: ActionRecognizer, frames: list[Tensor]) -> dict[str, float]:
    found: dict[str, float] = task.predict(torch.stack(frames))["probabilities"]
    return found


def _watched(task: ActionRecognizer, frames: list[Tensor]) -> dict[str, float]:
    """What is said after the last frame, pushed one by one."""
    stream = task.stream()
    for frame in frames:
        current = stream.push(frame)
    return current.probabilities
