"""The fused CPU variant of the recurrence: an equation compiled into one loop over time, forward and backward."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import BuildError, EquationError, RecurraError
from recurra.kernels.cpu import emit, loops, native
from recurra.kernels.cpu.loops import Given, Kept, Kernel
from recurra.kernels.cpu.packing import order_of
from recurra.kernels.equation import trace
from recurra.kernels.recurrence import Call, Cell, Weights, define
from recurra.kernels.saving import save

__all__ = ["accepts", "kernel_of", "run"]

_kernels: "WeakKeyDictionary[Any, list[Kernel]]" = WeakKeyDictionary()
_refused: "WeakKeyDictionary[Any, RecurraError]" = WeakKeyDictionary()


def kernel_of(cell: Cell) -> Kernel:
    """The compiled kernel of a cell as it is now. Raises EquationError or BuildError saying why there is none."""
    known = _kernels.setdefault(cell, [])
    for kernel in known:
        if kernel.equation.holds_for(cell):
            return kernel
    if cell in _refused:
        raise _refused[cell]
    try:
        known.insert(0, _make(cell))
    except (EquationError, BuildError) as error:
        _refused[cell] = error
        raise
    return known[0]


def _make(cell: Cell) -> Kernel:
    equation = trace(cell)
    kept, factors = len(save(equation.forward, equation.backward).kept), 0
    if equation.inner is not None and equation.inner_backward is not None:
        kept += len(save(equation.inner, equation.inner_backward).kept)
        factors = len(equation.inner.outputs)
    source = emit.source(equation, type(cell).__name__, cell.normalized)
    return Kernel(equation, cell.normalized, kept, factors, source, *native.load_loops(source))


def accepts(call: Call) -> str:
    """Why the fused kernel cannot take a call, or ""."""
    x, weights = call.x, call.weights
    if x.device.type != "cpu":
        return f"the fused kernel runs on the processor, x is on {x.device}"
    if x.dtype != torch.float32 or weights.U.dtype != torch.float32:
        return f"the fused kernel computes in float32, x is {x.dtype}"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and the fused kernel computes in float32"
    if type(x) not in (Tensor, nn.Parameter) or _watched():
        return "the fused kernel takes plain tensors, outside of compilers, torch.func and forward-mode gradients"
    try:
        kernel_of(call.cell)
    except (EquationError, BuildError) as error:
        return str(error)
    return ""


def _watched() -> bool:
    """Whether a compiler, a transform of torch.func or forward-mode differentiation wants to see the operations."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return torch.compiler.is_compiling() or transformed or forward_ad._current_level >= 0


def run(call: Call) -> tuple[Tensor, Any]:
    """The loop by the compiled kernel, at a cost in proportion to the valid steps."""
    if 0 in call.x.shape or (call.lengths is not None and not call.lengths.any()):
        return define(call)
    y, last = _Loop.apply(call.cell, call.lengths, False, *_given(call))
    return y, type(call.state)(*last.unbind(0))


def _given(call: Call) -> Given:
    """Contiguous here and not inside the loop, so that gradients of gradients find their way back to the inputs."""
    weights, (batch, time, _) = call.weights, call.x.shape
    hidden, none = weights.U.shape[1], call.x.new_empty(0)
    keep = none
    if call.keep is not None:
        keep = torch.stack([k.expand(batch, time, hidden) for k in call.keep])
    return Given(
        call.x.contiguous(),
        weights.W.contiguous(),
        weights.b.contiguous(),
        weights.U.contiguous(),
        torch.stack(weights.vectors) if weights.vectors else none.view(0, hidden),
        torch.cat(weights.gains) if weights.gains else none,
        torch.stack(tuple(call.state)).contiguous(),
        none if call.dropout is None else call.dropout.contiguous(),
        keep,
    )


class _Loop(torch.autograd.Function):
    """The two compiled loops as one differentiable operation."""

    @staticmethod
    def forward(ctx: Any, cell: Cell, lengths: Tensor | None, backwards: bool, *tensors: Tensor) -> Any:
        given, kernel = Given(*tensors), kernel_of(cell)
        order = order_of(given.x.shape[0], given.x.shape[1], lengths, backwards)
        y, last, kept = loops.forward(kernel, order, given, any(ctx.needs_input_grad))
        ctx.cell, ctx.kernel, ctx.order, ctx.lengths, ctx.backwards = cell, kernel, order, lengths, backwards
        ctx.save_for_backward(*given, *kept)
        return y, last

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> Any:
        given, kept = (
            Given(*ctx.saved_tensors[: len(Given._fields)]),
            Kept(*ctx.saved_tensors[len(Given._fields) :]),
        )
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return None, None, None, *_differentiable(ctx, given, wanted, dy, dlast)
        found = loops.backward(ctx.kernel, ctx.order, given, kept, dy.contiguous(), dlast, wanted[0])
        return None, None, None, *found, None, None


def _differentiable(ctx: Any, given: Given, wanted: tuple[bool, ...], dy: Tensor, dlast: Tensor) -> list[Any]:
    """The gradients by the reference loop, which can be differentiated again."""
    cell = ctx.cell
    gains = given.gains.split([len(given.b), len(given.U)]) if given.gains.numel() else ()
    weights = Weights(given.W, given.U, given.b, tuple(given.vectors.unbind(0)), gains)
    dropout = given.dropout if given.dropout.numel() else None
    keep = tree.State(**dict(zip(cell.state, given.keep, strict=True))) if given.keep.numel() else None
    state = tree.State(**dict(zip(cell.state, given.first.unbind(0), strict=True)))
    y, last = define(Call(cell, given.x, state, weights, ctx.lengths, dropout, keep))
    y = ragged.blank(y, ctx.lengths)
    inputs = [tensor for tensor, wants in zip(given, wanted, strict=True) if wants]
    found = iter(
        torch.autograd.grad(
            (y, torch.stack(tuple(last))), inputs, (dy, dlast), create_graph=True, allow_unused=True
        )
    )
    return [next(found) if wants else None for wants in wanted]
