"""The same layers in JAX: the input's product over all steps, then `lax.scan`, compiled by `jit`."""

from collections.abc import Callable
from typing import Any

import jax
import numpy
import torch
from jax import lax
from jax import numpy as jnp
from torch import Tensor

from benchmarks.steps import Named
from recurra import Gated

__all__ = ["Inference", "Training"]

Params = dict[str, jax.Array]


def _gru(p: Params, h: jax.Array, x_t: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_r, x_z, x_n = jnp.split(x_t, 3, axis=-1)
    u_r, u_z, u_n = jnp.split(h @ p["U"], 3, axis=-1)
    r, z = jax.nn.sigmoid(x_r + u_r), jax.nn.sigmoid(x_z + u_z)
    n = jnp.tanh(x_n + r * (u_n + p["c_n"]))
    h = (1 - z) * n + z * h
    return h, h


def _rnn(p: Params, h: jax.Array, x_t: jax.Array) -> tuple[jax.Array, jax.Array]:
    h = jnp.tanh(x_t + h @ p["U"])
    return h, h


def _lstm(p: Params, state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
    h, c = state
    i, f, g, o = jnp.split(x_t + h @ p["U"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


STEPS: dict[str, Callable] = {"GRU": _gru, "RNN": _rnn, "LSTM": _lstm}


def _forward(kind: str, p: Params, x: jax.Array) -> jax.Array:
    """x ``(T, B, F)`` to y ``(T, B, H)``."""
    zero = jnp.zeros((x.shape[1], p["U"].shape[0]), x.dtype)
    start = (zero, zero) if kind == "LSTM" else zero
    _, y = lax.scan(lambda state, x_t: STEPS[kind](p, state, x_t), start, x @ p["W"] + p["b"])
    return y


def _given(cell: Gated, x: Tensor) -> tuple[Params, jax.Array]:
    """The parameters, matrices as (in, out), and x time first."""
    params = {name: value.detach() for name, value in cell.named_parameters()}
    arrays = {name: jnp.asarray(value.numpy().T.copy()) for name, value in params.items()}
    return arrays, jnp.asarray(x.transpose(0, 1).contiguous().numpy())


def _tensor(array: jax.Array) -> Tensor:
    return torch.from_numpy(numpy.array(array))


class Training:
    """The gradients of the mean square of y with respect to all parameters."""

    def __init__(self, kind: str, cell: Gated, x: Tensor) -> None:
        self.params, self.x = _given(cell, x)
        self.forward = jax.jit(lambda p, x: _forward(kind, p, x))
        self.step = jax.jit(jax.value_and_grad(lambda p, x: jnp.mean(jnp.square(_forward(kind, p, x)))))

    def __call__(self) -> object:
        return jax.block_until_ready(self.step(self.params, self.x))

    def result(self) -> Named:
        """y and the gradients, matrices as recurra has them."""
        y = _tensor(self.forward(self.params, self.x)).transpose(0, 1)
        return {"y": y, **{name: _tensor(value.T) for name, value in self.step(self.params, self.x)[1].items()}}


class Inference:
    """y alone."""

    def __init__(self, kind: str, cell: Gated, x: Tensor) -> None:
        self.params, self.x = _given(cell, x)
        self.forward = jax.jit(lambda p, x: _forward(kind, p, x))

    def __call__(self) -> object:
        return self.forward(self.params, self.x).block_until_ready()

    def result(self) -> Named:
        """y."""
        return {"y": _tensor(self.forward(self.params, self.x)).transpose(0, 1)}
