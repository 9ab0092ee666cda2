"""Every layer and every composition keeps every law of the protocol."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh

from recurra import (
    GRU,
    LAYERS,
    LRU,
    LSTM,
    RGLRU,
    RNN,
    SRU,
    Bidirectional,
    CausalConvolution,
    ConvLSTM,
    Dropout,
    Gated,
    LayerNormConvGRU,
    LayerNormLSTM,
    MinGRU,
    PeepholeLSTM,
    PredRNN,
    Readout,
    Recurrent,
    RecurrentDropout,
    Residual,
    Stack,
    State,
    Stepwise,
    VariationalDropout,
    Zoneout,
    use_backend,
)
from recurra.errors import ConfigError, ContractError
from recurra.testing import LAWS, check_layer, examine_layer


class MinimalGatedUnit(Gated):
    """A user's cell (after Zhou et al. 2016, the gate applied after the product).

    f  = sigmoid(W_f x + U_f h + b_f)
    h' = (1 - f) * h + f * tanh(W_n x + b_n + f * (U_n h + c_n))
    """

    gates = ("f", "n")
    vectors = ("c_n",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = sigmoid(x.f + u.f)
        return State(h=(1 - f) * s.h + f * tanh(x.n + f * (u.n + p.c_n)))


class Memory(Stepwise):
    """A user's layer with a matrix for a state, and a clock: S' = a S + v k^T, y = S' q."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.input_shape = self.output_shape = (size,)
        self.size, self.project, self.decay = size, nn.Linear(size, 3 * size), nn.Parameter(torch.zeros(size))

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = self.decay if like is None else like
        clock = torch.zeros(batch, dtype=torch.int64, device=like.device)
        return State(S=like.new_zeros(batch, self.size, self.size), inner=(clock,))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        q, k, v = self.project(x).chunk(3, -1)
        S = sigmoid(self.decay)[:, None] * state.S + v[:, :, None] * k[:, None, :]
        return (S @ q[:, :, None]).squeeze(-1), State(S=S, inner=(state.inner[0] + 1,))


