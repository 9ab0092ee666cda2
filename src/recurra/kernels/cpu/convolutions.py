"""The fused CPU variant of convolutional recurrences: torch's convolutions and a compiled equation in a loop.

x  = W * x + b                     one convolution over all time steps
loop over t: U * h, equation       frames lie channels last, packed by time: a cost in proportion to valid steps
loop back:   the equation's backward, dh = U' * du
dU                                 one over all steps; so are dW, db and dx, which torch differentiates

Under autocast to bfloat16, on processors that have it, convolutions read and write bfloat16; states stay float32.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.kernels.conv_recurrence import (
    ConvCall,
    advance,
    convolve,
    define,
    project,
    settled,
    time_first,
)
from recurra.kernels.cpu import build
from recurra.kernels.cpu.memory import empty
from recurra.kernels.cpu.packing import Order, order_of
from recurra.kernels.cpu.points import channels_last, gates, kept_of, kernel_of, refusal, threads_for
from recurra.kernels.recurrence import Cell, Weights

__all__ = ["accepts", "run"]

EPSILON = 1e-5  # of torch's group_norm, with which the definition normalises
TYPES = (torch.float32, torch.bfloat16, torch.float16)


def accepts(call: ConvCall) -> str:
    """Why the fused variant cannot take a call, or ""."""
    if call.weights.U.dtype != torch.float32 or call.x.dtype not in TYPES:
        return f"the fused kernel computes in float32, the layer in {call.weights.U.dtype}"
    return refusal(call.cell, (call.x, call.weights.U, *call.state))


def run(call: ConvCall) -> tuple[Tensor, Any]:
    """y and the last state, at a cost in proportion to the valid steps."""
    if 0 in call.x.shape or (call.lengths is not None and not call.lengths.any()):
        return define(call)
    if call.x.dim() == 4:
        y, state = run(_as_pictures(call))
        return y.squeeze(-2), tree.map(lambda leaf: leaf.squeeze(-2), state)
    number = torch.bfloat16 if _halves() else torch.float32
    batch, time = call.x.shape[:2]
    order = order_of(batch, time, call.lengths, False)
    with torch.autocast("cpu", enabled=False):
        weights = _converted(call.weights, number)
        projected = project(call.cell, _packed(call.x, call.lengths, order).to(number), weights)
        first = torch.stack([leaf.float().movedim(1, -1) for leaf in call.state])
        vectors = [v.expand(call.state[0].shape[1:]).movedim(0, -1) for v in weights.vectors]
        given = (
            _frames(projected),
            weights.U,
            first if call.lengths is None else first[:, order.rows],
            torch.stack(vectors) if vectors else first.new_empty(0),
            weights.gains[1] if weights.gains else first.new_empty(0),
        )
        trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        y, last = _Loop.apply(call.cell, order.offsets.tolist(), trains, *given)
    return _as_asked(call, y, last, order)


def _as_pictures(call: ConvCall) -> ConvCall:
    """Maps of one dimension as pictures of one row."""
    weights = call.weights
    rows = lambda tensor: tensor.unsqueeze(-2)
    weights = Weights(rows(weights.W), rows(weights.U), weights.b, tuple(map(rows, weights.vectors)), weights.gains)
    return ConvCall(call.cell, rows(call.x), tree.map(rows, call.state), weights, call.lengths)


def _halves() -> bool:
    """Whether convolutions are to be in bfloat16."""
    wanted = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return wanted and build.has_bfloat16()


def _converted(weights: Weights, number: torch.dtype) -> Weights:
    W, U = (channels_last(kernel.to(number)) for kernel in (weights.W, weights.U))
    b = weights.b if weights.gains else weights.b.to(number)
    return Weights(W, U, b, weights.vectors, weights.gains)


def _packed(x: Tensor, lengths: Tensor | None, order: Order) -> Tensor:
    """The frames ``(total, C, M, N)`` of all rows, packed by time, channels last."""
    return time_first(x) if lengths is None else settled(x.movedim(2, -1).flatten(0, 1)[order.index])


def _as_asked(call: ConvCall, y: Tensor, last: Tensor, order: Order) -> tuple[Tensor, Any]:
    """y ``(B, T, H, M, N)`` and the state in the caller's order and types."""
    batch, time = call.x.shape[:2]
    if call.lengths is None:
        y = y.unflatten(0, (time, batch)).transpose(0, 1)
    else:
        last = last[:, order.rows.argsort()]
        y = y.new_zeros(batch * time, *y.shape[1:]).index_copy(0, order.index, y).unflatten(0, (batch, time))
    leaves = [leaf.movedim(-1, 1).to(old.dtype) for leaf, old in zip(last, call.state, strict=True)]
    return y.movedim(-1, 2).to(call.x.dtype), type(call.state)(*leaves)


@dataclass(frozen=True)
class _Steps:
    """Where the frames of each step lie: those of step t in ``begin[t]:end[t]``, the states before it elsewhere.

    Buffers of states have the first ones in front, then those after each step, so a step reads the frames from
    ``before[t]`` on and writes from ``batch + begin[t]`` on.
    """

    offsets: list[int]
    batch: int

    def __iter__(self) -> Any:
        """begin, end and before of each step."""
        before = 0
        for begin, end in pairwise(self.offsets):
            yield begin, end, before
            before = self.batch + begin

    def seen(self) -> Tensor:
        """For each packed frame the place of the state before it."""
        return torch.cat([torch.arange(before, before + end - begin) for begin, end, before in self])

    def last(self) -> Tensor:
        """For each row the place of its last state."""
        places = torch.arange(self.batch)
        for begin, end in pairwise(self.offsets):
            places[: end - begin] = torch.arange(self.batch + begin, self.batch + end)
        return places


class _Loop(torch.autograd.Function):
    """The loop as one differentiable operation: y ``(total, M, N, H)`` and the last states ``(S, B, M, N, H)``."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        offsets: list[int],
        trains: bool,
        projected: Tensor,  # (total, M, N, X*H), in float32 or bfloat16 as U
        U: Tensor,
        first: Tensor,  # (S, B, M, N, H)
        vectors: Tensor,  # (P, M, N, H) or empty
        gain: Tensor,  # (G*H,) or empty
    ) -> tuple[Tensor, Tensor]:
        kernel, (states, batch, rows, columns, hidden) = kernel_of(cell), first.shape
        steps, total = _Steps(offsets, batch), offsets[-1]
        h = empty(batch + total, rows, columns, hidden)
        h[:batch] = first[0]
        rest = first[1:].clone(memory_format=torch.contiguous_format)  # written over, if nobody needs it again
        if trains:
            rest = empty(states - 1, batch + total, rows, columns, hidden)
            rest[:, :batch] = first[1:]
        seen = h if U.dtype == h.dtype else torch.empty_like(h, dtype=U.dtype)
        seen[:batch] = h[:batch]
        kept = kept_of(kernel, total, rows * columns, hidden) if trains else None
        norms: list[Tensor] = []
        for begin, end, before in steps:
            u = _convolved(seen[before : before + end - begin], U)
            if cell.normalized:
                u, *norm = _normalized(u, gain, len(cell.u_gates))
                norms += norm
            now, then = (before, batch + begin) if trains else (0, 0)
            kernel.forward(
                **_sizes(end - begin, first, U),
                **gates("x", projected, len(cell.x_gates), begin),
                **gates("u", u, len(cell.u_gates)),
                **_leaves("p", vectors),
                **_leaves("s", rest, now, 1),
                **_leaves("after", rest, then, 1),
                s0=h[before:],
                after0=h[batch + begin :],
                brief=None if seen is h else seen[batch + begin :],
                kept=None if kept is None else kept[begin:],
            )
        last = steps.last()
        if trains:
            ctx.cell, ctx.steps = cell, steps
            ctx.save_for_backward(projected, U, first, vectors, gain, h, rest, seen, kept, *norms)
        return h[batch:], torch.cat([h[last][None], rest[:, last] if trains else rest])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> Any:
        cell, steps, wanted = ctx.cell, ctx.steps, ctx.needs_input_grad[3:]
        projected, U, first, vectors, gain, h, rest, seen, kept, *norms = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            given = (projected, U, first, vectors, gain)
            return None, None, None, *_differentiable(cell, steps, given, (dy, dlast), wanted)
        kernel, dy = kernel_of(cell), dy.contiguous()
        many = len(cell.x_gates), len(cell.u_gates)
        shared = kernel.equation.same
        dx = torch.empty_like(projected)
        du = dx if shared else dx.new_empty(*dx.shape[:-1], len(U))
        flow, flowing, dstate = None, 0, dlast.clone(memory_format=torch.contiguous_format)
        dvectors, dgain = torch.zeros_like(vectors), torch.zeros_like(gain)
        into = torch.empty_like(du) if cell.normalized else du  # the gradient of U * h before it was normalised
        for begin, end, before in reversed(list(steps)):
            kernel.backward(
                **_sizes(end - begin, first, U),
                **gates("dx", dx, many[0], begin),
                **({} if shared else gates("du", du, many[1], begin)),
                **_leaves("p", vectors),
                **_leaves("s", rest, before, 1),
                **_leaves("g", dstate),
                **_leaves("ds", dstate),
                **_leaves("dp", dvectors),
                s0=h[before:],
                dy=dy[begin:],
                flow=flow,
                flowing=flowing,
                kept=kept[begin:],
            )
            if cell.normalized:
                into[begin:end], more = _unnormalized(du[begin:end], gain, many[1], norms)
                dgain += more
            if begin or wanted[2]:
                flow, flowing = _flow_back(into[begin:end], U), end - begin
        if flow is not None and wanted[2]:
            dstate[0, : len(flow)] += flow
        dU = _slope(into, seen, steps, U) if wanted[1] else None
        return None, None, None, dx, dU, dstate, dvectors, dgain


def _sizes(frames: int, first: Tensor, U: Tensor) -> dict[str, int]:
    *_, rows, columns, hidden = first.shape
    sizes = {"frames": frames, "places": rows * columns, "hidden": hidden, "half": int(U.dtype != first.dtype)}
    return {**sizes, "threads": threads_for(frames * rows * columns * hidden)}


def _leaves(array: str, tensors: Tensor, at: int = 0, number: int = 0) -> dict[str, int]:
    """Tensors ``(n, frames, ...)`` from frame ``at`` on, for the arrays of a kernel's call from ``number`` on."""
    begin, size = at * tensors.stride(1) if tensors.dim() > 1 else 0, tensors.element_size()
    return {
        f"{array}{number + i}": tensors.data_ptr() + (i * tensors.stride(0) + begin) * size
        for i in range(len(tensors))
    }


def _maps(frames: Tensor) -> Tensor:
    """``(n, M, N, C)`` as maps ``(n, C, M, N)`` on the same memory."""
    return frames.movedim(-1, 1)


def _frames(maps: Tensor) -> Tensor:
    """The inverse, in one piece of memory."""
    return channels_last(maps).movedim(1, -1)


def _convolved(frames: Tensor, U: Tensor) -> Tensor:
    return _frames(convolve(_maps(frames), U))


def _back(d: Tensor, frames: Tensor, U: Tensor, mask: list[bool]) -> list[Tensor]:
    """Gradients of a convolution: of its input, of U."""
    edges = [size // 2 for size in U.shape[2:]]
    of = (_maps(d), _maps(frames), U, None, [1, 1], edges, [1, 1], False, [0, 0], 1)
    return list(torch.ops.aten.convolution_backward(*of, [*mask, False])[:2])


def _flow_back(d: Tensor, U: Tensor) -> Tensor:
    """The gradient of what U saw."""
    frames = d.new_empty(1).expand(*d.shape[:-1], U.shape[1])  # only its shape is looked at
    return _frames(_back(d, frames, U, [True, False])[0])


def _slope(d: Tensor, seen: Tensor, steps: _Steps, U: Tensor) -> Tensor:
    """The gradient of U, over all steps at once."""
    whole = len(seen) - steps.batch == len(d) == steps.batch * (len(steps.offsets) - 1)
    return _back(d, seen[: len(d)] if whole else seen[steps.seen()], U, [False, True])[1]


def _normalized(product: Tensor, gain: Tensor, gates: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A product ``(n, M, N, G*H)`` normalised gate by gate, and what the way back needs of it."""
    count, *space, channels = product.shape
    sizes = (count, channels, space[0] * space[1], gates)
    y, mean, deviation = torch.native_group_norm(_maps(product), gain, None, *sizes, EPSILON)
    return _frames(y), product, mean, deviation


def _unnormalized(d: Tensor, gain: Tensor, gates: int, norms: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The gradients of the product and of the gain; what the step kept is taken from the end of ``norms``."""
    product, mean, deviation = norms[-3:]
    del norms[-3:]
    count, *space, channels = product.shape
    sizes = (count, channels, space[0] * space[1], gates)
    found = torch.ops.aten.native_group_norm_backward(
        _maps(d), _maps(product), mean, deviation, gain, *sizes, [True, True, False]
    )
    return _frames(found[0]), found[1]


def _differentiable(
    cell: Cell, steps: _Steps, given: tuple[Tensor, ...], flows: tuple[Tensor, Tensor], wanted: tuple[bool, ...]
) -> list[Any]:
    """The gradients by a plain loop, which can be differentiated again."""
    inputs = [tensor for tensor, wants in zip(given, wanted, strict=True) if wants]
    found = iter(
        torch.autograd.grad(_plainly(cell, steps, *given), inputs, flows, create_graph=True, allow_unused=True)
    )
    return [next(found) if wants else None for wants in wanted]


def _plainly(
    cell: Cell, steps: _Steps, projected: Tensor, U: Tensor, first: Tensor, vectors: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor]:
    """What `_Loop` computes, by torch's own operations."""
    gains = (gain, gain) if cell.normalized else ()
    weights = Weights(U, U, U, tuple(_maps(vectors)) if cell.vectors else (), gains)  # of W and b nothing is read
    state = tree.State(**dict(zip(cell.state, [_maps(leaf) for leaf in first], strict=True)))
    outputs = []
    for begin, end, _ in steps:
        alive = tree.rows(state, slice(end - begin))
        after = advance(cell, _maps(projected[begin:end]), alive, weights)
        state = tree.map(lambda new, old: torch.cat([new, old[len(new) :]]), after, state)
        outputs.append(after[0].movedim(1, -1))
    return torch.cat(outputs), torch.stack([leaf.movedim(1, -1) for leaf in state])
