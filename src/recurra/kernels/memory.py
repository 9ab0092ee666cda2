"""Matrix memories: their definition, one step after another, and the face that faster variants share.

A head keeps a matrix S ``(V, K)`` that answers a key k with a value v. For t = 1 .. T, by the rule:

    linear     S' = a S + v k^T                      y = S' q
    attention  S' = a S + v k^T                      y = S' q / (n' q + 1e-6)
               n' = a n + k
    delta      S' = a (S - b (S k) k^T) + b v k^T    y = S' q
    mlstm      C' = f C + i v k^T                    y = C' q / max(|n' q|, 1)
               n' = f n + i k

Linear attention is by Katharopoulos et al. (2020), the gated delta rule by Yang et al. ("Gated delta networks",
2025), mLSTM by Beck et al. ("xLSTM", 2024). Decays a and f, at most 1, are given as logarithms, as is i, which may
be of any size: mLSTM keeps C and n divided by exp(m), where m' = max(log f + m, log i), so nothing overflows.
A decay of 0, whose logarithm is minus infinity, forgets everything.

State and sums are in float32 at least, whatever the inputs are; y has the type of v. Past the end of a row the
state stands still, y is zero, and what stands in the inputs is never read.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra import tree
from recurra.kernels.dispatch import Op

__all__ = [
    "CHUNK",
    "STATES",
    "Call",
    "Inputs",
    "Rule",
    "advance",
    "blanked",
    "define",
    "divide",
    "memory",
    "precise",
    "prepared",
    "reset",
]

Rule = Literal["linear", "attention", "delta", "mlstm"]

# The tensors of each rule's state: matrices (B, H, V, K), n (B, H, K), m (B, H).
STATES: dict[str, tuple[str, ...]] = {
    "linear": ("S",),
    "attention": ("S", "n"),
    "delta": ("S",),
    "mlstm": ("C", "n", "m"),
}
CHUNK = 64  # steps; benchmarks/sections/memories.py measures others
EPSILON = 1e-6  # keeps the quotient of attention finite where nothing was written yet
LEAST = (
    -1000.0
)  # a logarithm whose exponential is 0 in every type, in place of minus infinity, which cannot be added
FLOOR = -80.0  # exp(-m) must fit into float32; below, y is zero to 34 digits either way


class Inputs(NamedTuple):
    """What a memory reads: ``(B, T, H, ...)``, or ``(B, H, ...)`` for a single step."""

    q: Tensor  # (B, T, H, K) query
    k: Tensor  # (B, T, H, K) key
    v: Tensor  # (B, T, H, V) value
    decay: Tensor | None = None  # (B, T, H) logarithm of a or f, at most 0; None where nothing is forgotten
    write: Tensor | None = None  # (B, T, H) b of the delta rule, logarithm of i for mlstm; the others have none

    def at(self, t: int) -> "Inputs":
        """The inputs of one step."""
        return Inputs(*(None if value is None else value[:, t] for value in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Call:
    """One run of a memory over a batch; the value that every variant takes."""

    rule: Rule
    inputs: Inputs
    state: Any  # State with the fields of STATES[rule], in float32 at least
    lengths: Tensor | None = None  # (B,) on the CPU
    chunk: int = CHUNK  # steps that a variant may treat at once

    def __str__(self) -> str:
        batch, time, heads, size = self.inputs.v.shape
        ragged_ = ", ragged" if self.lengths is not None else ""
        return f"{self.rule} memory ({heads} x {size} x {self.inputs.k.shape[-1]}) on B={batch}, T={time}{ragged_}"


def precise(dtype: torch.dtype) -> torch.dtype:
    """The type of state and sums: float32 for the types of 16 bits."""
    return torch.promote_types(dtype, torch.float32)


def reset(rule: Rule, batch: int, heads: int, values: int, keys: int, like: Tensor) -> Any:
    """The state of an empty memory: zeros."""
    shapes = {"S": (values, keys), "C": (values, keys), "n": (keys,), "m": ()}
    dtype = precise(like.dtype)
    fields = {name: like.new_zeros(batch, heads, *shapes[name], dtype=dtype) for name in STATES[rule]}
    return tree.State(**fields)


def advance(rule: Rule, now: Inputs, state: Any) -> tuple[Tensor, Any]:
    """One time step: inputs ``(B, H, ...)`` and the state before give y ``(B, H, V)`` and the state after."""
    with torch.autocast(now.q.device.type, enabled=False):
        y, state = STEPS[rule](_converted(now), state)
    return y.to(now.v.dtype), state


def _converted(inputs: Inputs) -> Inputs:
    """Numbers of at least 32 bits, and no decay of minus infinity."""
    dtype = precise(inputs.v.dtype)
    q, k, v, decay, write = (None if value is None else value.to(dtype) for value in inputs)
    return Inputs(q, k, v, None if decay is None else decay.clamp(min=LEAST), write)  # type: ignore[arg-type]


def _faded(now: Inputs, matrix: Tensor) -> Tensor:
    """``matrix (B, H, ...)`` after one step of forgetting."""
    if now.decay is None:
        return matrix
    return now.decay.exp().view(*now.decay.shape, *[1] * (matrix.dim() - 2)) * matrix


def _outer(v: Tensor, k: Tensor) -> Tensor:
    return v[..., :, None] * k[..., None, :]


def _product(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None]).squeeze(-1)


def _linear(now: Inputs, state: Any) -> tuple[Tensor, Any]:
    S = _faded(now, state.S) + _outer(now.v, now.k)
    return _product(S, now.q), tree.State(S=S)


def _attention(now: Inputs, state: Any) -> tuple[Tensor, Any]:
    S = _faded(now, state.S) + _outer(now.v, now.k)
    n = _faded(now, state.n) + now.k
    return divide("attention", _product(S, now.q), (n * now.q).sum(-1)), tree.State(S=S, n=n)


def _delta(now: Inputs, state: Any) -> tuple[Tensor, Any]:
    assert now.write is not None
    S = _faded(now, state.S)
    S = S + _outer(now.write[..., None] * (now.v - _product(S, now.k)), now.k)
    return _product(S, now.q), tree.State(S=S)


def _mlstm(now: Inputs, state: Any) -> tuple[Tensor, Any]:
    assert now.write is not None
    kept = state.m if now.decay is None else state.m + now.decay
    m = torch.maximum(kept, now.write)
    keep, add = (kept - m).exp()[..., None], (now.write - m).exp()[..., None]
    C = keep[..., None] * state.C + _outer(add * now.v, now.k)
    n = keep * state.n + add * now.k
    return divide("mlstm", _product(C, now.q), (n * now.q).sum(-1), m), tree.State(C=C, n=n, m=m)


def divide(rule: Rule, y: Tensor, by: Tensor, m: Tensor | None = None) -> Tensor:
    """What the memory answers, ``y (..., V)``, by what it knows of the query, ``by (...)``."""
    if rule == "attention":
        return y / (by + EPSILON)[..., None]
    assert m is not None
    return y / torch.maximum(by.abs(), (-m.clamp(min=FLOOR)).exp())[..., None]


STEPS: dict[str, Callable[[Inputs, Any], tuple[Tensor, Any]]] = {
    "linear": _linear,
    "attention": _attention,
    "delta": _delta,
    "mlstm": _mlstm,
}


def blanked(call: Call) -> Inputs:
    """The inputs with steps in the padding that change nothing, whatever stood there."""
    if call.lengths is None:
        return call.inputs
    q, k, v, decay, write = (None if value is None else ragged.blank(value, call.lengths) for value in call.inputs)
    if call.rule == "mlstm" and write is not None:
        padding = ~ragged.mask(call.lengths, write.shape[1], write.device)
        write = write.masked_fill(padding[..., None], -torch.inf)
    return Inputs(q, k, v, decay, write)  # type: ignore[arg-type]


def prepared(compute: Callable[[Call], tuple[Tensor, Any]]) -> Callable[[Call], tuple[Tensor, Any]]:
    """Decorator: what every variant in plain PyTorch needs of its call, and owes to it."""

    @wraps(compute)
    def run(call: Call) -> tuple[Tensor, Any]:
        v = call.inputs.v
        if v.shape[1] == 0:
            return v, call.state
        with torch.autocast(v.device.type, enabled=False):
            y, state = compute(replace(call, inputs=_converted(blanked(call))))
        return ragged.blank(y, call.lengths).to(v.dtype), state

    return run


@prepared
def define(call: Call) -> tuple[Tensor, Any]:
    """The definition: y ``(B, T, H, V)`` and the state after the last valid step of each row."""
    state, time = call.state, call.inputs.v.shape[1]
    alive, outputs = None, []
    if call.lengths is not None:
        alive = ragged.mask(call.lengths, time, call.inputs.v.device).unbind(1)
    for t in range(time):
        y, after = STEPS[call.rule](call.inputs.at(t), state)
        state = after if alive is None else tree.where(alive[t], after, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


memory: Op[Call] = Op("memory", define)
