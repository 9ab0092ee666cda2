"""Layers over maps: their equations as plain loops, the laws of those that other tests do not try, their errors."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import recurra
from recurra import (
    CONVOLUTIONAL,
    LSTM,
    Bidirectional,
    ConvGRU,
    ConvLSTM,
    LayerNormConvGRU,
    LayerNormConvLSTM,
    PeepholeConvLSTM,
    PredRNN,
    Recurrent,
    Residual,
    Stack,
    Stream,
)
from recurra.errors import ConfigError
from recurra.testing import check_layer

Array = Any

LAWS = ("sizes", "finite differences", "padded row", "chunks", "steps")  # tests/test_contract.py tries all of them
VARIANTS: dict[str, Callable[[], Recurrent]] = {
    "one dimension": lambda: ConvLSTM(2, 3, 5, (4,)),
    "a kernel that is wider than the map": lambda: ConvGRU(1, 2, (1, 5), (2, 3)),
    "peepholes": lambda: PeepholeConvLSTM(1, 2, 3, (2, 3)),
    "normalised": lambda: LayerNormConvLSTM(1, 2, 3, (2, 3)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_keep_the_laws(name: str) -> None:
    check_layer(VARIANTS[name], only=LAWS)


def test_they_stack_in_both_directions() -> None:
    both = lambda: Bidirectional(ConvLSTM(1, 2, 3, (2, 3)), ConvGRU(1, 1, 3, (2, 3)))
    check_layer(lambda: Stack(both(), Residual(ConvGRU(3, 3, 1, (2, 3)))), only="padded row")


# Equations, once more as loops over places in numpy.


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def convolved(x: Array, weight: Array) -> Array:
    """``x (C, M, N)`` by ``weight (G, C, K, L)``, zeros beyond the edges."""
    (_, rows, columns), (height, width) = x.shape, weight.shape[2:]
    wide = np.pad(x, ((0, 0), (height // 2, height // 2), (width // 2, width // 2)))
    found = np.zeros((len(weight), rows, columns))
    for i, j in product(range(rows), range(columns)):
        found[:, i, j] = (weight * wide[:, i : i + height, j : j + width]).sum((1, 2, 3))
    return found


def normal(v: Array, gain: Array) -> Array:
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5) * gain[:, None, None]


def gates_of(p: dict[str, Array], x: Array, h: Array, count: int) -> tuple[list[Array], list[Array]]:
    """W * x + b and U * h, gate by gate, normalised where the layer has gains."""
    xs, us = np.split(convolved(x, p["W"]), count), np.split(convolved(h, p["U"]), count)
    if "gain_x" in p:
        xs = [normal(v, gain) for v, gain in zip(xs, np.split(p["gain_x"], count), strict=True)]
        us = [normal(v, gain) for v, gain in zip(us, np.split(p["gain_h"], count), strict=True)]
    return [v + b[:, None, None] for v, b in zip(xs, np.split(p["b"], count), strict=True)], us


def conv_lstm(p: dict[str, Array], x: Array) -> Array:
    h = c = np.zeros((len(p["U"]) // 4, *x.shape[2:]))
    p_i, p_f, p_o = (p.get(name, 0) for name in ("p_i", "p_f", "p_o"))
    outputs = []
    for x_t in x:
        (x_i, x_f, x_g, x_o), (u_i, u_f, u_g, u_o) = gates_of(p, x_t, h, 4)
        new = sigmoid(x_f + u_f + p_f * c) * c + sigmoid(x_i + u_i + p_i * c) * np.tanh(x_g + u_g)
        h, c = sigmoid(x_o + u_o + p_o * new) * np.tanh(new), new
        outputs.append(h)
    return np.stack(outputs)


def conv_gru(p: dict[str, Array], x: Array) -> Array:
    h = np.zeros((len(p["U"]) // 3, *x.shape[2:]))
    outputs = []
    for x_t in x:
        (x_r, x_z, x_n), (u_r, u_z, u_n) = gates_of(p, x_t, h, 3)
        n = np.tanh(x_n + sigmoid(x_r + u_r) * (u_n + p["c_n"]))
        z = sigmoid(x_z + u_z)
        h = (1 - z) * n + z * h
        outputs.append(h)
    return np.stack(outputs)


def predrnn(p: dict[str, Array], x: Array) -> Array:
    """Wang et al. 2017, equations 3: each layer by itself, the memory m handed from one to the next."""
    names = ("W", "U", "V", "P", "R", "b")
    layers = [{name: p[f"layers.{i}.{name}"] for name in names} for i in range(2)]
    hidden = len(layers[0]["P"])
    m = np.zeros((hidden, *x.shape[2:]))
    memories, outputs = [(m, m), (m, m)], []
    for x_t in x:
        for i, q in enumerate(layers):
            h, c = memories[i]
            x_i, x_f, x_g, x_j, x_k, x_q, x_o = np.split(convolved(x_t, q["W"]) + q["b"][:, None, None], 7)
            u_i, u_f, u_g, u_o = np.split(convolved(h, q["U"]), 4)
            v_j, v_k, v_q = np.split(convolved(m, q["V"]), 3)
            c = sigmoid(x_f + u_f) * c + sigmoid(x_i + u_i) * np.tanh(x_g + u_g)
            m = sigmoid(x_k + v_k) * m + sigmoid(x_j + v_j) * np.tanh(x_q + v_q)
            both = np.concatenate([c, m])
            h = sigmoid(x_o + u_o + convolved(both, q["P"])) * np.tanh(convolved(both, q["R"]))
            memories[i], x_t = (h, c), h
        outputs.append(h)
    return np.stack(outputs)


EQUATIONS: dict[str, Callable[[dict[str, Array], Array], Array]] = {
    "conv_lstm": conv_lstm,
    "peephole_conv_lstm": conv_lstm,
    "layer_norm_conv_lstm": conv_lstm,
    "conv_gru": conv_gru,
    "layer_norm_conv_gru": conv_gru,
    "predrnn": predrnn,
}


def made(name: str, *sizes: Any, **more: Any) -> Any:
    kind: Any = CONVOLUTIONAL[name]
    torch.manual_seed(0)
    return kind(*sizes, **more)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_layer_is_its_equations(name: str) -> None:
    layer = made(name, 2, 3, (3, 5), (4, 3), **({"layers": 2} if name == "predrnn" else {})).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 4, 2, 4, 3, dtype=torch.float64)
    parameters = {key: value.detach().numpy() for key, value in layer.named_parameters()}
    want = EQUATIONS[name](parameters, x[0].numpy())
    np.testing.assert_allclose(layer(x)[0][0].detach().numpy(), want, atol=1e-12)


def test_one_place_is_the_lstm_of_vectors() -> None:
    maps, cell = made("conv_lstm", 3, 5, 3, (1, 1)), LSTM(3, 5)
    with torch.no_grad():
        cell.W.copy_(maps.W[:, :, 1, 1])
        cell.U.copy_(maps.U[:, :, 1, 1])
        cell.b.copy_(maps.b)
    x = torch.randn(2, 6, 3)
    torch.testing.assert_close(maps(x[..., None, None])[0][..., 0, 0], cell(x)[0], atol=1e-5, rtol=1e-5)


def test_one_dimension_is_a_picture_of_one_row() -> None:
    line, picture = made("peephole_conv_lstm", 2, 3, 3, (5,)), made("peephole_conv_lstm", 2, 3, (1, 3), (1, 5))
    picture.load_state_dict({k: v.view_as(picture.get_parameter(k)) for k, v in line.state_dict().items()})
    x = torch.randn(2, 4, 2, 5)
    torch.testing.assert_close(line(x)[0], picture(x.unsqueeze(3))[0].squeeze(3))


def test_what_is_seen_moves_with_the_picture() -> None:
    layer, x = made("conv_lstm", 1, 4, 3, (8, 9)), torch.zeros(1, 5, 1, 8, 9)
    x[:, :, :, 3, 3] = 1
    y, moved = layer(x)[0], layer(x.roll(1, -1))[0]
    torch.testing.assert_close(y[:, :2, :, 1:6, 1:6], moved[:, :2, :, 1:6, 2:7])
    assert not torch.allclose(y, moved)


# What they are made of.


def test_parameters_begin_as_they_say() -> None:
    layer = made("conv_lstm", 2, 6, 3, (4, 4))
    b = dict(zip(layer.gates, layer.b.detach().split(6), strict=True))
    assert {name: value.unique().tolist() for name, value in b.items()} == {"i": [0], "f": [1], "g": [0], "o": [0]}
    for gate in layer.U.detach().split(6):
        flat = gate.flatten(1)
        torch.testing.assert_close(flat @ flat.T, torch.eye(6), atol=1e-5, rtol=0)
    assert made("peephole_conv_lstm", 2, 6, 3, (4, 5)).p_o.shape == (6, 4, 5)
    assert made("conv_gru", 2, 6, 3, (4, 5)).c_n.shape == (6, 1, 1)


def test_weights_fit_maps_of_any_size() -> None:
    small, large = made("conv_gru", 1, 2, 3, (4, 4)), made("conv_gru", 1, 2, 3, (6, 9))
    large.load_state_dict(small.state_dict())
    x = torch.randn(1, 1, 1, 4, 4)
    y = large(torch.nn.functional.pad(x, (0, 5, 0, 2)))[0]
    torch.testing.assert_close(y[..., :3, :3], small(x)[0][..., :3, :3])


def test_trace_shows_what_the_equation_names() -> None:
    layer = made("conv_gru", 1, 2, 3, (3, 4))
    x, lengths = torch.randn(2, 5, 1, 3, 4), [5, 2]
    seen = layer.trace(x, lengths=lengths)
    assert {name: tuple(value.shape) for name, value in seen.items()} == dict.fromkeys("rznh", (2, 5, 2, 3, 4))
    torch.testing.assert_close(seen["h"], layer(x, lengths=lengths)[0])
    assert layer.trace(x[:, :0]) == {}


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_stream_is_the_whole(name: str) -> None:
    layer = made(name, 2, 3, 3, (4, 3), **({"layers": 2} if name == "predrnn" else {}))
    x = torch.randn(2, 5, 2, 4, 3)
    with torch.no_grad():
        want, _ = layer(x)
    stream = Stream(layer, batch=2)
    pushed = torch.stack([stream.push(frame) for frame in x.unbind(1)], 1)
    torch.testing.assert_close(pushed, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2, 3, 8), r"expected space as a tuple \(N,\) or \(M, N\).*got 8"),
        ((1, 2, 3, (8, 8, 8)), "expected space as a tuple"),
        ((1, 2, (3, 3), (8,)), r"one for each of 1 dimensions, got \(3, 3\)"),
        ((1, 2, 4, (8, 8)), "an odd kernel, so that maps keep their size, got 4; take 5"),
        ((0, 2, 3, (8, 8)), "expected channels of whole numbers of at least 1, got 0"),
        ((1, 2.0, 3, (8, 8)), "expected hidden of whole numbers of at least 1, got 2.0"),
        ((1, 2, 3, (8, -1)), "expected space of whole numbers of at least 1, got -1"),
    ],
)
def test_sizes_that_cannot_be(arguments: Any, message: str) -> None:
    for kind in (ConvLSTM, PredRNN):
        with pytest.raises(ConfigError, match=f"{kind.__name__}: .*{message}"):
            kind(*arguments)


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(
        recurra.errors.ShapeError, match=r"expected x of shape \(B, T, 1, 8, 9\), got \(2, 3, 1, 9, 8\)"
    ):
        ConvLSTM(1, 2, 3, (8, 9))(torch.zeros(2, 3, 1, 9, 8))
    with pytest.raises(ConfigError, match="PredRNN: expected layers to be a whole number of at least 1, got 0"):
        PredRNN(1, 2, 3, (8, 9), layers=0)
    assert {LayerNormConvGRU, LayerNormConvLSTM} < set(CONVOLUTIONAL.values())
