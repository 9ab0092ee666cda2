"""Cells beside the built-in one with as many gates, and beside the loop over torch's cells that they replace."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import recurra
from benchmarks.cells import LeakyRNN, MomentumGRU
from benchmarks.peers import torch_layers
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, most
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times
from recurra import Recurrent, use_backend

__all__ = ["CUSTOM", "run"]

GRID = [(1000, 1, 64), (100, 32, 128)]  # T, B, H


def _layer_norm(size: int) -> Recurrent:
    """With gains of 1 it is chaotic: a difference in the last bit grows to one of 1 over a thousand steps."""
    layer = recurra.LayerNormLSTM(size, size)
    nn.init.constant_(layer.gain_h, 0.5)
    return layer


# Name, built-in kind with as many gates, maker, and the most that it may cost beside the built-in one.
CUSTOM: list[tuple[str, str, Callable[[int], Recurrent], float]] = [
    ("PeepholeLSTM", "LSTM", lambda size: recurra.PeepholeLSTM(size, size), 1.2),
    ("RecurrentDropout(LSTM)", "LSTM", lambda size: recurra.RecurrentDropout(recurra.LSTM(size, size)), 1.2),
    ("Zoneout(LSTM)", "LSTM", lambda size: recurra.Zoneout(recurra.LSTM(size, size)), 1.2),
    ("LayerNormLSTM", "LSTM", _layer_norm, 1.35),
    ("user's MomentumGRU", "GRU", lambda size: MomentumGRU(size, size), 1.2),
    ("user's LeakyRNN", "RNN", lambda size: LeakyRNN(size, size), 1.2),
]

ABOUT = """
Training. The built-in layer is recurra's LSTM, GRU or RNN with as many gates; the loop is Python over torch's
LSTMCell, GRUCell or RNNCell, which is the least that somebody pays who writes a cell of this kind in torch.
Dropout and zoneout are on, and draw new masks each time. Every cell was checked against its own definition, run
as a loop of plain PyTorch, with the same masks; the built-in layer against the loop over torch's cell. The
layer-normalised cell has gains of 0.5 on its recurrent product: with 1 it is chaotic, and no two orders of
summation agree after some hundred steps. The two cells of a user are in
[benchmarks/cells.py](../../benchmarks/cells.py).
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    rows = [_row(custom, shape, effort, say) for shape in effort.shapes(*GRID) for custom in CUSTOM]
    return Section("custom", "Cells of one's own", ABOUT, [Table("", rows)])


def _row(
    custom: tuple[str, str, Callable[[int], Recurrent], float],
    shape: tuple[int, int, int],
    effort: Effort,
    say: Callable[[str], None],
) -> Row:
    name, kind, make, limit = custom
    time, batch, hidden = shape
    x = torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))
    layer = make(hidden)
    sides: dict[str, Side] = {"cell": _cell(layer, x), **_built_in(kind, x)}
    oracles = {"definition": _definition(layer, x)}

    def values(times: Times) -> dict[str, Value]:
        return {
            "cell ms": times.time("cell"),
            "built-in ms": times.time("built-in"),
            "loop ms": times.time("loop"),
            "cell / built-in": times.ratio("cell", "built-in", most(limit)),
            "loop / cell": times.ratio("loop", "cell"),
        }

    say(f"custom: {name} {shape_of(*shape)}")
    pairs = [("cell", "definition"), ("built-in", "loop")]
    return race((name, shape_of(*shape), ""), sides, values, effort, pairs, oracles)


class _Checked(Training):
    """A step whose result comes from a first state of its own: the masks of dropout are part of it."""

    def __init__(self, module: Recurrent, x: Tensor, run: Callable[[Any], Tensor]) -> None:
        super().__init__(module, lambda: run(None))
        torch.manual_seed(2)
        self.run, self.state = run, module.initial_state(len(x), x)

    def result(self) -> dict[str, Tensor]:
        return Training(self.module, lambda: self.run(self.state)).result()


def _cell(layer: Recurrent, x: Tensor) -> _Checked:
    return _Checked(layer, x, lambda state: layer(x, state)[0])


def _definition(layer: Any, x: Tensor) -> _Checked:
    def run(state: Any) -> Tensor:
        with use_backend("reference"):
            y: Tensor = layer(x, state)[0]
            return y

    return _Checked(layer, x, run)


def _built_in(kind: str, x: Tensor) -> dict[str, Side]:
    theirs = torch_layers.make(kind, x.shape[2])
    layer, cell, x_first = recurra.from_torch(theirs), torch_layers.own_cell(theirs), torch_layers.time_first(x)
    rename = torch_layers.names_of(kind, **{"": ""})
    return {
        "built-in": Training(layer, lambda: layer(x)[0]),
        "loop": Training(cell, lambda: torch_layers.loop(cell, x_first), rename, time_first=True),
    }
