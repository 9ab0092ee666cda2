"""Matrix memories in chunks against their own definition, one step after another, and against an LSTM."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import recurra
from benchmarks.agreement import TOLERANCE
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times
from recurra import use_backend
from recurra.layers.memories import MEMORIES

__all__ = ["run"]

GRID = [(256, 4, 128), (1024, 4, 128), (4096, 4, 128)]  # T, B, H
CHUNKS = (16, 32, 64, 128)
CHUNK_SHAPE = (1024, 4, 128)
TOLERANCES = {"mlstm": 1e-4}  # gradients of its biases of keys cancel over time: both forms are 2e-5 from float64
SLOW = 1024  # the definition is measured up to this T: beyond, a call takes seconds
STEPS, CHUNKWISE, LSTM = "steps", "chunks", "LSTM"

ABOUT = """
Training of a layer with as many inputs as units, in two heads of 64 units. Steps is the definition, a loop in plain
PyTorch; chunks is what runs by default. The LSTM of as many units is ours, on its compiled kernel, for orientation:
its memory is H numbers, that of a matrix memory 64 H. The definition is measured up to T=1024 only. The second
table gives the time of the same training by the size of the chunk. mLSTM's sides may be 1e-4 apart, not 2e-5:
gradients of its biases of keys cancel over time, and both forms are that far from float64.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Two tables."""
    rows = [_row(name, shape, effort, say) for name in MEMORIES for shape in effort.shapes(*GRID)]
    sizes = [_sizes(name, effort.shapes(CHUNK_SHAPE)[0], effort, say) for name in MEMORIES]
    return Section("memories", "Matrix memories", ABOUT, [Table("", rows), Table("Size of the chunk", sizes)])


def _row(name: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    slow = shape[0] <= SLOW

    def values(times: Times) -> dict[str, Value]:
        found = {f"{side} ms": times.time(side) for side in ([STEPS] if slow else []) + [CHUNKWISE, LSTM]}
        if slow:
            found["steps / chunks"] = times.ratio(STEPS, CHUNKWISE, least(5))
        return {**found, "LSTM / chunks": times.ratio(LSTM, CHUNKWISE)}

    say(f"memories: {name} {shape_of(*shape)}")
    sides, pairs = _sides(name, shape, slow)
    return race(
        (MEMORIES[name].__name__, shape_of(*shape), ""),
        sides,
        values,
        effort,
        pairs,
        tolerance=TOLERANCES.get(name, TOLERANCE),
    )


def _sides(name: str, shape: tuple[int, int, int], slow: bool) -> tuple[dict[str, Side], list[tuple[str, str]]]:
    hidden = shape[2]
    layer, x = _layer(name, hidden), _input(shape)
    lstm = recurra.LSTM(hidden, hidden)
    sides: dict[str, Side] = {
        CHUNKWISE: Training(layer, lambda: layer(x)[0]),
        LSTM: Training(lstm, lambda: lstm(x)[0]),
    }
    if not slow:
        return sides, []
    sides[STEPS] = Training(layer, lambda: _by_steps(layer, x))
    return sides, [(CHUNKWISE, STEPS)]


def _by_steps(layer: Any, x: Tensor) -> Tensor:
    with use_backend("reference"):
        y: Tensor = layer(x)[0]
    return y


def _sizes(name: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    def values(times: Times) -> dict[str, Value]:
        return {f"{chunk} ms": times.time(str(chunk)) for chunk in CHUNKS}

    say(f"memories: chunks of {name}")
    x = _input(shape)
    sides: dict[str, Side] = {}
    for chunk in CHUNKS:
        layer = _layer(name, shape[2])
        layer.chunk = chunk
        sides[str(chunk)] = Training(layer, lambda layer=layer: layer(x)[0])
    return race(
        (MEMORIES[name].__name__, shape_of(*shape), ""),
        sides,
        values,
        effort,
        tolerance=TOLERANCES.get(name, TOLERANCE),
    )


def _layer(name: str, hidden: int) -> Any:
    torch.manual_seed(0)
    kind: Any = MEMORIES[name]
    return kind(hidden, hidden)


def _input(shape: tuple[int, int, int]) -> Tensor:
    time, batch, hidden = shape
    return torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))
