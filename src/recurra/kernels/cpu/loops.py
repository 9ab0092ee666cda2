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
    keep: Tensor  # (S, B, T, H) booleans, (S,) shares or empty


class Kept(NamedTuple):
    """What the way forward leaves for the way back, packed by time, each row of H units filled up to Hp."""

    before: Tensor  # (total, S, Hp): the state before each step
    fed: Tensor  # (total, D, Hp): what U multiplies where it is not h
    values: Tensor  # (total, blocks, K, 16)
    normal: Tensor  # (total, G, Hp): normalised U h
    deviations: Tensor  # (total, G)
    normal_x: Tensor  # (total, blocks, X, 16): normalised W x
    deviations_x: Tensor  # (total, X)


class Gradients(NamedTuple):
    """Of a call's tensors; x has None where nobody asked."""

    x: Tensor | None
    W: Tensor
    b: Tensor
    U: Tensor
    vectors: Tensor
    gains: Tensor
    first: Tensor


class Task(NamedTuple):
    """One loop to run: its kernel, the order of its batch, and the tensors."""

    kernel: Kernel
    order: Order
    given: Given


class Part(NamedTuple):
    """Some steps of a batch, and where their rows stand in the packed order."""

    begin: int
    end: int
    first: int
    last: int


ROWS = 4096  # packed rows whose x and whose gradients are in memory at a time


