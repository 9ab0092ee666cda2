"""Each cell against its equations in numpy loops, then against torch.nn with the same weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Gated,
    LayerNormLSTM,
    PeepholeLSTM,
    Readout,
    Stack,
    State,
    tree,
    use_backend,
)
from recurra.errors import ConfigError

BACKENDS = ("reference", "torch")
Array = Any


def moved(layer: nn.Module) -> Any:
    """The layer in float64 with every parameter somewhere, none at 0 or 1."""
    torch.manual_seed(0)
    layer = layer.double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def parts(layer: Gated) -> dict[str, Any]:
    """W_r, U_r, b_r ... of each gate by name, and the vectors, as numpy arrays."""
    found = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    for name in ("W", "U", "b", "gain_x", "gain_h"):
        for gate, block in (
            zip(layer.gates, np.split(found[name], len(layer.gates)), strict=True) if name in found else ()
        ):
            found[f"{name}_{gate}"] = block
    return found


def rnn(p: dict[str, Array], x: Array, h: Array, f: Callable[[Array], Array] = np.tanh) -> tuple[Array]:
    return (f(p["W_h"] @ x + p["U_h"] @ h + p["b_h"]),)


def rnn_relu(p: dict[str, Array], x: Array, h: Array) -> tuple[Array]:
    return rnn(p, x, h, lambda v: np.maximum(v, 0))


def gru(p: dict[str, Array], x: Array, h: Array) -> tuple[Array]:
    r = sigmoid(p["W_r"] @ x + p["U_r"] @ h + p["b_r"])
    z = sigmoid(p["W_z"] @ x + p["U_z"] @ h + p["b_z"])
    n = np.tanh(p["W_n"] @ x + p["b_n"] + r * (p["U_n"] @ h + p["c_n"]))
    return ((1 - z) * n + z * h,)


def lstm(p: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = (p[f"W_{k}"] @ x + p[f"U_{k}"] @ h + p[f"b_{k}"] for k in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def peephole_lstm(p: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = (p[f"W_{k}"] @ x + p[f"U_{k}"] @ h + p[f"b_{k}"] for k in "ifgo")
    new = sigmoid(f + p["p_f"] * c) * c + sigmoid(i + p["p_i"] * c) * np.tanh(g)
    return sigmoid(o + p["p_o"] * new) * np.tanh(new), new


def standardized(v: Array) -> Array:
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5)


def layer_norm_lstm(p: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    def pre(k: str) -> Array:
        a, d = p[f"gain_x_{k}"], p[f"gain_h_{k}"]
        return a * standardized(p[f"W_{k}"] @ x) + d * standardized(p[f"U_{k}"] @ h) + p[f"b_{k}"]

    c = sigmoid(pre("f")) * c + sigmoid(pre("i")) * np.tanh(pre("g"))
    return sigmoid(pre("o")) * np.tanh(c), c


ORACLES: dict[str, tuple[Callable[[], Gated], Callable[..., tuple[Array, ...]]]] = {
    "rnn": (lambda: RNN(3, 5), rnn),
    "rnn relu": (lambda: RNN(3, 5, activation="relu"), rnn_relu),
    "gru": (lambda: GRU(3, 5), gru),
    "lstm": (lambda: LSTM(3, 5), lstm),
    "peephole_lstm": (lambda: PeepholeLSTM(3, 5), peephole_lstm),
    "layer_norm_lstm": (lambda: LayerNormLSTM(3, 5), layer_norm_lstm),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ORACLES)
def test_cell_is_its_equations(name: str, backend: str) -> None:
    make, equations = ORACLES[name]
    layer = moved(make())
    p, x = parts(layer), torch.randn(4, 7, 3, dtype=torch.float64)
    start = State(**{k: torch.randn(4, 5, dtype=torch.float64) for k in layer.state})
    lengths = [7, 0, 1, 4]
    with use_backend(backend):
        y, last = layer(x, start, lengths)
    for row, end in enumerate(lengths):
        state = tuple(leaf[row].numpy() for leaf in start)
        for t in range(end):
            state = equations(p, x[row, t].numpy(), *state)
            np.testing.assert_allclose(y[row, t].detach(), state[0], rtol=0, atol=1e-12)
        for leaf, want in zip(last, state, strict=True):
            np.testing.assert_allclose(leaf[row].detach(), want, rtol=0, atol=1e-12)


def test_readout_makes_the_textbook_pair() -> None:
    layer = moved(Stack(RNN(3, 5), Readout(5, 2)))
    p, x = parts(layer[0]), torch.randn(1, 6, 3, dtype=torch.float64)
    W_hy, b_y = (q.detach().numpy() for q in layer[1].parameters())
    y, _ = layer(x)
    h = np.zeros(5)
    for t in range(6):
        h = np.tanh(p["U_h"] @ h + p["W_h"] @ x[0, t].numpy() + p["b_h"])
        np.testing.assert_allclose(y[0, t].detach(), W_hy @ h + b_y, rtol=0, atol=1e-12)


TWINS: dict[str, tuple[Callable[[], nn.RNNBase], Callable[[], Gated]]] = {
    "rnn": (lambda: nn.RNN(3, 5, batch_first=True), lambda: RNN(3, 5)),
    "rnn relu": (lambda: nn.RNN(3, 5, batch_first=True, nonlinearity="relu"), lambda: RNN(3, 5, activation="relu")),
    "lstm": (lambda: nn.LSTM(3, 5, batch_first=True), lambda: LSTM(3, 5)),
    "gru": (lambda: nn.GRU(3, 5, batch_first=True), lambda: GRU(3, 5)),
}


def copy_weights(ours: Gated, theirs: nn.RNNBase, suffix: str = "l0") -> None:
    """Theirs has two biases everywhere; only the last gate of a GRU needs the second."""
    W, U, b, b2 = (
        getattr(theirs, f"{n}_{suffix}").detach() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    vectors = b2.clone()
    if isinstance(ours, GRU):
        b2 = torch.cat([b2[:10], torch.zeros(5, dtype=b2.dtype)])
        ours.c_n.data.copy_(vectors[10:])
    ours.W.data.copy_(W)
    ours.U.data.copy_(U)
    ours.b.data.copy_(b + b2)


def twins(name: str) -> tuple[nn.RNNBase, Gated]:
    theirs, ours = moved(TWINS[name][0]()), TWINS[name][1]().double()
    copy_weights(ours, theirs)
    return theirs, ours


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def gradients_agree(theirs: nn.RNNBase, ours: Gated) -> None:
    pairs = [(theirs.weight_ih_l0, ours.W), (theirs.weight_hh_l0, ours.U), (theirs.bias_ih_l0, ours.b)]
    pairs += [(theirs.bias_hh_l0, torch.cat([ours.b.grad[:10], ours.c_n.grad]))] if isinstance(ours, GRU) else []
    for want, got in pairs:
        got = got.grad if got.grad is not None else got
        torch.testing.assert_close(got, want.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TWINS)
def test_cell_agrees_with_torch(name: str, backend: str) -> None:
    theirs, ours = twins(name)
    x, z = (torch.randn(4, 9, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) for _ in range(2))
    x.requires_grad_(), z.requires_grad_()
    start = [torch.randn(4, 5, dtype=torch.float64) for _ in ours.state]
    batch_first = tuple(leaf[None] for leaf in start)
    want, want_last = theirs(x, batch_first if len(start) > 1 else batch_first[0])
    with use_backend(backend):
        got, last = ours(z, State(**dict(zip(ours.state, start, strict=True))))
    pairs = [(got, want), *zip(last, (leaf[0] for leaf in as_tuple(want_last)), strict=True)]
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    sum((a * (3 + i)).sin().sum() for i, (a, _) in enumerate(pairs)).backward()
    sum((b * (3 + i)).sin().sum() for i, (_, b) in enumerate(pairs)).backward()
    torch.testing.assert_close(z.grad, x.grad, rtol=1e-12, atol=1e-12)
    gradients_agree(theirs, ours)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TWINS)
def test_ragged_rows_agree_with_packed_sequences(name: str, backend: str) -> None:
    theirs, ours = twins(name)
    lengths = [1, 9, 4, 4, 7, 2]
    x = torch.randn(6, 9, 3, dtype=torch.float64)
    z = x.masked_fill(torch.arange(9)[None, :, None] >= torch.tensor(lengths)[:, None, None], float("nan"))
    x.requires_grad_(), z.requires_grad_()
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    want, want_last = theirs(packed)
    want, _ = nn.utils.rnn.pad_packed_sequence(want, batch_first=True)
    with use_backend(backend):
        got, last = ours(z, lengths=lengths)
    pairs = [(got, want), *zip(last, (leaf[0] for leaf in as_tuple(want_last)), strict=True)]
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    sum((a * (3 + i)).sin().sum() for i, (a, _) in enumerate(pairs)).backward()
    sum((b * (3 + i)).sin().sum() for i, (_, b) in enumerate(pairs)).backward()
    torch.testing.assert_close(z.grad, x.grad, rtol=1e-12, atol=1e-12)
    gradients_agree(theirs, ours)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_both_directions_agree_with_torch(kind: type[Gated]) -> None:
    theirs = moved(getattr(nn, kind.__name__)(3, 5, batch_first=True, bidirectional=True))
    ours = Bidirectional(kind(3, 5), kind(3, 5)).double()
    copy_weights(ours.ahead, theirs, "l0")
    copy_weights(ours.back, theirs, "l0_reverse")
    lengths, x = [7, 2, 5, 1], torch.randn(4, 7, 3, dtype=torch.float64)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    want, want_last = theirs(packed)
    want, _ = nn.utils.rnn.pad_packed_sequence(want, batch_first=True)
    y, (ahead, back) = ours(x, lengths=lengths)
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    for i, leaf in enumerate(as_tuple(want_last)):
        torch.testing.assert_close(torch.stack([ahead[i], back[i]]), leaf, rtol=1e-12, atol=1e-12)


def test_parameters_have_the_documented_shapes() -> None:
    shapes = {name: tuple(p.shape) for name, p in PeepholeLSTM(3, 5, initial="learned").named_parameters()}
    vectors = dict.fromkeys(["p_i", "p_f", "p_o", "initial.h", "initial.c"], (5,))
    assert shapes == {"W": (20, 3), "U": (20, 5), "b": (20,), **vectors}
    assert {name for name, _ in LayerNormLSTM(3, 5).named_parameters()} == {"W", "U", "b", "gain_x", "gain_h"}


def test_device_and_dtype_reach_every_parameter() -> None:
    for kind in (RNN, LSTM, GRU, PeepholeLSTM, LayerNormLSTM):
        layer = kind(3, 5, initial="learned", dtype=torch.float64)
        assert {p.dtype for p in layer.parameters()} == {torch.float64}
        meta = kind(3, 5, initial="learned", device="meta")
        assert {p.device.type for p in meta.parameters()} == {"meta"}
    assert Readout(3, 5, dtype=torch.float64)(torch.zeros(1, 1, 3, dtype=torch.float64))[0].dtype == torch.float64


def test_a_learned_first_state_starts_at_zero_and_learns() -> None:
    layer = LSTM(3, 5, initial="learned")
    assert not any(leaf.any() for leaf in layer.initial_state(2))
    layer(torch.randn(4, 6, 3), lengths=[6, 0, 1, 2])[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.initial.values())
    assert set(layer.state_dict()) == {"W", "U", "b", "initial.h", "initial.c"}


def test_every_row_begins_from_the_learned_state() -> None:
    layer = moved(GRU(3, 5, initial="learned"))
    assert torch.equal(layer.initial_state(3).h, layer.initial["h"].detach().expand(3, 5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RNN(3, 5, activation="sigmoid"), "RNN: expected activation='tanh' or 'relu', got 'sigmoid'"),
        (lambda: LSTM(0, 5), "LSTM: expected input_size to be a whole number of at least 1, got 0"),
        (lambda: GRU(3, 2.5), "GRU: expected hidden_size to be a whole number of at least 1, got 2.5"),
        (lambda: GRU(3, True), "got True"),
        (lambda: LSTM(3, 5, initial="ones"), "LSTM: expected initial='zeros' or 'learned', got 'ones'"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_cell_without_an_equation_says_so() -> None:
    class Empty(Gated):
        gates = ("h",)

    with pytest.raises(TypeError, match="Empty must define equation"):
        Empty(3, 5).step(torch.zeros(1, 3))


def test_layers_print_their_sizes() -> None:
    assert repr(GRU(3, 5)) == "GRU(3, 5)"
    assert repr(RNN(3, 5, "relu", initial="learned")) == (
        "RNN(\n  3, 5, initial='learned', activation='relu'\n"
        "  (initial): ParameterDict(  (h): Parameter containing: [torch.FloatTensor of size 5])\n)"
    )


def test_a_state_can_be_passed_on_between_layers_of_one_kind() -> None:
    """An encoder's last state begins a decoder."""
    x = torch.randn(2, 4, 3)
    _, memory = LSTM(3, 5)(x)
    decoder = LSTM(3, 5)
    y, _ = decoder(x, memory)
    assert not torch.allclose(y, decoder(x)[0])
    assert tree.names(memory) == ["h", "c"]
