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
from recurra.kernels.cpu.packing import Order
from recurra.kernels.equation import Equation

__all__ = ["Given", "Gradients", "Kept", "Kernel", "backward", "forward"]

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


def forward(kernel: Kernel, order: Order, given: Given, trains: bool) -> tuple[Tensor, Tensor, Kept]:
    """y ``(B, T, H)``, where padding holds anything, the last state ``(S, B, H)``, and what `backward` needs."""
    hidden, (batch, time, _) = given.U.shape[1], given.x.shape
    wide = hidden + -hidden % packing.LANES
    y, last = given.x.new_empty(batch, time, hidden), torch.empty_like(given.first)
    kept = _room(kernel, order, given, trains, wide)
    projected = _project(kernel, order, given)
    if kernel.normalized:
        kept = kept._replace(normal_x=projected, deviations_x=_normalize(kernel, order, projected, hidden))
    kernel.forward(
        **_sizes(order, given, trains),
        **_common(kernel, order, given),
        **_stages(kernel, given.U, packing.forward_stage),
        x=projected,
        first=given.first,
        y=y,
        last=last,
        **_kept(kept),
    )
    return y, last, kept


def backward(
    kernel: Kernel, order: Order, given: Given, kept: Kept, dy: Tensor, dlast: Tensor, wants_x: bool
) -> Gradients:
    """Gradients of everything given, from those of y and of the last state."""
    hidden = given.U.shape[1]
    wide, tiles = hidden + -hidden % packing.LANES, (order.batch + 3) // 4
    equation, rows = kernel.equation, order.total + SPARE
    gates, late = len(equation.u_gates), len(equation.late)
    same = equation.same and not kernel.normalized and not late
    dx = given.x.new_empty(rows, len(equation.x_gates) * wide)
    du = dx if same else given.x.new_empty(rows, (gates - late) * wide)
    dlate = given.x.new_empty(kernel.factors, rows, late // max(kernel.factors, 1) * wide)
    dfirst = dlast.clone(memory_format=torch.contiguous_format)
    dvectors = given.x.new_zeros(tiles, len(given.vectors), wide)
    dgains = given.x.new_zeros(tiles, gates if kernel.normalized else 0, wide)
    flow = given.x.new_empty(len(dfirst), order.batch, wide)
    kernel.backward(
        **_sizes(order, given, True),
        **_common(kernel, order, given),
        **_stages(kernel, given.U, packing.depth),
        dy=dy,
        dx=dx,
        du=du,
        dlate=dlate,
        dstate=dfirst,
        dvectors=dvectors,
        dgains=dgains,
        flow=flow,
        dfed=given.x.new_empty(order.batch, max(kernel.factors, 1), wide),
        **_kept(kept),
    )
    gains = dgains.sum(0)[:, :hidden].flatten()
    if kernel.normalized:
        b, gain_x = _unnormalize(kernel, order, given, kept, dx)
        W, _ = _input_gradients(order, given, dx)
        gains = torch.cat([gain_x, gains])
    else:
        W, b = _input_gradients(order, given, dx)
    return Gradients(
        _x_gradient(order, given, dx) if wants_x else None,
        W,
        b,
        _recurrent_gradient(kernel, order, given, kept, du, dlate),
        dvectors.sum(0)[:, :hidden],
        gains,
        dfirst,
    )


def _or_null(tensor: Tensor) -> Tensor | None:
    return tensor if tensor.numel() else None


def _kept(kept: Kept) -> dict[str, Tensor | None]:
    names = ("before", "fed", "kept", "normal", "deviations")
    return {name: _or_null(tensor) for name, tensor in zip(names, kept, strict=False)}


def _room(kernel: Kernel, order: Order, given: Given, trains: bool, wide: int) -> Kept:
    """Memory for what a pass leaves behind; in inference two steps take turns in it."""
    rows = order.total + SPARE if trains else 2 * (order.batch + SPARE)
    gates = len(kernel.equation.u_gates) if kernel.normalized and trains else 0
    fed = kernel.factors + (1 if given.dropout.numel() else 0)
    return Kept(
        given.x.new_empty(rows, len(given.first), wide),
        given.x.new_empty(rows, fed, wide),
        given.x.new_empty(order.total if trains else 0, kernel.kept, wide),
        given.x.new_empty(order.total if trains else 0, gates, wide),
        given.x.new_empty(order.total if trains else 0, gates),
        given.x.new_empty(0),
        given.x.new_empty(0),
    )


def _sizes(order: Order, given: Given, trains: bool) -> dict[str, int]:
    gates, hidden = len(given.U) // given.U.shape[1], given.U.shape[1]
    threads, by_units = _team(order.batch, gates, hidden)
    sizes = {"batch": order.batch, "steps": order.steps, "total": order.total, "hidden": hidden}
    return {**sizes, "threads": threads, "by_units": by_units, "trains": int(trains)}


OWN_CACHE = 600_000


def _team(batch: int, gates: int, hidden: int) -> tuple[int, bool]:
    """How many threads run the loop, and whether each takes a part of the units instead of a part of the rows."""
    threads = torch.get_num_threads()
    if 4 * gates * hidden * hidden > OWN_CACHE and hidden > 32:
        return threads, True
    return min(threads, (batch + 3) // 4), False


def _common(kernel: Kernel, order: Order, given: Given) -> dict[str, Tensor | None]:
    """What both directions read."""
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


def _project(kernel: Kernel, order: Order, given: Given) -> Tensor:
    """W x + b of all steps, packed: ``(total, blocks, X, 16)``. Where it is normalised, b comes later."""
    hidden, features = given.U.shape[1], given.x.shape[2]
    bias = packing.blocked(given.b, hidden)
    out = given.x.new_empty(order.total, len(bias))
    native.times(
        rows=order.total,
        depth=features,
        columns=len(bias),
        threads=_threads(out.numel() * features),
        a_stride=features,
        out_stride=len(bias),
        a=given.x,
        packed=packing.columns(given.W, hidden),
        bias=None if kernel.normalized else pad(bias, (0, len(bias) % 32)),
        out=out,
        **{"from": order.index},
    )
    return out


def _normalize(kernel: Kernel, order: Order, projected: Tensor, hidden: int) -> Tensor:
    gates = len(kernel.equation.x_gates)
    deviations = projected.new_empty(order.total, gates)
    threads = _threads(16 * projected.numel())
    native.normalize(
        rows=order.total, gates=gates, hidden=hidden, threads=threads, values=projected, deviations=deviations
    )
    return deviations


def _unnormalize(kernel: Kernel, order: Order, given: Given, kept: Kept, dx: Tensor) -> tuple[Tensor, Tensor]:
    """Turn dx into the gradient of W x, in place, and return those of b and of the gains."""
    gates, hidden = len(kernel.equation.x_gates), given.U.shape[1]
    sums = dx.new_zeros(-(-order.total // 64), 2, dx.shape[1] // (gates * packing.LANES), gates, packing.LANES)
    native.unnormalize(
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


def _x_gradient(order: Order, given: Given, dx: Tensor) -> Tensor:
    """dx W, from the packed order back to the caller's."""
    features, whole = given.x.shape[2], order.total == given.x.shape[0] * given.x.shape[1]
    out = torch.empty_like(given.x) if whole else torch.zeros_like(given.x)
    native.times(
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


def _input_gradients(order: Order, given: Given, dx: Tensor) -> tuple[Tensor, Tensor]:
    W, b = torch.zeros_like(given.W), torch.zeros_like(given.b)
    _add_gradient(order.total, dx, given.x, W, given.U.shape[1], bias=b, **{"from": order.index})
    return W, b


def _recurrent_gradient(
    kernel: Kernel, order: Order, given: Given, kept: Kept, du: Tensor, dlate: Tensor
) -> Tensor:
    hidden, late = given.U.shape[1], len(kernel.equation.late)
    U = torch.zeros_like(given.U)
    early, *others = U.split(
        [len(U) - late * hidden, *[late // f * hidden for f in [kernel.factors] * kernel.factors]]
    )
    if len(early):
        fed = kept.fed[:, kernel.factors] if given.dropout.numel() else kept.before[:, 0]
        _add_gradient(order.total, du, fed, early, hidden)
    for i, out in enumerate(others):
        _add_gradient(order.total, dlate[i], kept.fed[:, i], out, hidden)
    return U


def _add_gradient(rows: int, d: Tensor, a: Tensor, out: Tensor, hidden: int, **more: Tensor) -> None:
    """Out += the sum over rows of d^T a."""
    native.gradient(
        rows=rows,
        gates=len(out) // hidden,
        hidden=hidden,
        columns=out.shape[1],
        threads=_threads(rows * out.numel()),
        a_stride=a.stride(-2),
        d=d,
        a=a,
        out=out,
        **more,
    )
