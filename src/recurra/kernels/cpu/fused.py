"""The fused CPU variant of the recurrence: an equation compiled into one loop over time, forward and backward."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from recurra import tree
from recurra.errors import BuildError, EquationError
from recurra.kernels import torch_functions
from recurra.kernels.cpu import emit, loops, native, operation
from recurra.kernels.cpu.known import Known, traced
from recurra.kernels.cpu.loops import Given, Kept, Kernel, Task
from recurra.kernels.cpu.packing import order_of
from recurra.kernels.recurrence import Call, Cell, Pair, Weights, define
from recurra.kernels.saving import save

__all__ = ["accepts", "accepts_both", "kernel_of", "run", "run_both", "run_captured", "watched"]


def _make(cell: Cell) -> Kernel:
    equation = traced(cell)
    kept, factors = len(save(equation.forward, equation.backward).kept), 0
    if equation.inner is not None and equation.inner_backward is not None:
        kept += len(save(equation.inner, equation.inner_backward).kept)
        factors = len(equation.inner.outputs)
    source = emit.source(equation, type(cell).__name__, cell.normalized)
    return Kernel(equation, cell.normalized, kept, factors, source, *native.load_loops(source))


kernel_of = Known(_make)  # the compiled kernel of a cell as it is now, or EquationError or BuildError why not

LITTLE = 1_000_000  # multiplications that are done before a second thread has begun
TYPES = (torch.float32, torch.bfloat16, torch.float16)


def accepts(call: Call) -> str:
    """Why the fused kernel cannot take a call, or ""."""
    x, weights = call.x, call.weights
    if x.device.type != "cpu":
        return f"the fused kernel runs on the processor, x is on {x.device}"
    if x.dtype not in TYPES or weights.U.dtype not in TYPES:
        return f"the fused kernel computes in float32, x is {x.dtype}"
    if _half(call) and torch_functions.kind(call.cell) == "lstm" and not torch_functions.accepts(call):
        return "torch's own LSTM multiplies in 16 bits, the fused kernel in 32"
    if not _keeps(call):
        return "the fused kernel keeps whole units, or the same share of all"
    if type(x) not in (Tensor, nn.Parameter) or watched():
        return "the fused kernel takes plain tensors, outside of compilers, torch.func and forward-mode gradients"
    try:
        kernel_of(call.cell)
    except (EquationError, BuildError) as error:
        return str(error)
    return ""


def _keeps(call: Call) -> bool:
    """Whether zoneout is one of the two kinds that the loop knows: masks, or one share for each state tensor."""
    leaves = () if call.keep is None else tuple(call.keep)
    masks = [leaf.dtype == torch.bool for leaf in leaves]
    return all(masks) or (not any(masks) and all(leaf.numel() == 1 for leaf in leaves))


def _half(call: Call) -> bool:
    return call.x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")


def watched() -> bool:
    """Whether a compiler, a transform of torch.func or forward-mode differentiation wants to see the operations."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return torch.compiler.is_compiling() or transformed or forward_ad._current_level >= 0


def run(call: Call) -> tuple[Tensor, Any]:
    """The loop by the compiled kernel, at a cost in proportion to the valid steps."""
    return _run([call])[0]


def run_captured(call: Call) -> tuple[Tensor, Any]:
    """The same for a compiler or an exporter that watches: one operation of torch, or else the definition."""
    fits = call.x.device.type == "cpu" and call.x.dtype in TYPES and _keeps(call)
    name = _name_of(call.cell) if fits else ""
    if not name:
        return define(call)
    given = _given(call)
    trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    y, last = operation.loop(*given, call.lengths, name, call.backwards, trains)[:2]
    return _as_asked(call, y, last)


@native.constant
def _name_of(cell: Cell) -> str:
    try:
        return operation.name_of(kernel_of(cell))
    except (EquationError, BuildError):
        return ""


def accepts_both(calls: Pair) -> str:
    """Why two loops cannot run at the same time, or ""."""
    if torch.get_num_threads() < 2:
        return "there is one thread only"
    if (
        sum(call.x.shape[0] * call.x.shape[1] * call.weights.U.numel() for call in (calls.ahead, calls.back))
        < LITTLE
    ):
        return "there is too little work for a second thread"
    return accepts(calls.ahead) or accepts(calls.back)


def run_both(calls: Pair) -> tuple[tuple[Tensor, Any], tuple[Tensor, Any]]:
    """Two loops over the same batch at the same time, a core each: both directions of a bidirectional layer."""
    first, second = _run([calls.ahead, calls.back])
    return first, second


def _run(calls: list[Call]) -> list[tuple[Tensor, Any]]:
    x, lengths = calls[0].x, calls[0].lengths
    if 0 in x.shape:
        return [define(call) for call in calls]
    cells, backwards = [call.cell for call in calls], [call.backwards for call in calls]
    given = [_given(call) for call in calls]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensors in given for tensor in tensors):
        made = _Loops.apply(cells, backwards, lengths, *sum(given, ()))
    else:
        tasks = _tasks(cells, backwards, lengths, given)
        made = sum(((y, last) for y, last, _ in loops.forward(tasks, False)), ())
    return [_as_asked(*parts) for parts in zip(calls, made[::2], made[1::2], strict=True)]


