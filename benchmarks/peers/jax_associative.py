"""The linear recurrence in JAX: `lax.associative_scan` over time, compiled by `jit`."""

import jax
import numpy
import torch
from jax import lax
from jax import numpy as jnp
from torch import Tensor

from benchmarks.steps import Named

__all__ = ["Recurrence"]

Step = tuple[jax.Array, jax.Array]


def _both(early: Step, late: Step) -> Step:
    return late[0] * early[0], late[0] * early[1] + late[1]


@jax.jit
def _solve(a: jax.Array, b: jax.Array) -> jax.Array:
    return lax.associative_scan(_both, (a, b), axis=1)[1]


class Recurrence:
    """All states from a first one of zeros."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = jnp.asarray(a.numpy()), jnp.asarray(b.numpy())

    def __call__(self) -> object:
        return _solve(self.a, self.b).block_until_ready()

    def result(self) -> Named:
        """y, complex numbers as pairs of real ones."""
        h = torch.from_numpy(numpy.array(_solve(self.a, self.b)))
        return {"y": torch.view_as_real(h) if h.is_complex() else h}
