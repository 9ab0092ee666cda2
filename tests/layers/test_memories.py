"""Layers of matrix memories: their equations in numpy loops, their laws, their states, and what they remember."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from recurra import (
    MLSTM,
    GatedDelta,
    LinearAttention,
    MatrixMemory,
    Readout,
    Recurrent,
    Residual,
    Stack,
    Stream,
    tree,
)
from recurra.errors import ConfigError
from recurra.layers.memories import MEMORIES
from recurra.layers.memories.matrix_memory import choose_heads
from recurra.testing import check_layer

Array = Any


def chunked(layer: MatrixMemory, chunk: int) -> MatrixMemory:
    layer.chunk = chunk
    return layer


LAWS = ("state tree", "padded row", "unread padding", "chunks", "steps", "backends")  # LAYERS keep all of them
VARIANTS: dict[str, Callable[[], Recurrent]] = {
    "two heads": lambda: MLSTM(3, 6, heads=2),
    "no convolution": lambda: GatedDelta(3, 6, heads=2, convolution=0),
    "small chunks": lambda: chunked(MLSTM(3, 4, heads=2), 4),
    "small chunks of corrections": lambda: chunked(GatedDelta(3, 4, heads=2, convolution=2), 4),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_keep_the_laws(name: str) -> None:
    check_layer(VARIANTS[name], only=LAWS)


def test_memories_stack() -> None:
    check_layer(
        lambda: Stack(LinearAttention(3, 4, heads=2), Residual(GatedDelta(4, 4)), MLSTM(4, 2)),
        only=["padded row", "chunks", "steps", "restored state", "strides"],
    )


# Equations, once more in numpy.


def sigmoid(v: Array) -> Array:
    return 1 / (1 + np.exp(-v))


def silu(v: Array) -> Array:
    return v * sigmoid(v)


def rms(v: Array) -> Array:
    return v / np.sqrt((v**2).mean() + 1e-5)


def unit(v: Array) -> Array:
    return v / np.sqrt((v**2).sum() + 1e-6)


def linear_attention(p: dict[str, Array], x: Array, heads: int) -> Array:
    feature = lambda v: np.where(v > 0, v + 1, np.exp(np.minimum(v, 0)))
    W_q, W_k, W_v = np.split(p["qkv.weight"], 3)
    size = len(W_q) // heads
    S, n = np.zeros((heads, size, size)), np.zeros((heads, size))
    outputs = []
    for x_t in x:
        found = np.zeros((heads, size))
        for h in range(heads):
            rows = slice(h * size, (h + 1) * size)
            q, k, v = feature(W_q[rows] @ x_t), feature(W_k[rows] @ x_t), W_v[rows] @ x_t
            S[h] += np.outer(v, k)
            n[h] += k
            found[h] = S[h] @ q / (n[h] @ q + 1e-6)
        outputs.append(p["output.weight"] @ found.reshape(-1))
    return np.stack(outputs)


def gated_delta(p: dict[str, Array], x: Array, heads: int) -> Array:
    inner = len(p["output.weight"])
    size, width = inner // heads, len(p["conv.weight"])
    S, past, outputs = np.zeros((heads, size, size)), np.zeros((width, 3 * inner)), []
    for x_t in x:
        past = np.concatenate([[p["qkv.weight"] @ x_t], past[:-1]])  # newest first, as the weights
        q, k, v = silu((past * p["conv.weight"]).sum(0)).reshape(3, heads, size)
        a, b = (p["gates.weight"] @ x_t).reshape(2, heads)
        a = np.exp(-np.exp(p["A"]) * np.log1p(np.exp(a + p["dt"])))
        found = np.zeros((heads, size))
        for h in range(heads):
            key, beta = unit(k[h]), sigmoid(b[h])
            S[h] = a[h] * (S[h] - beta * np.outer(S[h] @ key, key)) + beta * np.outer(v[h], key)
            found[h] = rms(S[h] @ unit(q[h])) * p["gain"]
        outputs.append(p["output.weight"] @ (found.reshape(-1) * silu(p["gate.weight"] @ x_t)))
    return np.stack(outputs)


def mlstm(p: dict[str, Array], x: Array, heads: int) -> Array:
    """Without the stabiliser: in float64 these gates do not overflow."""
    size = len(p["gain"]) // heads
    C, n, outputs = np.zeros((heads, size, size)), np.zeros((heads, size)), []
    for x_t in x:
        q, k, v = (p["qkv.weight"] @ x_t + p["qkv.bias"]).reshape(3, heads, size)
        i, f = (p["gates.weight"] @ x_t + p["gates.bias"]).reshape(2, heads)
        found = np.zeros((heads, size))
        for h in range(heads):
            key = k[h] / np.sqrt(size)
            C[h] = sigmoid(f[h]) * C[h] + np.exp(i[h]) * np.outer(v[h], key)
            n[h] = sigmoid(f[h]) * n[h] + np.exp(i[h]) * key
            found[h] = rms(C[h] @ q[h] / max(abs(n[h] @ q[h]), 1))
        outputs.append(found.reshape(-1) * p["gain"] * sigmoid(p["gate.weight"] @ x_t + p["gate.bias"]))
    return np.stack(outputs)


@pytest.mark.parametrize(
    ("kind", "loop"), [(LinearAttention, linear_attention), (GatedDelta, gated_delta), (MLSTM, mlstm)]
)
def test_layer_is_its_equations(kind: Any, loop: Callable[..., Array]) -> None:
    torch.manual_seed(0)
    layer = chunked(kind(3, 6, heads=2, dtype=torch.float64), 8)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.7)
    x = torch.randn(1, 21, 3, dtype=torch.float64)
    parameters = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    want = loop(parameters, x[0].numpy(), 2)
    np.testing.assert_allclose(layer(x)[0][0].detach().numpy(), want, atol=1e-10)


# What they are made of.


def test_heads_are_near_64_units_and_always_divide() -> None:
    sizes = [1, 5, 64, 96, 100, 127, 128, 134, 256, 1024]
    assert [size // choose_heads(size) for size in sizes] == [1, 5, 64, 48, 50, 127, 64, 67, 64, 64]
    assert LinearAttention(3, 256).heads == 4
    with pytest.raises(ConfigError, match=r"to divide hidden_size=6, got heads=4; take one of \[1, 2, 3, 6\]"):
        MLSTM(3, 6, heads=4)
    with pytest.raises(ConfigError, match="hidden_size to be a whole number of at least 1, got 0"):
        GatedDelta(3, 0)
    with pytest.raises(ConfigError, match=r"convolution=0 \(none\) or a width from 2, got 1"):
        GatedDelta(3, 4, convolution=1)
    with pytest.raises(ConfigError, match="chunk to be a whole number of at least 1, got 0"):
        chunked(MLSTM(3, 4), 0)(torch.zeros(1, 2, 3))


def test_states_are_named() -> None:
    x = torch.zeros(2, 3, 5)
    names = {name: kind(5, 8)(x)[1]._fields for name, kind in MEMORIES.items()}  # type: ignore[call-arg]
    assert names == {"linear_attention": ("S", "n"), "gated_delta": ("S", "recent"), "mlstm": ("C", "n", "m")}
    assert GatedDelta(5, 8, 2, convolution=0)(x)[1].S.shape == (2, 2, 4, 4)


def test_gates_begin_as_in_the_papers() -> None:
    i, f = MLSTM(3, 256).gates.bias.detach().chunk(2)
    torch.testing.assert_close(f, torch.tensor([3.0, 4.0, 5.0, 6.0]))
    assert 0 < i.abs().max() < 0.5
    layer = GatedDelta(3, 256)
    dt = torch.nn.functional.softplus(layer.dt.detach())
    assert ((dt > 0.001) & (dt < 0.1)).all()
    assert (dt.diff() > 0).all()
    assert ((layer.A.exp() >= 1) & (layer.A.exp() <= 16)).all()


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bits(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer: Any = MEMORIES[name](8, 16, dtype=dtype)  # type: ignore[call-arg]
    x = torch.randn(2, 70, 8).to(dtype)
    y, state = layer(x, None, [70, 31])
    y.float().square().sum().backward()
    assert y.dtype == dtype
    assert {leaf.dtype for leaf in state} == {torch.float32}
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    exact = layer.double()
    want, _ = exact(x.double(), None, [70, 31])
    assert (y.double() - want).abs().max() < 8 * torch.finfo(dtype).eps * want.abs().max()


@pytest.mark.parametrize("name", MEMORIES)
def test_autocast_keeps_the_state_in_float32(name: str) -> None:
    torch.manual_seed(0)
    layer: Any = MEMORIES[name](8, 16)  # type: ignore[call-arg]
    x = torch.randn(2, 70, 8)
    want, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x)
        layer(x, state)
    assert y.dtype == torch.float32
    assert {leaf.dtype for leaf in state} == {torch.float32}
    torch.testing.assert_close(y, want, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", MEMORIES)
def test_a_stream_goes_on_from_a_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer: Any = MEMORIES[name](3, 8)  # type: ignore[call-arg]
    x = torch.randn(1, 9, 3)
    with torch.no_grad():
        want, _ = layer(x)
    stream, other = Stream(layer), Stream(layer)
    first = [stream.push(x_t) for x_t in x[:, :5].unbind(1)]
    stream.save(tmp_path / "memory.safetensors")
    other.load(tmp_path / "memory.safetensors")
    rest = [other.push(x_t) for x_t in x[:, 5:].unbind(1)]
    torch.testing.assert_close(torch.stack(first + rest, 1), want, atol=1e-5, rtol=1e-5)


def test_rows_of_a_state_are_values() -> None:
    layer, x = GatedDelta(3, 4), torch.randn(3, 6, 3)
    _, state = layer(x)
    y, _ = layer(x[[2, 2]], tree.rows(state, [2, 2]))
    torch.testing.assert_close(y[0], y[1])


# What they remember.


def overwritten(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """16 pairs of 4 keys and 4 values, so values are written over, then a key: its last value is asked for."""
    keys, values = torch.randint(4, (2, rows, 17), generator=generator)
    keys[:, -1] = keys[:, :16].gather(1, torch.randint(16, (rows, 1), generator=generator))[:, 0]
    x = torch.cat([one_hot(keys, 4), one_hot(values, 4)], -1).float()
    x[:, -1, 4:] = 0
    same = (keys[:, :16] == keys[:, -1:]) * torch.arange(1, 17)
    return x, values.gather(1, same.argmax(1, keepdim=True))[:, 0]


def taught(layer: Recurrent) -> float:
    """How often the last value of a key is found after 150 steps of training."""
    generator = torch.Generator().manual_seed(0)
    model = Stack(layer, Readout(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        x, wanted = overwritten(64, generator)
        loss = nn.functional.cross_entropy(model(x)[0][:, -1], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, wanted = overwritten(500, generator)
    return float((model(x)[0][:, -1].argmax(-1) == wanted).float().mean())


def test_the_delta_rule_learns_to_write_over_a_value_and_attention_mixes() -> None:
    torch.manual_seed(0)
    replaced = taught(GatedDelta(8, 16, heads=1, convolution=0))
    mixed = taught(LinearAttention(8, 16, heads=1))
    assert replaced > 0.9
    assert mixed < 0.6