def _parts(order: Order) -> list[Part]:
    """The steps of a batch in parts of some `ROWS` rows, so that what is not kept stays small and near."""
    if order.total <= ROWS:
        return [Part(0, order.steps, 0, order.total)] if order.steps else []
    steps = max(16, ROWS * order.steps // max(order.total, 1))
    begins = range(0, order.steps, steps)
    offsets = [int(order.offsets[begin]) for begin in begins] + [order.total]
    ends = [*begins[1:], order.steps]
    return [Part(*part) for part in zip(begins, ends, offsets[:-1], offsets[1:], strict=True)]


def forward(tasks: list[Task], trains: bool) -> list[tuple[Tensor, Tensor, Kept]]:
    """For each task y ``(B, T, H)``, zero in the padding, the last state, and what `backward` needs.

    The loops of several tasks run at the same time, a thread each.
    """
    results, values = [], []
    for task in tasks:
        given = task.given
        kept, last = _room(task, trains), torch.empty_like(given.first)
        batch, time, _ = given.x.shape
        y = empty(batch, time, given.U.shape[1])
        if task.order.total < batch * time:
            y.zero_()
        results.append((y, last, kept))
        common = {**_sizes(task, len(tasks) > 1, trains), **_common(task), **_kept(kept)}
        stages = _stages(task.kernel, given.U, packing.forward_stage)
        values.append({**common, **stages, "first": given.first, "y": y, "last": last})
    weights = [_packed(task) for task in tasks]
    for part in _parts(tasks[0].order):
        calls = []
        for task, result, packed, fixed in zip(tasks, results, weights, values, strict=True):
            x = _project(task, part, packed, result[2])
            calls.append((task.kernel.forward, {**fixed, "begin": part.begin, "end": part.end, "x": x}))
        native.together(calls)
    if not tasks[0].order.steps:  # no row has a step: the state stays
        return [(y, task.given.first.clone(), kept) for task, (y, _, kept) in zip(tasks, results, strict=True)]
    return results


def step_values(task: Task) -> dict[str, Any]:
    """The arguments of a loop of one step, by one thread, without x, the states and y."""
    stages = _stages(task.kernel, task.given.U, packing.forward_stage)
    return {
        **_sizes(task, True, False),
        **_common(task),
        **stages,
        **_kept(_room(task, False)),
        "begin": 0,
        "end": 1,
    }


def backward(
    tasks: list[Task], kept: list[Kept], dy: list[Tensor], dlast: list[Tensor], wants_x: bool
) -> list[Gradients]:
    """Gradients of everything given, from those of each y and of each last state."""
    backs = [Back(*parts, wants_x) for parts in zip(tasks, kept, dlast, strict=True)]
    values = [
        {
            **_sizes(task, len(tasks) > 1, True),
            **_common(task),
            **_kept(k),
            **_stages(task.kernel, task.given.U, packing.depth),
        }
        | back.room()
        | {"dy": d}
        for task, k, back, d in zip(tasks, kept, backs, dy, strict=True)
    ]
    for part in reversed(_parts(tasks[0].order)):
        calls = []
        for task, back, fixed in zip(tasks, backs, values, strict=True):
            now = {"begin": part.begin, "end": part.end, **back.begin(part)}
            calls.append((task.kernel.backward, {**fixed, **now}))
        native.together(calls)
        for back in backs:
            back.add(part)
    return [back.found() for back in backs]


def _wide(given: Given) -> int:
    """H filled up to a whole number of vectors."""
    return given.U.shape[1] + -given.U.shape[1] % packing.LANES


def _or_null(tensor: Tensor) -> Tensor | None:
    return tensor if tensor.numel() else None


def _kept(kept: Kept) -> dict[str, Tensor | None]:
    return {name: _or_null(tensor) for name, tensor in zip(_KEPT, kept, strict=False)}


_KEPT = ("before", "fed", "kept", "normal", "deviations")  # as the loops call them


def _room(task: Task, trains: bool) -> Kept:
    """Memory for what a pass leaves behind; in inference two steps take turns in it."""
    kernel, order, given = task
    wide = _wide(given)
    places = given.x.shape[0] * given.x.shape[1]  # pages that padding never touches cost nothing
    steps = places if trains else 0
    rows = steps + SPARE if trains else 2 * (order.batch + SPARE)
    gates = len(kernel.equation.u_gates) if kernel.normalized and trains else 0
    fed = kernel.factors + (1 if given.dropout.numel() else 0)
    inputs = len(kernel.equation.x_gates) if kernel.normalized else 0
    return Kept(
        empty(rows, given.first.shape[0], wide),
        empty(rows, fed, wide),
        empty(steps, kernel.kept, wide),
        empty(steps, gates, wide),
        empty(steps, gates),
        empty(places, inputs * wide),
        empty(places, inputs),
    )


def _sizes(task: Task, one_thread: bool, trains: bool) -> dict[str, int]:
    order, hidden = task.order, task.given.U.shape[1]
    team = _team(order, task.given.U.shape[0] // hidden, hidden, task.kernel.normalized)
    threads, by_units = (1, False) if one_thread else team
    sizes = {"batch": order.batch, "steps": order.steps, "total": order.total, "hidden": hidden}
    places = task.given.x.shape[0] * task.given.x.shape[1]
    flags = {"by_units": int(by_units), "trains": int(trains)}
    return {**sizes, **flags, "threads": threads, "places": places}


OWN_CACHE = 600_000  # bytes of U above which each thread should keep a part of it
OWN_FIRST = 40_000  # the same where there are too few rows to share


LITTLE = 100_000  # equations below which one thread is done before another has begun, where units have no product


def _team(order: Order, gates: int, hidden: int, normalized: bool) -> tuple[int, bool]:
    """How many threads run the loop, and whether each takes a part of the units instead of a part of the rows."""
    threads, batch = torch.get_num_threads(), order.batch
    if not gates and order.total * hidden < LITTLE:
        return 1, False
    if not gates and batch < 4 * threads:
        return threads, True  # without ever waiting for each other
    first = 4 * OWN_FIRST if normalized else OWN_FIRST  # they meet more often
    if 4 * gates * hidden * hidden > (OWN_CACHE if batch > 4 else first) and hidden > 32:
        return threads, True
    return min(threads, (batch + 3) // 4), False


def _common(task: Task) -> dict[str, Tensor | None]:
    """What both directions read."""
    kernel, order, given = task
    hidden = given.U.shape[1]
    gains = given.gains[len(given.b) :] if kernel.normalized else given.gains
    dropout = given.dropout[order.rows] if given.dropout.numel() else given.dropout
    tensors = {"vectors": given.vectors, "gains": gains, "dropout": dropout}
    wider = {name: packing.padded(tensor, hidden) if tensor.numel() else None for name, tensor in tensors.items()}
    if kernel.normalized:
        inputs = given.gains[: len(given.b)]
        wider |= {"x_gains": packing.blocked(inputs, hidden), "x_shifts": packing.blocked(given.b, hidden)}
    if given.keep.dtype == torch.bool:  # read by whole vectors
        wider["keep"] = pad(given.keep.flatten(), (0, packing.LANES - 1)) if hidden % packing.LANES else given.keep
    elif given.keep.numel():
        wider["shares"] = given.keep
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


def _from(index: Tensor, part: Part) -> Tensor:
    return index[part.first :] if part.first else index


def _threads(multiplications: int) -> int:
    """A thread takes some 30 microseconds to begin, more if it sleeps: for less than that one core does alone."""
    return 1 if multiplications < 8_000_000 else torch.get_num_threads()


def _packed(task: Task) -> tuple[Tensor, Tensor | None]:
    """W and b as the product over all steps reads them; b comes later where W x is normalised."""
    kernel, _, given = task
    hidden = given.U.shape[1]
    weights = packing.columns(given.W, hidden)
    if kernel.normalized:
        return weights, None
    bias = packing.blocked(given.b, hidden)
    fill = -bias.shape[0] % (2 * packing.LANES)
    return weights, pad(bias, (0, fill)) if fill else bias


def _project(task: Task, part: Part, packed: tuple[Tensor, Tensor | None], kept: Kept) -> Tensor:
    """W x + b of some steps, packed: ``(rows, blocks, X, 16)``; or W x normalised, to which b comes later."""
    kernel, order, given = task
    features, rows = given.x.shape[2], part.last - part.first
    columns = len(kernel.equation.x_gates) * _wide(given)
    out = kept.normal_x[part.first : part.last] if kernel.normalized else empty(rows, columns)
    native.products("times")(
        rows=rows,
        depth=features,
        columns=columns,
        threads=_threads(rows * columns * features),
        a_stride=features,
        out_stride=columns,
        a=given.x,
        packed=packed[0],
        bias=packed[1],
        out=out,
        **{"from": _from(order.index, part)},
    )
    if kernel.normalized:
        native.products("normalize")(
            rows=rows,
            gates=len(kernel.equation.x_gates),
            hidden=given.U.shape[1],
            threads=_threads(16 * out.numel()),
            values=out,
            deviations=kept.deviations_x[part.first :],
        )
    return out


class Back:
    """The gradients of one task, part after part: what its loop leaves, multiplied over the steps of each part."""

    def __init__(self, task: Task, kept: Kept, dlast: Tensor, wants_x: bool) -> None:
        self.task, self.kept = task, kept
        kernel, order, given = task
        gates, tiles, wide = len(kernel.equation.u_gates), (order.batch + 3) // 4, _wide(given)
        self.dfirst = dlast.clone(memory_format=torch.contiguous_format)
        self.dvectors = given.x.new_zeros(tiles, len(given.vectors), wide)
        self.dgains = given.x.new_zeros(tiles, gates if kernel.normalized else 0, wide)
        self.W, self.b, self.U = (torch.zeros_like(tensor) for tensor in (given.W, given.b, given.U))
        self.gain_x = torch.zeros_like(given.b) if kernel.normalized else given.gains
        self.x: Tensor | None = None
        if wants_x:
            whole = order.total == given.x.shape[0] * given.x.shape[1]
            self.x = torch.empty_like(given.x) if whole else torch.zeros_like(given.x)
            self.weights = packing.depth(given.W, given.U.shape[1])

    def room(self) -> dict[str, Tensor]:
        """What the loop fills in all of its parts."""
        kernel, order, given = self.task
        flow = empty(len(given.first), order.batch, _wide(given))
        dfed = empty(order.batch, kernel.factors, _wide(given))
        made = {"dstate": self.dfirst, "dvectors": self.dvectors, "dgains": self.dgains}
        return {**made, "flow": flow, "dfed": dfed}

    def begin(self, part: Part) -> dict[str, Tensor]:
        """What the loop fills in one part."""
        kernel, given = self.task.kernel, self.task.given
        equation, rows, wide = kernel.equation, part.last - part.first + SPARE, _wide(given)
        early, late = len(equation.u_gates) - len(equation.late), len(equation.late)
        self.dx = empty(rows, len(equation.x_gates) * wide)
        self.du = self.dx if equation.same and not kernel.normalized else empty(rows, early * wide)
        self.dlate = empty(kernel.factors, rows, late // max(kernel.factors, 1) * wide)
        return {"dx": self.dx, "du": self.du, "dlate": self.dlate}

    def add(self, part: Part) -> None:
        """The products over the steps of a part."""
        order, given = self.task.order, self.task.given
        if self.task.kernel.normalized:
            self._unnormalize(part)
        x = given.x.view(-1, given.x.shape[2])  # for an axis of one step may have any stride
        bias = None if self.task.kernel.normalized else self.b
        self._add(part, self.dx, x, self.W, bias=bias, **{"from": _from(order.index, part)})
        self._add_recurrent(part)
        if self.x is not None:
            native.products("times")(
                rows=part.last - part.first,
                depth=self.dx.shape[1],
                columns=x.shape[1],
                threads=_threads((part.last - part.first) * self.W.numel()),
                a_stride=self.dx.shape[1],
                out_stride=x.shape[1],
                a=self.dx,
                packed=self.weights,
                out=self.x,
                to=_from(order.index, part),
            )

    def found(self) -> Gradients:
        """All gradients, when the first part is done."""
        given, hidden = self.task.given, self.task.given.U.shape[1]
        vectors, gains = torch.empty_like(given.vectors), torch.empty_like(given.gains)
        if vectors.numel():
            vectors = self.dvectors.sum(0)[:, :hidden].contiguous()
        if self.task.kernel.normalized:
            gains = torch.cat([self.gain_x, self.dgains.sum(0)[:, :hidden].flatten()])
        return Gradients(self.x, self.W, self.b, self.U, vectors, gains, self.dfirst)

    def _add_recurrent(self, part: Part) -> None:
        kernel, _, given = self.task
        hidden, late, kept = given.U.shape[1], len(kernel.equation.late), self.kept
        factors = kernel.factors
        early, *others = self.U.split(
            [len(self.U) - late * hidden, *[late // f * hidden for f in [factors] * factors]]
        )
        if len(early):
            fed = kept.fed[:, factors] if given.dropout.numel() else kept.before[:, 0]
            self._add(part, self.du, fed[part.first :], early)
        for i, out in enumerate(others):
            self._add(part, self.dlate[i], kept.fed[part.first :, i], out)

    def _add(self, part: Part, d: Tensor, a: Tensor, out: Tensor, **more: Tensor | None) -> None:
        """Out += the sum over rows of d^T a."""
        hidden, rows = self.task.given.U.shape[1], part.last - part.first
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

    def _unnormalize(self, part: Part) -> None:
        """Turn dx into the gradient of W x, in place, and add to those of b and of the gains."""
        kernel, _, given = self.task
        rows, gates, hidden = part.last - part.first, len(kernel.equation.x_gates), given.U.shape[1]
        sums = self.dx.new_zeros(-(-rows // 64), 2, _wide(given) // packing.LANES, gates, packing.LANES)
        native.products("unnormalize")(
            rows=rows,
            gates=gates,
            hidden=hidden,
            threads=_threads(16 * self.dx.numel()),
            values=self.dx,
            deviations=self.kept.deviations_x[part.first :],
            gains=packing.blocked(given.gains[: len(given.b)], hidden),
            normal=self.kept.normal_x[part.first :],
            sums=sums,
        )
        shift, gain = sums.sum(0).transpose(1, 2).flatten(2)[:, :, :hidden].flatten(1)
        self.b += shift
        self.gain_x += gain
