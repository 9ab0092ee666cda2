"""An equation on maps by its compiled kernel (pointwise.h), and a single equation as an operation of torch.

Maps ``(B, H, M, N)`` lie channels last in memory here, as convolutions on processors want them.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.errors import BuildError, EquationError
from recurra.kernels.cpu import emit, native
from recurra.kernels.cpu.fused import watched
from recurra.kernels.cpu.known import Known, traced
from recurra.kernels.cpu.memory import empty
from recurra.kernels.cpu.packing import LANES
from recurra.kernels.equation import Equation
from recurra.kernels.pointwise import PointCall, define
from recurra.kernels.saving import save

__all__ = ["Kernel", "accepts", "channels_last", "gates", "kept_of", "kernel_of", "refusal", "run", "threads_for"]

LITTLE = 1 << 14  # numbers of a state that are done before a second thread has begun


class Kernel(NamedTuple):
    """An equation and its compiled functions."""

    equation: Equation
    kept: int  # values that the way back reads, for each number of the state
    forward: native.Function
    backward: native.Function


def _make(cell: Any) -> Kernel:
    equation = traced(cell)
    names = (equation.x_gates, equation.u_gates, equation.state, equation.vectors)
    counts = dict(zip("xusp", map(len, names), strict=True))
    functions = native.load_pointwise(emit.pointwise(equation, type(cell).__name__), counts)
    return Kernel(equation, len(save(equation.forward, equation.backward).kept), *functions)


kernel_of = Known(_make)  # the kernel of a cell as it is now, or EquationError or BuildError why there is none


def refusal(cell: Any, tensors: tuple[Tensor, ...]) -> str:
    """Why there is no kernel for a cell on these tensors, or ""."""
    place = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), None)
    if place is not None:
        return f"the fused kernel runs on the processor, x is on {place}"
    if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in tensors) or watched():
        return "the fused kernel takes plain tensors, outside of compilers, torch.func and forward-mode gradients"
    try:
        kernel_of(cell)
    except (EquationError, BuildError) as error:
        return str(error)
    return ""


def channels_last(maps: Tensor) -> Tensor:
    """``(B, C, M, N)``, copied if its memory is not in the order of ``(B, M, N, C)``."""
    return maps.contiguous(memory_format=torch.channels_last)


def threads_for(numbers: int) -> int:
    """How many threads that many numbers of a state are worth."""
    return torch.get_num_threads() if numbers > LITTLE else 1


def kept_of(kernel: Kernel, frames: int, places: int, hidden: int) -> Tensor:
    """Room for what the way back reads."""
    return empty(frames, places, -(-hidden // LANES), kernel.kept, LANES)


def gates(array: str, product: Tensor, count: int, at: int = 0) -> dict[str, int]:
    """The gates of a product ``(frames, M, N, count * H)`` from frame ``at`` on, as the arrays of a call."""
    width, size = product.shape[-1], product.element_size()
    begin = product.data_ptr() + at * product.stride(0) * size
    places = {f"{array}{i}": begin + i * (width // count) * size for i in range(count)}
    return places | {f"{array[-1]}_stride{i}": width for i in range(count)}


# One equation by itself.


def accepts(call: PointCall) -> str:
    """Why the kernel cannot take an equation on maps, or ""."""
    products = {tensor.dtype for tensor in (*call.x, *call.u)}
    if len(products) > 1 or not products <= {torch.float32, torch.bfloat16}:
        return f"the fused kernel reads products of float32 or of bfloat16, got {sorted(map(str, products))}"
    if any(leaf.dtype != torch.float32 for leaf in call.state):
        return f"the fused kernel keeps states in float32, got {call.state[0].dtype}"
    if call.x[0].dim() not in (3, 4):
        return f"the fused kernel takes maps of one or two dimensions, got {tuple(call.x[0].shape)}"
    return refusal(call.cell, (*call.x, *call.u, *call.state))


def run(call: PointCall) -> Any:
    """The new state by the compiled kernel."""
    if call.x[0].numel() == 0:
        return define(call)
    flat = call.x[0].dim() == 3
    given = [tensor.unsqueeze(2) if flat else tensor for tensor in (*call.x, *call.u, *call.state)]
    trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    after = _Equation.apply(call.cell, trains, *given)
    return tree.State(**{n: v.squeeze(2) if flat else v for n, v in zip(call.cell.state, after, strict=True)})


def _stride(maps: Tensor) -> int:
    """Numbers from one place to the next if maps lie channels last, perhaps within wider ones; else 0."""
    batch, channels, rows, columns = maps.shape
    if channels > 1 and maps.stride(1) != 1:
        return 0
    steps = [(columns, maps.stride(3), 1), (rows, maps.stride(2), columns), (batch, maps.stride(0), rows * columns)]
    found = {stride / span for size, stride, span in steps if size > 1} or {float(channels)}
    stride = found.pop()
    return int(stride) if not found and stride == int(stride) and stride >= channels else 0


def _laid(maps: Tensor) -> tuple[Tensor, int]:
    stride = _stride(maps)
    return (maps, stride) if stride else (channels_last(maps), maps.shape[1])


class _Equation(torch.autograd.Function):
    """An equation as one differentiable operation: tensors of x, of u and of the state give the state after."""

    @staticmethod
    def forward(ctx: Any, cell: Any, trains: bool, *given: Tensor) -> Any:
        kernel, (batch, hidden, *space) = kernel_of(cell), given[0].shape
        many = len(cell.x_gates), len(cell.u_gates)
        state = [channels_last(leaf) for leaf in given[sum(many) :]]
        after = [torch.empty_like(leaf, memory_format=torch.channels_last) for leaf in state]
        kept = kept_of(kernel, batch, space[0] * space[1], hidden) if trains else None
        kernel.forward(
            **_sizes(given[0]),
            **_products(given, many),
            **{f"s{i}": leaf for i, leaf in enumerate(state)},
            **{f"after{i}": leaf for i, leaf in enumerate(after)},
            kept=kept,
        )
        if trains:
            ctx.cell = cell
            ctx.save_for_backward(*given, kept)
        return tuple(after)

    @staticmethod
    def backward(ctx: Any, *flows: Tensor) -> Any:
        cell, (*given, kept) = ctx.cell, ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return None, None, *_differentiable(cell, given, flows, ctx.needs_input_grad[2:])
        many = len(cell.x_gates), len(cell.u_gates)
        flow, state = [channels_last(f) for f in flows], [channels_last(leaf) for leaf in given[sum(many) :]]
        found = [torch.empty_like(tensor, memory_format=torch.channels_last) for tensor in given]
        kernel_of(cell).backward(
            **_sizes(given[0]),
            **_products(found, many, "d"),
            **{f"s{i}": leaf for i, leaf in enumerate(state)},
            **{f"g{i}": leaf for i, leaf in enumerate(flow)},
            **{f"ds{i}": leaf for i, leaf in enumerate(found[sum(many) :])},
            kept=kept,
        )
        return None, None, *found


def _sizes(maps: Tensor) -> dict[str, int]:
    batch, hidden, rows, columns = maps.shape
    sizes = {"frames": batch, "places": rows * columns, "hidden": hidden, "threads": threads_for(maps.numel())}
    return {**sizes, "half": int(maps.dtype == torch.bfloat16)}


def _products(maps: Any, many: tuple[int, int], prefix: str = "") -> dict[str, Any]:
    """Gates of x and u, each a tensor of its own; copies live as long as what is returned."""
    found: dict[str, Any] = {}
    for array, part in (("x", maps[: many[0]]), ("u", maps[many[0] : sum(many)])):
        for i, tensor in enumerate(part):
            found[f"{prefix}{array}{i}"], found[f"{array}_stride{i}"] = _laid(tensor)
    return found


def _differentiable(cell: Any, given: Any, flows: Any, wanted: Any) -> list[Any]:
    """The gradients by the definition, which can be differentiated again."""
    a, b = len(cell.x_gates), len(cell.x_gates) + len(cell.u_gates)
    after = define(PointCall(cell, tuple(given[:a]), tuple(given[a:b]), tuple(given[b:])))
    inputs = [tensor for tensor, wants in zip(given, wanted, strict=True) if wants]
    found = iter(torch.autograd.grad(tuple(after), inputs, flows, create_graph=True, allow_unused=True))
    return [next(found) if wants else None for wants in wanted]