def _tasks(
    cells: list[Cell], backwards: list[bool], lengths: Tensor | None, given: list[tuple[Tensor, ...]]
) -> list[Task]:
    batch, time = given[0][0].shape[:2]
    orders = [order_of(batch, time, lengths, flag) for flag in backwards]
    tensors = [Given(*tensors) for tensors in given]
    return [Task(*parts) for parts in zip(map(kernel_of, cells), orders, tensors, strict=True)]


def _as_asked(call: Call, y: Tensor, last: Tensor) -> tuple[Tensor, Any]:
    """Outputs in the types of the caller's tensors."""
    leaves = [leaf.to(old.dtype) for leaf, old in zip(last.unbind(0), call.state, strict=True)]
    return y.to(call.x.dtype), type(call.state)(*leaves)


NONE = torch.empty(0)


def _given(call: Call) -> tuple[Tensor, ...]:
    """In float32 and contiguous, here and not inside the loop, so that second gradients find their way back."""
    weights, (batch, time, _) = call.weights, call.x.shape
    hidden, none = weights.U.shape[1], NONE
    keep = none
    if call.keep is not None:
        units = call.keep[0].dtype == torch.bool
        keep = torch.stack([k.expand(batch, time, hidden) if units else k.flatten()[0] for k in call.keep])
    given = Given(
        call.x,
        weights.W,
        weights.b,
        weights.U,
        torch.stack(weights.vectors) if weights.vectors else none.view(0, hidden),
        torch.cat(weights.gains) if weights.gains else none,
        torch.stack(tuple(call.state)) if len(call.state) > 1 else call.state[0].unsqueeze(0),
        none if call.dropout is None else call.dropout,
        keep,
    )
    return tuple((t if t.dtype == torch.bool else t.float()).contiguous() for t in given)


MANY = len(Given._fields)


class _Loops(torch.autograd.Function):
    """Compiled loops, one or two at the same time, as one differentiable operation."""

    @staticmethod
    def forward(
        ctx: Any, cells: list[Cell], backwards: list[bool], lengths: Tensor | None, *tensors: Tensor
    ) -> Any:
        given = [tensors[i : i + MANY] for i in range(0, len(tensors), MANY)]
        tasks = _tasks(cells, backwards, lengths, given)
        made = loops.forward(tasks, True)
        ctx.calls = cells, backwards, lengths, [task.kernel for task in tasks], [task.order for task in tasks]
        ctx.save_for_backward(*tensors, *(tensor for _, _, kept in made for tensor in kept))
        return tuple(tensor for y, last, _ in made for tensor in (y, last))

    @staticmethod
    def backward(ctx: Any, *flows: Tensor) -> Any:
        cells, backwards, lengths, kernels, orders = ctx.calls
        saved, tensors = ctx.saved_tensors, len(cells) * MANY
        given = [Given(*saved[i : i + MANY]) for i in range(0, tensors, MANY)]
        many = len(Kept._fields)
        kept = [Kept(*saved[i : i + many]) for i in range(tensors, len(saved), many)]
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            wants = [wanted[i : i + MANY] for i in range(0, tensors, MANY)]
            flowing = zip(flows[::2], flows[1::2], strict=True)
            parts = zip(cells, backwards, given, wants, flowing, strict=True)
            found = [_differentiable(*part, lengths) for part in parts]
            return None, None, None, *(tensor for gradients in found for tensor in gradients)
        tasks = [Task(*parts) for parts in zip(kernels, orders, given, strict=True)]
        dy = [flow.contiguous() for flow in flows[::2]]
        gradients = loops.backward(tasks, kept, dy, list(flows[1::2]), wanted[0])
        return None, None, None, *(tensor for one in gradients for tensor in (*one, None, None))


def _differentiable(
    cell: Cell,
    backwards: bool,
    given: Given,
    wanted: tuple[bool, ...],
    flows: tuple[Tensor, Tensor],
    lengths: Tensor | None,
) -> list[Any]:
    """The gradients by the reference loop, which can be differentiated again."""
    gains = given.gains.split([len(given.b), len(given.U)]) if given.gains.numel() else ()
    weights = Weights(given.W, given.U, given.b, tuple(given.vectors.unbind(0)), gains)
    dropout = given.dropout if given.dropout.numel() else None
    keep = None
    if given.keep.numel():
        leaves = given.keep if given.keep.dtype == torch.bool else given.keep.view(-1, 1, 1, 1)
        keep = tree.State(**dict(zip(cell.state, leaves, strict=True)))
    state = tree.State(**dict(zip(cell.state, given.first.unbind(0), strict=True)))
    with torch.autocast("cpu", enabled=False):
        y, last = define(Call(cell, given.x, state, weights, lengths, dropout, keep, backwards))
    inputs = [tensor for tensor, wants in zip(given, wanted, strict=True) if wants]
    outputs = (y, torch.stack(tuple(last)))
    found = iter(torch.autograd.grad(outputs, inputs, flows, create_graph=True, allow_unused=True))
    return [next(found) if wants else None for wants in wanted]
