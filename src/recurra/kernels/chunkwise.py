"""Matrix memories in chunks: matrix products over many steps instead of one step after another.

Write S_0 for the state before a chunk of L steps, Q, K ``(L, K)`` and V ``(L, V)`` for its inputs. What step s
wrote has, when step t reads it, the weight ``exp(source_s - reader_t)``. With g_t the sum of the logarithms of all
decays until t, and for mlstm m_t = g_t + reader_t:

    source_s = -g_s                reader_t = -g_t                            linear, attention, delta
    source_s = log i_s - g_s       reader_t = max(m_0, source_1 .. source_t)  mlstm

    D_ts  = exp(source_s - reader_t) for s <= t, else 0            within the chunk
    p_t   = exp(reader_0 - reader_t)                               of the state before it
    e_s   = exp(source_s - reader_L)                               of each step at its end

    y     = p * Q S_0^T + (Q K^T * D) W
    S_L   = p_L S_0 + W^T (e * K)

W are the values written: V itself, with a column of ones where the rule keeps n, which is then the last row of S.
The delta rule writes corrections, which depend on each other and on S_0 (the WY form of Bischof and Van Loan 1987,
for the delta rule by Yang et al. 2024):

    A_ts  = b_t D_ts (k_t k_s) for s < t, else 0
    W     = (I + A)^-1 (b * V) - (I + A)^-1 (b * p * K) S_0^T  =  U - Y S_0^T
    S_L   = S_0 (p_L I - Y^T (e * K)) + U^T (e * K)

The inverse is never formed: a triangular system is solved. All chunks are treated at once but for the last line,
one product or sum a chunk, and no exponent above that is ever positive, so nothing overflows.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra import tree
from recurra.kernels.memory import Call, Inputs, divide, prepared

__all__ = ["accepts", "join", "run", "split"]


def accepts(call: Call) -> str:
    """Every call."""
    return ""


@prepared
def run(call: Call) -> tuple[Tensor, Any]:
    """y ``(B, T, H, V)`` and the state after the last step."""
    time = call.inputs.v.shape[1]
    inputs, start, m = join(call)
    size = min(call.chunk, time)
    chunks = _fold(call, inputs, size)
    clock = _clock(chunks, m)
    if call.rule == "delta":
        y, last = _correct(chunks, clock, start)
    else:
        y, last = _add(chunks, clock, start)
    y = y.flatten(2, 3)[:, :, :time].transpose(1, 2)  # (B, T, H, V)
    levels = None if clock.m is None else clock.m.flatten(2)[:, :, :time].transpose(1, 2).to(y.dtype)
    return split(call, y, last, levels)


def join(call: Call) -> tuple[Inputs, Tensor, Tensor | None]:
    """Inputs, matrix and m, where n is one more row of the matrix, and values have a one for it."""
    inputs, state = call.inputs, call.state
    if call.rule in ("linear", "delta"):
        return inputs, state.S, None
    matrix = torch.cat([state[0], state.n[..., None, :]], -2)
    ones = inputs.v.new_ones(*inputs.v.shape[:-1], 1)
    return inputs._replace(v=torch.cat([inputs.v, ones], -1)), matrix, state.m if call.rule == "mlstm" else None


def split(call: Call, y: Tensor, matrix: Tensor, m: Tensor | None) -> tuple[Tensor, Any]:
    """The inverse of `join` for what came out: y ``(B, T, H, V)``, divided, and the state; m is ``(B, T, H)``."""
    if call.rule in ("linear", "delta"):
        return y, tree.State(S=matrix)
    y, first, n = divide(call.rule, y[..., :-1], y[..., -1], m), matrix[..., :-1, :], matrix[..., -1, :]
    return y, tree.State(S=first, n=n) if m is None else tree.State(C=first, n=n, m=m[:, -1])


def _fold(call: Call, inputs: Inputs, size: int) -> Inputs:
    """Inputs ``(B, H, N, L, ...)`` in N chunks of L steps, the last one filled up with steps that do nothing."""
    missing = -inputs.v.shape[1] % size
    nothing = -torch.inf if call.rule == "mlstm" else 0.0

    def fold(value: Tensor, fill: float = 0.0) -> Tensor:
        value = value.transpose(1, 2)
        if missing:
            value = pad(value, (*[0] * (2 * (value.dim() - 3)), 0, missing), value=fill)
        return value.unflatten(2, (-1, size)).contiguous()

    q, k, v, decay, write = inputs
    return Inputs(
        fold(q),
        fold(k),
        fold(v),
        None if decay is None else fold(decay),
        None if write is None else fold(write, nothing),
    )


class Clock(NamedTuple):
    """Weights between steps: all of them in the type of the sums; None where they are 1."""

    within: Tensor  # (B, H, N, L, L) of step s at step t
    before: Tensor | None  # (B, H, N, L, 1) of the state before the chunk at step t
    after: Tensor | None  # (B, H, N, L, 1) of step s at the end of the chunk
    m: Tensor | None = None  # (B, H, N, L)

    @property
    def keep(self) -> Tensor | None:
        """``(B, H, N, 1, 1)``: of the state before the chunk at its end."""
        return None if self.before is None else self.before[..., -1:, :]


def _clock(chunks: Inputs, m: Tensor | None) -> Clock:
    size, dtype = chunks.v.shape[3], chunks.v.dtype
    past = torch.ones(size, size, dtype=torch.bool, device=chunks.v.device).tril()
    if chunks.decay is None and m is None:
        return Clock(past.to(dtype), None, None)
    source, reader, start, total = _exponents(chunks, m)
    begin = torch.cat([start[..., None], reader[..., :-1, -1]], -1)  # (B, H, N) the last step before each chunk
    within = (source[..., None, :] - reader[..., :, None]).to(dtype).masked_fill(~past, -torch.inf).exp()
    before = (begin[..., None] - reader).to(dtype).exp()[..., None]
    after = (source - reader[..., -1:]).to(dtype).exp()[..., None]
    return Clock(within, before, after, None if m is None else total + reader)


def _exponents(chunks: Inputs, m: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """source, reader ``(B, H, N, L)``, the reader ``(B, H)`` before the first step, and the sum of all decays.

    They grow with T, and only their differences count, so they are summed in 64 bits where a device has them.
    """
    some = chunks.decay if chunks.decay is not None else chunks.write
    assert some is not None
    fine = some.dtype if some.device.type == "mps" else torch.float64
    steps = some.flatten(2)
    total = torch.zeros_like(steps, dtype=fine) if chunks.decay is None else steps.to(fine).cumsum(-1)
    if m is None or chunks.write is None:
        source = reader = -total
        start = torch.zeros_like(total[..., 0])
    else:
        start = m.to(fine)
        source = chunks.write.flatten(2).to(fine) - total
        reader = torch.maximum(source.cummax(-1).values, start[..., None])
    size = some.shape[2:]
    return source.unflatten(2, size), reader.unflatten(2, size), start, total.unflatten(2, size)


def _scaled(value: Tensor, by: Tensor | None) -> Tensor:
    return value if by is None else value * by


def _add(chunks: Inputs, clock: Clock, start: Tensor) -> tuple[Tensor, Tensor]:
    """Rules that add v k^T: y ``(B, H, N, L, V)`` and the matrix ``(B, H, V, K)`` at the end."""
    written = chunks.v.mT @ _scaled(chunks.k, clock.after)
    states, last = [], start
    keeps = None if clock.keep is None else clock.keep.unbind(2)
    for n, new in enumerate(written.unbind(2)):
        states.append(last)
        last = last + new if keeps is None else torch.addcmul(new, keeps[n], last)
    return _read(chunks, clock, torch.stack(states, 2), chunks.v), last


def _correct(chunks: Inputs, clock: Clock, start: Tensor) -> tuple[Tensor, Tensor]:
    """The delta rule: y ``(B, H, N, L, V)`` and the matrix ``(B, H, V, K)`` at the end."""
    assert chunks.write is not None
    b = chunks.write[..., None]
    values, keys = chunks.v.shape[-1], chunks.k.shape[-1]
    system = (b * (chunks.k @ chunks.k.mT) * clock.within).tril(-1)
    wanted = torch.cat([b * chunks.v, _scaled(b * chunks.k, clock.before)], -1)
    solved = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)
    U, Y = solved.split([values, keys], -1)
    ends = solved.mT @ _scaled(chunks.k, clock.after)
    new, lost = ends.split([values, keys], -2)
    same = torch.eye(keys, dtype=new.dtype, device=new.device)
    states, last = [], start
    for add, move in zip(new.unbind(2), (_scaled(same, clock.keep) - lost).unbind(2), strict=True):
        states.append(last)
        last = add + last @ move
    before = torch.stack(states, 2)
    return _read(chunks, clock, before, U - Y @ before.mT), last


def _read(chunks: Inputs, clock: Clock, before: Tensor, written: Tensor) -> Tensor:
    """y from the states ``(B, H, N, V, K)`` before the chunks and the values written within them."""
    near = (chunks.q @ chunks.k.mT * clock.within) @ written
    return near + _scaled(chunks.q @ before.mT, clock.before)
