"""One step at a time from Python: a stream beside torch's cell, torch's layer and ONNX Runtime."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import recurra
from benchmarks.agreement import Disagreement, agree
from benchmarks.peers import peer, torch_layers
from benchmarks.results import Row, Section, Table, Value, most
from benchmarks.timing import Effort, Times, compare
from recurra import Stream

__all__ = ["WAYS", "run"]

GRID = [("LSTM", 32), ("LSTM", 64), ("LSTM", 128), ("GRU", 64)]
STEPS = 7  # that the check compares

# How a time step can be given to a stream: from the stream and x (1, F), the call to time. It answers H numbers.
WAYS: dict[str, Callable[[Stream, Tensor], Callable[[], Any]]] = {
    "push(tensor)": lambda stream, x: partial(stream.push, x),
    "step(tensor)": lambda stream, x: partial(stream.step, x),
}

ABOUT = """
Microseconds of one call, one row, the state carried from call to call, in `torch.inference_mode()`. ONNX Runtime
has one thread and writes into memory that was bound before, its quickest way. The torch cell is LSTMCell or
GRUCell, the torch layer nn.LSTM or nn.GRU with one time step.
"""

Push = Callable[[Tensor], Any]


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    grid = dict.fromkeys((kind, min(hidden, effort.largest[2])) for kind, hidden in GRID)
    rows = [_row(kind, hidden, effort, say) for kind, hidden in grid]
    return Section("streaming", "One step of a stream", ABOUT, [Table("", rows)])


def _row(kind: str, hidden: int, effort: Effort, say: Callable[[str], None]) -> Row:
    say(f"streaming: {kind} H{hidden}")
    layer = torch_layers.make(kind, hidden).eval()
    x = torch.randn(1, hidden, generator=torch.Generator().manual_seed(1))
    sides = {**_ours(layer, x), **_theirs(layer, x)}
    with torch.inference_mode():
        answers = {name: _answers(side) for name, side in sides.items()}
        try:
            error = max(agree(answers["push(tensor)"], answer) for answer in answers.values())
        except Disagreement as disagreement:
            return Row(kind, f"B1 H{hidden}", note=f"not timed: {disagreement}")
        times = compare(sides, effort)
    return Row(kind, f"B1 H{hidden}", _values(times, list(sides), kind, hidden), error=error)


def _values(times: Times, names: list[str], kind: str, hidden: int) -> dict[str, Value]:
    claimed = kind == "LSTM" and hidden == 64
    found = {f"{name} us": times.time(name, "us", most(3) if claimed and name in WAYS else None) for name in names}
    for name in names:
        if name not in WAYS:
            found[f"{name} / push"] = times.ratio(name, "push(tensor)")
    return found


def _answers(side: Callable[[], Any]) -> dict[str, Tensor]:
    """The first steps, each copied, for some sides write into the same memory again."""
    return {str(step): torch.as_tensor(side()).clone().flatten() for step in range(STEPS)}


def _ours(layer: nn.RNNBase, x: Tensor) -> dict[str, Callable[[], Any]]:
    return {name: way(Stream(recurra.from_torch(layer)), x) for name, way in WAYS.items()}


def _theirs(layer: nn.RNNBase, x: Tensor) -> dict[str, Callable[[], Any]]:
    sides = {"torch cell": _cell(layer, x), "torch layer": _layer(layer, x)}
    onnx = peer("onnxruntime")
    if onnx is not None:
        sides["ONNX Runtime"] = partial(onnx.Step(layer, 1).push, x.numpy())
    return sides


def _cell(layer: nn.RNNBase, x: Tensor) -> Callable[[], Tensor]:
    cell, state = torch_layers.own_cell(layer).eval(), None

    def push() -> Tensor:
        nonlocal state
        state = cell(x, state)
        return state[0] if isinstance(state, tuple) else state

    return push


def _layer(layer: nn.RNNBase, x: Tensor) -> Callable[[], Tensor]:
    state, x = None, x[None]

    def push() -> Tensor:
        nonlocal state
        y, state = layer(x, state)
        return y

    return push
