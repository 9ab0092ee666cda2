"""What all matrix memories share: heads, the state, one step, and the sequence in chunks."""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.memory import CHUNK, STATES, Call, Inputs, Rule, advance, memory, precise, reset
from recurra.layers.base import Stepwise

__all__ = ["MatrixMemory", "choose_heads", "rms_norm", "xavier_"]

HEAD = 64  # units: a head of D units keeps about D pairs apart and costs D * D numbers


class MatrixMemory(Stepwise):
    """A layer whose heads keep a matrix each, written and read by keys that come from the input alone.

        S', y_t = rule(inputs(x_t), S)           see `recurra.kernels.memory` for the rules
        h'      = answer(x_t, y_t)

    A subclass names its ``rule`` and writes `inputs` and `answer`, which treat all steps at once: nothing but the
    rule is serial. One step and the sequence, ragged rows and the state are derived.

    heads  how the units are divided; None takes the divisor of ``hidden_size`` whose heads are nearest to 64 units
    chunk  an attribute: how many steps the sequence treats at once; it changes speed and memory, not values

    The state is in float32 at least, also where the layer is in 16 bits. Shapes: x ``(B, T, input_size)`` ->
    y ``(B, T, hidden_size)``. Raises ConfigError if ``heads`` does not divide ``hidden_size``.
    """

    rule: Rule
    chunk: int = CHUNK

    def __init__(self, input_size: int, hidden_size: int, heads: int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = _whole(name, "input_size", input_size)
        self.hidden_size = _whole(name, "hidden_size", hidden_size)
        self.heads = choose_heads(hidden_size) if heads is None else _whole(name, "heads", heads)
        if hidden_size % self.heads:
            raise ConfigError(
                f"{name}: expected heads to divide hidden_size={hidden_size}, got heads={heads}; "
                f"take one of {_divisors(hidden_size)}"
            )
        self.head_size = hidden_size // self.heads
        self.input_shape, self.output_shape = (input_size,), (hidden_size,)

    @abstractmethod
    def inputs(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Inputs, Any]:
        """Queries, keys, values and gates of ``x (B, T, F)``, and the state, moved on where it is not S."""

    @abstractmethod
    def answer(self, x: Tensor, y: Tensor) -> Tensor:
        """The layer's output ``(B, T, hidden_size)`` from ``x (B, T, F)`` and what was read, ``(B, T, H, D)``."""

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = next(self.parameters()) if like is None else like
        return reset(self.rule, batch, self.heads, self.head_size, self.head_size, like)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(x.shape[0], x) if state is None else state
        x = x[:, None]
        inputs, state = self.inputs(x, state, None)
        y, after = advance(self.rule, inputs.at(0), self._matrices(state))
        return self.answer(x, y[:, None])[:, 0].to(x.dtype), state._replace(**after._asdict())

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        inputs, state = self.inputs(x, state, lengths)
        chunk = _whole(type(self).__name__, "chunk", self.chunk)
        y, after = memory(Call(self.rule, inputs, self._matrices(state), lengths, chunk))
        return self.answer(x, y).to(x.dtype), state._replace(**after._asdict())

    def _matrices(self, state: Any) -> Any:
        """The part of the state that is the rule's."""
        return tree.State(**{name: getattr(state, name) for name in STATES[self.rule]})

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``(B, T, parts * hidden_size)`` as parts of ``(B, T, H, D)``."""
        return x.unflatten(-1, (parts, self.heads, self.head_size)).unbind(2)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, heads={self.heads}"


def _whole(name: str, label: str, size: Any) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(f"{name}: expected {label} to be a whole number of at least 1, got {size!r}")
    return size


def _divisors(size: int) -> list[int]:
    return [heads for heads in range(1, size + 1) if size % heads == 0]


def choose_heads(hidden_size: int) -> int:
    """The divisor of ``hidden_size`` whose heads are nearest to 64 units, as a ratio."""
    return min(_divisors(hidden_size), key=lambda heads: abs(math.log(hidden_size / heads / HEAD)))


def rms_norm(y: Tensor, gain: Tensor) -> Tensor:
    """Each head ``(..., D)`` with a mean square of 1, times ``gain`` (Zhang and Sennrich 2019).

    In float32 at least. No mean is taken away: a head of a single unit would be left with nothing.
    """
    fine = y.to(precise(y.dtype))
    return (fine * (fine.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * gain).to(y.dtype)


@torch.no_grad()
def xavier_(linear: nn.Linear, parts: int = 1) -> nn.Linear:
    """Xavier-uniform weights for each of the parts that are computed together; biases at zero."""
    for part in linear.weight.chunk(parts):
        nn.init.xavier_uniform_(part)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear
