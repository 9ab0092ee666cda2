"""A whole pass over a batch, forward and backward, by native code on plain tensors, without gradients.

u  = x W^T + b                     one product over all steps
loop over t: h U^T, equation
loop back:   the equation's backward, dh = du U
dU, dW, dx, db                     one product each over all steps
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra.kernels.cpu import native, packing
from recurra.kernels.cpu.memory import empty
from recurra.kernels.cpu.packing import Order
from recurra.kernels.equation import Equation

__all__ = ["Given", "Gradients", "Kept", "Kernel", "Task", "backward", "forward", "step_values"]

SPARE = 8  # rows of room behind packed tensors, for a tile of rows reaches past the last one


class Kernel(NamedTuple):
    """A cell's equation and its compiled loops."""

    equation: Equation
    normalized: bool
    kept: int  # values that the way back reads, for each unit and step
    factors: int  # what U multiplies in a second stage
    source: str
    forward: native.Function
    backward: native.Function


class Given(NamedTuple):
    """The tensors of a call, float32 and contiguous."""

    x: Tensor  # (B, T, F)
    W: Tensor  # (X*H, F)
    b: Tensor  # (X*H,)
    U: Tensor  # (G*H, H)
    vectors: Tensor  # (P, H)
    gains: Tensor  # (X*H + G*H,) or empty: of W x, then of U h
    first: Tensor  # (S, B, H)
    dropout: Tensor  # (B, H) or empty
    keep: Tensor  # (S, B, T, H) or empty


class Kept(NamedTuple):
    """What the way forward leaves for the way back, packed by time, each row of H units filled up to Hp."""

    before: Tensor  # (total, S, Hp): the state before each step
    fed: Tensor  # (total, D, Hp): what U multiplies where it is not h
    values: Tensor  # (total, K, Hp)
    normal: Tensor  # (total, G, Hp): normalised U h
    deviations: Tensor  # (total, G)
    normal_x: Tensor  # (total, blocks, X, 16): normalised W x
    deviations_x: Tensor  # (total, X)


class Gradients(NamedTuple):
    """Of a call's tensors; None where nobody asked."""

    x: Tensor | None
    W: Tensor | None
    b: Tensor | None
    U: Tensor
    vectors: Tensor
    gains: Tensor
    first: Tensor


class Task(NamedTuple):
    """One loop to run: its kernel, the order of its batch, and the tensors."""

    kernel: Kernel
    order: Order
    given: Given


def forward(tasks: list[Task], trains: bool) -> list[tuple[Tensor, Tensor, Kept]]:
    """For each task y ``(B, T, H)``, where padding holds anything, the last state, and what `backward` needs.

    The loops of several tasks run at the same time, a thread each.
    """
    results, calls = [], []
    for task in tasks:
        kernel, given = task.kernel, task.given
        y = given.x.new_empty(*given.x.shape[:2], given.U.shape[1])
        last, kept, projected = torch.empty_like(given.first), _room(task, trains), _project(task)
        if kernel.normalized:
            kept = kept._replace(normal_x=projected, deviations_x=_normalize(task, projected))
        values = {
            **_sizes(task, len(tasks), trains),
            **_common(task),
            **_stages(kernel, given.U, packing.forward_stage),
            **_kept(kept),
        }
        calls.append((kernel.forward, {**values, "x": projected, "first": given.first, "y": y, "last": last}))
        results.append((y, last, kept))
    native.together(calls)
    return results


def step_values(task: Task) -> dict[str, Any]:
    """The arguments of a loop of one step, by one thread, without x, the states and y."""
    stages = _stages(task.kernel, task.given.U, packing.forward_stage)
    return {**_sizes(task, 2, False), **_common(task), **stages, **_kept(_room(task, False))}


class _Back(NamedTuple):
    """What a loop back fills."""

    dx: Tensor  # (total, blocks, X, 16)
    du: Tensor  # (total, blocks, E, 16), or dx itself
    dlate: Tensor  # (factors, total, blocks, L / factors, 16)
    dfirst: Tensor  # (S, B, H)
    dvectors: Tensor  # (tiles, P, Hp)
    dgains: Tensor  # (tiles, G, Hp)


def backward(
    tasks: list[Task], kept: list[Kept], dy: list[Tensor], dlast: list[Tensor], wants_x: bool
) -> list[Gradients]:
    """Gradients of everything given, from those of each y and of each last state."""
    backs, calls, rooms = [_back_room(task, d) for task, d in zip(tasks, dlast, strict=True)], [], []
    for task, k, back, d in zip(tasks, kept, backs, dy, strict=True):
        kernel, order, given = task
        flow = empty(len(given.first), order.batch, _wide(given))
        dfed = empty(order.batch, kernel.factors, _wide(given))
        rooms += [flow, dfed]
        values = {
            **_sizes(task, len(tasks), True),
            **_common(task),
            **_stages(kernel, given.U, packing.depth),
            **_kept(k),
        }
        made = {"dx": back.dx, "du": back.du, "dlate": back.dlate, "dstate": back.dfirst}
        made |= {"dvectors": back.dvectors, "dgains": back.dgains, "flow": flow, "dfed": dfed}
        calls.append((kernel.backward, {**values, **made, "dy": d}))
    native.together(calls)
    return [_gradients(task, k, back, wants_x) for task, k, back in zip(tasks, kept, backs, strict=True)]


def _gradients(task: Task, kept: Kept, back: _Back, wants_x: bool) -> Gradients:
    """What is left after the loop: products over all steps."""
    hidden = task.given.U.shape[1]
    vectors, gains = back.dvectors.sum(0)[:, :hidden].contiguous(), back.dgains.sum(0)[:, :hidden].flatten()
    b = None
    if task.kernel.normalized:
        b, gain_x = _unnormalize(task, kept, back.dx)
        gains = torch.cat([gain_x, gains])
    W, shift = _input_gradients(task, back.dx)
    x = _x_gradient(task, back.dx) if wants_x else None
    return Gradients(
        x, W, shift if b is None else b, _recurrent_gradient(task, kept, back), vectors, gains, back.dfirst
    )


def _wide(given: Given) -> int:
    """H filled up to a whole number of vectors."""
    return given.U.shape[1] + -given.U.shape[1] % packing.LANES


def _back_room(task: Task, dlast: Tensor) -> _Back:
    kernel, order, given = task
    equation, rows, wide, tiles = kernel.equation, order.total + SPARE, _wide(given), (order.batch + 3) // 4
    gates, late = len(equation.u_gates), len(equation.late)
    same = equation.same and not kernel.normalized and not late
    dx = empty(rows, len(equation.x_gates) * wide)
    return _Back(
        dx,
        dx if same else empty(rows, (gates - late) * wide),
        empty(kernel.factors, rows, late // max(kernel.factors, 1) * wide),
        dlast.clone(memory_format=torch.contiguous_format),
        given.x.new_zeros(tiles, len(given.vectors), wide),
        given.x.new_zeros(tiles, gates if kernel.normalized else 0, wide),
    )


def _or_null(tensor: Tensor) -> Tensor | None:
    return tensor if tensor.numel() else None


def _kept(kept: Kept) -> dict[str, Tensor | None]:
    names = ("before", "fed", "kept", "normal", "deviations")
    return {name: _or_null(tensor) for name, tensor in zip(names, kept, strict=False)}


def _room(task: Task, trains: bool) -> Kept:
    """Memory for what a pass leaves behind; in inference two steps take turns in it."""
    kernel, order, given = task
    wide = _wide(given)
    steps = given.x.shape[0] * given.x.shape[1] if trains else 0  # pages that padding never touches cost nothing
    rows = steps + SPARE if trains else 2 * (order.batch + SPARE)
    gates = len(kernel.equation.u_gates) if kernel.normalized and trains else 0
    fed = kernel.factors + (1 if given.dropout.numel() else 0)
    return Kept(
        empty(rows, len(given.first), wide),
        empty(rows, fed, wide),
        empty(steps, kernel.kept, wide),
        empty(steps, gates, wide),
        empty(steps, gates),
        empty(0),
        empty(0),
    )


def _sizes(task: Task, tasks: int, trains: bool) -> dict[str, int]:
    order, hidden = task.order, task.given.U.shape[1]
    threads, by_units = (1, False) if tasks > 1 else _team(order.batch, len(task.given.U) // hidden, hidden)
    sizes = {"batch": order.batch, "steps": order.steps, "total": order.total, "hidden": hidden}
    return {**sizes, "threads": threads, "by_units": by_units, "trains": int(trains)}


OWN_CACHE = 600_000


def _team(batch: int, gates: int, hidden: int) -> tuple[int, bool]:
    """How many threads run the loop, and whether each takes a part of the units instead of a part of the rows."""
    threads = torch.get_num_threads()
    if 4 * gates * hidden * hidden > OWN_CACHE and hidden > 32:
        return threads, True
    return min(threads, (batch + 3) // 4), False


def _common(task: Task) -> dict[str, Tensor | None]:
    """What both directions read."""
    kernel, order, given = task
    hidden = given.U.shape[1]
    gains = given.gains[len(given.b) :] if kernel.normalized else given.gains
    dropout = given.dropout[order.rows] if given.dropout.numel() else given.dropout
    keep = given.keep
    if keep.numel():
        keep = keep.flatten(1, 2)[:, order.index]
    tensors = {"vectors": given.vectors, "gains": gains, "dropout": dropout, "keep": keep}
    wider = {name: packing.padded(tensor, hidden) if tensor.numel() else None for name, tensor in tensors.items()}
    if kernel.normalized:
        inputs = given.gains[: len(given.b)]
        wider |= {"x_gains": packing.blocked(inputs, hidden), "x_shifts": packing.blocked(given.b, hidden)}
    return {"offsets": order.offsets, "index": order.index, "order": order.rows, **wider}


def _stages(kernel: Kernel, U: Tensor, pack: Any) -> dict[str, Tensor | None]:
    """U of the early and of the late gates, packed; each factor of its own has a part."""
    hidden = U.shape[1]
    late = len(kernel.equation.late)
    border = len(U) - late * hidden
    early = pack(U[:border], hidden) if border else None
    if not late:
        return {"early": early}
    parts = U[border:].chunk(kernel.factors)
    return {"early": early, "late": torch.cat([pack(part, hidden).flatten() for part in parts])}


def _threads(multiplications: int) -> int:
    """A thread takes some 30 microseconds to begin: what a core multiplies meanwhile is not worth a second one."""
    return 1 if multiplications < 4_000_000 else torch.get_num_threads()


def _project(task: Task) -> Tensor:
    """W x + b of all steps, packed: ``(total, blocks, X, 16)``. Where it is normalised, b comes later."""
    kernel, order, given = task
    hidden, features = given.U.shape[1], given.x.shape[2]
    bias = packing.blocked(given.b, hidden)
    out = empty(given.x.shape[0] * given.x.shape[1], len(bias))
    native.products("times")(
        rows=order.total,
        depth=features,
        columns=len(bias),
        threads=_threads(order.total * len(bias) * features),
        a_stride=features,
        out_stride=len(bias),
        a=given.x,
        packed=packing.columns(given.W, hidden),
        bias=None if kernel.normalized else pad(bias, (0, len(bias) % 32)),
        out=out,
        **{"from": order.index},
    )
    return out


def _normalize(task: Task, projected: Tensor) -> Tensor:
    gates, hidden, order = len(task.kernel.equation.x_gates), task.given.U.shape[1], task.order
    deviations = empty(len(projected), gates)
    threads = _threads(16 * projected.numel())
    native.products("normalize")(
        rows=order.total, gates=gates, hidden=hidden, threads=threads, values=projected, deviations=deviations
    )
    return deviations


def _unnormalize(task: Task, kept: Kept, dx: Tensor) -> tuple[Tensor, Tensor]:
    """Turn dx into the gradient of W x, in place, and return those of b and of the gains."""
    kernel, order, given = task
    gates, hidden = len(kernel.equation.x_gates), given.U.shape[1]
    sums = dx.new_zeros(-(-order.total // 64), 2, dx.shape[1] // (gates * packing.LANES), gates, packing.LANES)
    native.products("unnormalize")(
        rows=order.total,
        gates=gates,
        hidden=hidden,
        threads=_threads(16 * dx.numel()),
        values=dx,
        deviations=kept.deviations_x,
        gains=packing.blocked(given.gains[: len(given.b)], hidden),
        normal=kept.normal_x,
        sums=sums,
    )
    shift, gain = sums.sum(0).transpose(1, 2).flatten(2)[:, :, :hidden].flatten(1)
    return shift, gain


def _x_gradient(task: Task, dx: Tensor) -> Tensor:
    """dx W, from the packed order back to the caller's."""
    order, given = task.order, task.given
    features, whole = given.x.shape[2], order.total == given.x.shape[0] * given.x.shape[1]
    out = torch.empty_like(given.x) if whole else torch.zeros_like(given.x)
    native.products("times")(
        rows=order.total,
        depth=dx.shape[1],
        columns=features,
        threads=_threads(order.total * features * dx.shape[1]),
        a_stride=dx.shape[1],
        out_stride=features,
        a=dx,
        packed=packing.depth(given.W, given.U.shape[1]),
        out=out,
        to=order.index,
    )
    return out


def _input_gradients(task: Task, dx: Tensor) -> tuple[Tensor, Tensor]:
    order, given = task.order, task.given
    W, b = torch.zeros_like(given.W), torch.zeros_like(given.b)
    rows = given.x.view(-1, given.x.shape[2])  # for an axis of one step may have any stride
    _add_gradient(order.total, dx, rows, W, given.U.shape[1], bias=b, **{"from": order.index})
    return W, b


def _recurrent_gradient(task: Task, kept: Kept, back: _Back) -> Tensor:
    kernel, order, given = task
    hidden, late = given.U.shape[1], len(kernel.equation.late)
    U = torch.zeros_like(given.U)
    early, *others = U.split(
        [len(U) - late * hidden, *[late // f * hidden for f in [kernel.factors] * kernel.factors]]
    )
    if len(early):
        fed = kept.fed[:, kernel.factors] if given.dropout.numel() else kept.before[:, 0]
        _add_gradient(order.total, back.du, fed, early, hidden)
    for i, out in enumerate(others):
        _add_gradient(order.total, back.dlate[i], kept.fed[:, i], out, hidden)
    return U


def _add_gradient(rows: int, d: Tensor, a: Tensor, out: Tensor, hidden: int, **more: Tensor) -> None:
    """Out += the sum over rows of d^T a."""
    native.products("gradient")(
        rows=rows,
        gates=len(out) // hidden,
        hidden=hidden,
        columns=out.shape[1],
        threads=_threads(rows * out.numel()),
        a_stride=a.stride(0),
        d=d,
        a=a,
        out=out,
        **more,
    )
