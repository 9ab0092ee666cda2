"""Whole sequences without gradients against torch.nn, ONNX Runtime and JAX."""

from collections.abc import Callable

import torch

import recurra
from benchmarks.peers import peer, torch_layers
from benchmarks.peers.torch_layers import KINDS
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Target, Value, least
from benchmarks.steps import Inference, Side
from benchmarks.timing import Effort, Times

__all__ = ["run"]

SINGLE = [(1000, 1, 32), (1000, 1, 64), (1000, 1, 128), (1000, 1, 256)]  # T, B, H
BATCHES = [(100, 16, 64), (100, 32, 128)]

ABOUT = """
y of a whole sequence, in `torch.inference_mode()`. ONNX Runtime runs one LSTM, GRU or RNN node with as many
threads as torch. It, torch.nn and JAX get x time first, recurra batch first. A ratio above 1 means that recurra
is faster.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One row and batches."""
    tables = [
        Table(title, [_row(kind, shape, effort, say) for kind in KINDS for shape in effort.shapes(*grid)])
        for title, grid in (("One row", SINGLE), ("Batches", BATCHES))
    ]
    return Section("inference", "Inference of a whole sequence", ABOUT, tables)


def _row(kind: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    sides = _sides(kind, shape)

    def values(times: Times) -> dict[str, Value]:
        found = {f"{name} ms": times.time(name) for name in sides}
        for name in list(sides)[1:]:
            target = _target(kind, name) if shape[1] == 1 else None
            found[f"{name} / recurra"] = times.ratio(name, "recurra", target)
        return found

    say(f"inference: {kind} {shape_of(*shape)}")
    return race((kind, shape_of(*shape), ""), sides, values, effort)


def _target(kind: str, other: str) -> Target | None:
    if other == "ONNX Runtime":
        return least(1.5)
    return least(8) if (kind, other) == ("GRU", "torch.nn") else None


def _sides(kind: str, shape: tuple[int, int, int]) -> dict[str, Side]:
    time, batch, hidden = shape
    theirs = torch_layers.make(kind, hidden).eval()
    x = torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))
    ours, x_first = recurra.from_torch(theirs), torch_layers.time_first(x)
    sides: dict[str, Side] = {
        "recurra": Inference(lambda: ours(x)[0]),
        "torch.nn": Inference(lambda: theirs(x_first)[0], time_first=True),
    }
    onnx, jax = peer("onnxruntime"), peer("jax")
    if onnx is not None:
        sides["ONNX Runtime"] = onnx.Inference(theirs, x)
    if jax is not None:
        sides["JAX"] = jax.Inference(kind, ours, x)
    return sides