class Frames(Stepwise):
    """A user's layer over frames (C, height, width): h' = tanh(conv(x) + conv(h))."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.input_shape, self.output_shape = (channels, height, width), (2, height, width)
        self.see, self.recall = nn.Conv2d(channels, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return State(h=(self.see.weight if like is None else like).new_zeros(batch, *self.output_shape))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        h = tanh(self.see(x) + self.recall(state.h))
        return h, State(h=h)


CELLS: dict[str, Callable[[], Recurrent]] = {
    **{name: lambda kind=kind: kind(3, 5) for name, kind in LAYERS.items()},
    "rnn relu": lambda: RNN(3, 5, activation="relu"),
    "one unit": lambda: LSTM(1, 1),
    "rnn learned": lambda: RNN(3, 5, initial="learned"),
    "lstm learned": lambda: LSTM(3, 5, initial="learned"),
    "gru learned": lambda: GRU(3, 5, initial="learned"),
}

# Small maps, for the examination takes hundreds of frames; normalised ones not so small that they are all the same.
MAPS: dict[str, Callable[[], Recurrent]] = {
    "conv_lstm": lambda: ConvLSTM(1, 2, 3, (2, 1)),
    "layer_norm_conv_gru": lambda: LayerNormConvGRU(1, 2, 3, (3, 2)),
    "predrnn": lambda: PredRNN(1, 2, 3, (2, 1), layers=2),
}

COMPOSITIONS: dict[str, Callable[[], Recurrent]] = {
    "a user's cell": lambda: MinimalGatedUnit(3, 5),
    "a user's stepwise layer": lambda: Memory(3),
    "a user's layer of frames": lambda: Frames(1, 3, 2),
    "readout": lambda: Readout(3, 5),
    "the textbook's pair": lambda: Stack(RNN(3, 5), Readout(5, 2)),
    "stack of none": lambda: Stack(),
    "stack of mixed kinds": lambda: Stack(LSTM(3, 5), GRU(5, 4), RNN(4, 2)),
    "deep": lambda: Stack(*(RNN(3, 3) for _ in range(5))),
    "stack in a stack": lambda: Stack(Stack(GRU(3, 4)), Stack(Dropout(0.3), RNN(4, 2))),
    "residual": lambda: Residual(GRU(3, 3)),
    "residual of a stack": lambda: Residual(Stack(LSTM(3, 5), Readout(5, 3))),
    "residual readout": lambda: Residual(Readout(3, 3)),
    "bidirectional concat": lambda: Bidirectional(LSTM(3, 5), LSTM(3, 4)),
    "bidirectional sum": lambda: Bidirectional(GRU(3, 4), GRU(3, 4), merge="sum"),
    "bidirectional mean": lambda: Bidirectional(RNN(3, 4), GRU(3, 4, initial="learned"), merge="mean"),
    "bidirectional of stacks": lambda: Bidirectional(
        Stack(RNN(3, 4), Dropout(0.3), Readout(4, 2)), Stack(GRU(3, 4), Zoneout(RNN(4, 2), 0.3))
    ),
    "stack of bidirectionals": lambda: Stack(
        Bidirectional(RNN(3, 2), RNN(3, 2)), Dropout(0.3), Residual(Bidirectional(RNN(4, 4), RNN(4, 4), "sum"))
    ),
    "causal convolution": lambda: CausalConvolution(3),
    "scans": lambda: Stack(
        CausalConvolution(3, 2), MinGRU(3, 4), Residual(LRU(4, 4)), Dropout(0.3), SRU(4, 2, initial="learned")
    ),
    "bidirectional scans": lambda: Bidirectional(RGLRU(3, 4, initial="learned"), MinGRU(3, 2)),
    "dropout": lambda: Dropout(0.4),
    "dropout of nothing": lambda: Dropout(0.0),
    "variational dropout": lambda: VariationalDropout(0.4),
    "recurrent dropout": lambda: RecurrentDropout(LSTM(3, 5), 0.4),
    "recurrent dropout of a normalised cell": lambda: RecurrentDropout(LayerNormLSTM(3, 5), 0.4),
    "recurrent dropout, learned": lambda: RecurrentDropout(GRU(3, 5, initial="learned"), 0.4),
    "zoneout": lambda: Zoneout(GRU(3, 5), 0.3),
    "zoneout, a rate for each state": lambda: Zoneout(PeepholeLSTM(3, 5), {"h": 0.1, "c": 0.5}),
    "zoneout, learned": lambda: Zoneout(RNN(3, 5, initial="learned"), 0.3),
    "everything": lambda: Stack(
        LSTM(3, 4),
        Dropout(0.3),
        Zoneout(GRU(4, 4), 0.2),
        Residual(RNN(4, 4, initial="learned")),
        VariationalDropout(0.3),
        RecurrentDropout(RNN(4, 3), 0.3),
        Readout(3, 2),
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell_keeps_every_law(name: str) -> None:
    report = check_layer(CELLS[name])
    assert set(report.kept) == set(LAWS) - {"refused step"}


@pytest.mark.parametrize("name", MAPS)
def test_layer_over_maps_keeps_every_law(name: str) -> None:
    report = check_layer(MAPS[name])
    assert set(report.kept) == set(LAWS) - {"refused step"}


def forms() -> list[str]:
    """Layers that the reference loop treats differently: of cells that differ in their equation alone, one."""
    found: dict[Any, str] = {}
    for name, kind in LAYERS.items():
        form: Any = name
        if issubclass(kind, Gated):
            parts = (kind.without_U, kind.without_W, kind.late, kind.vectors, kind.normalized)
            form = (len(kind.state), *map(bool, parts))
        found.setdefault(form, name)
    return list(found.values())


@pytest.mark.parametrize("name", [*forms(), "rnn relu"])
def test_reference_loop_keeps_every_law(name: str) -> None:
    with use_backend("reference"):
        check_layer(CELLS[name])


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_composition_keeps_every_law(name: str) -> None:
    report = check_layer(COMPOSITIONS[name])
    causal = {"steps", "chunks", "training", "no future"} <= set(report.kept)
    assert causal != ("refused step" in report.kept)


@pytest.mark.parametrize(
    "make", [lambda: Dropout(0.4), lambda: Stack(VariationalDropout(0.4), Residual(Dropout(0.2)))]
)
def test_frames_pass_through_dropout(make: Callable[[], Recurrent]) -> None:
    check_layer(make, features=(2, 3))


def test_only_some_laws() -> None:
    assert check_layer(CELLS["gru"], only="steps").kept == ("steps",)
    assert check_layer(CELLS["gru"], only=["chunks", "sizes"]).kept == ("chunks", "sizes")
    for unknown in ("stepz", []):
        with pytest.raises(ConfigError, match="expected laws from"):
            check_layer(CELLS["gru"], only=unknown)


def test_the_report_is_a_table_of_laws() -> None:
    lines = str(check_layer(CELLS["gru"])).splitlines()
    assert lines[0].startswith("GRU: 20 laws kept, 0 broken, 1 not applicable")
    assert len(lines) == 2 + len(LAWS)
    table = dict(zip(LAWS, lines[2:], strict=True))
    assert all(name in line for name, line in table.items())
    assert LAWS["padded row"].promise in table["padded row"]
    assert "does not apply: the layer is causal" in table["refused step"]


def test_the_report_of_a_broken_layer_says_what_was_found() -> None:
    class Ahead(Bidirectional):
        causal = True

    report = examine_layer(lambda: Ahead(RNN(2, 2), RNN(2, 2)), only=["no future", "strides"])
    assert report.broken == ("no future",)
    assert report.kept == ("strides",)
    assert "BROKEN    no future" in str(report)
    assert "y before the change: largest difference" in str(report)


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    check_layer(CELLS["rnn"], only=["initial state", "restored state"])
    assert torch.equal(torch.rand(3), want)


def test_a_layer_that_is_not_recurrent_is_refused() -> None:
    with pytest.raises(ContractError, match=r"expected make_layer\(\) to return a Recurrent, got Linear"):
        check_layer(lambda: nn.Linear(2, 3), only="steps")


def test_laws_run_under_no_grad_too() -> None:
    with torch.no_grad():
        check_layer(CELLS["rnn"], only=["finite differences", "chunks"])
