"""The compiled loops as operations of torch, for torch.compile and torch.export.

``recurra::loop`` and ``recurra::loop_back`` are what `fused` runs, known to torch by name, with their shapes, so
that a compiler can plan around them. A kernel is named by the hash of its source.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor

from recurra.errors import BuildError
from recurra.kernels.cpu import loops
from recurra.kernels.cpu.loops import Given, Kept, Kernel, Task
from recurra.kernels.cpu.packing import LANES, order_of

__all__ = ["loop", "name_of"]

_kernels: dict[str, Kernel] = {}


def name_of(kernel: Kernel) -> str:
    """The name by which the operations find a kernel in this process; it tells the sizes of its outputs."""
    equation, source = kernel.equation, hashlib.sha256(kernel.source.encode()).hexdigest()[:16]
    gates = len(equation.u_gates) if kernel.normalized else 0
    inputs = len(equation.x_gates) if kernel.normalized else 0
    name = f"{source}-{kernel.kept}-{kernel.factors}-{gates}-{inputs}"
    _kernels[name] = kernel
    return name


def _kernel(name: str) -> Kernel:
    if name not in _kernels:
        raise BuildError(
            f"kernel {name} is not loaded in this process: run its layer once before the exported program"
        )
    return _kernels[name]


@torch.library.custom_op("recurra::loop", mutates_args=())
def loop(
    x: Tensor,
    W: Tensor,
    b: Tensor,
    U: Tensor,
    vectors: Tensor,
    gains: Tensor,
    first: Tensor,
    dropout: Tensor,
    keep: Tensor,
    lengths: Tensor | None,
    name: str,
    backwards: bool,
    trains: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, the last state, and what the way back needs: see `loops.forward`."""
    given = Given(x, W, b, U, vectors, gains, first, dropout, keep)
    order = order_of(x.shape[0], x.shape[1], lengths, backwards)
    y, last, kept = loops.forward([Task(_kernel(name), order, given)], trains)[0]
    rest = kept if trains else Kept(*(x.new_empty(0) for _ in Kept._fields))
    return y, last, *rest


@loop.register_fake
def _(*arguments: Any) -> Any:
    x, _, _, U, _, _, first, dropout, _ = arguments[: len(Given._fields)]
    *_, name, _, trains = arguments
    batch, time, hidden = x.shape[0], x.shape[1], U.shape[1]
    y, last = x.new_empty(batch, time, hidden), torch.empty_like(first)
    if not trains:
        return y, last, *(x.new_empty(0) for _ in Kept._fields)
    values, factors, gates, inputs = map(int, name.split("-")[1:])
    wide, steps, fed = -(-hidden // LANES) * LANES, batch * time, factors + (1 if dropout.numel() else 0)
    return (
        y,
        last,
        x.new_empty(steps + loops.SPARE, len(first), wide),
        x.new_empty(steps + loops.SPARE, fed, wide),
        x.new_empty(steps, values, wide),
        x.new_empty(steps, gates, wide),
        x.new_empty(steps, gates),
        x.new_empty(steps, inputs * wide),
        x.new_empty(steps, inputs),
    )


@torch.library.custom_op("recurra::loop_back", mutates_args=())
def loop_back(
    dy: Tensor,
    dlast: Tensor,
    given: list[Tensor],
    kept: list[Tensor],
    lengths: Tensor | None,
    name: str,
    backwards: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, W, b, U, the vectors, the gains and the first state: see `loops.backward`."""
    tensors = Given(*given)
    order = order_of(tensors.x.shape[0], tensors.x.shape[1], lengths, backwards)
    task = Task(_kernel(name), order, tensors)
    x, *rest = loops.backward([task], [Kept(*kept)], [dy.contiguous()], [dlast], True)[0]
    return x, *rest  # type: ignore[return-value]


@loop_back.register_fake
def _(dy: Tensor, dlast: Tensor, given: list[Tensor], *_: Any) -> Any:
    return tuple(torch.empty_like(tensor) for tensor in given[:7])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *given, lengths, name, backwards, _ = inputs
    ctx.rest = lengths, name, backwards
    ctx.save_for_backward(*given, *output[2:])


def _gradients(ctx: Any, dy: Tensor, dlast: Tensor, *_: Any) -> Any:
    many = len(Given._fields)
    given, kept = list(ctx.saved_tensors[:many]), list(ctx.saved_tensors[many:])
    found = loop_back(dy, dlast, given, kept, *ctx.rest)
    return *found, None, None, None, None, None, None


loop.register_autograd(_gradients, setup_context=_remember)
