"""The native CPU variant of the scan: one pass over memory forward, one back, split over threads that never wait.

A scan's arithmetic is one multiplication and one addition a number, so memory decides: a and b are read where they
lie (a slice of a larger tensor will do), states stay in registers, and the way back needs nothing but a, h and the
first state.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import BuildError
from recurra.kernels.cpu import build, native, openmp
from recurra.kernels.cpu.emit import joined
from recurra.kernels.cpu.fused import watched
from recurra.kernels.cpu.memory import empty
from recurra.kernels.scan import ScanCall, double, gradients

__all__ = ["accepts", "run", "run_captured"]

TYPES = (torch.float32, torch.complex64)
LITTLE = 1 << 15  # floats of b that are done before a second thread has begun
PIECE = 128  # floats of a row that stay in registers together
LANES = 16  # floats in a vector, as in math.h

_NUMBERS = "rows steps width threads pieces complex constant a_row a_step b_row b_step dh_row dh_step"
_POINTERS = "lengths a b first h last dh dlast da db dfirst"


@lru_cache(maxsize=2)
def _kernel(name: str) -> native.Function:
    """A function of scan.cpp, as ``struct Call`` there."""
    library = build.load(joined("math.h", "product.h", "team.h", "scan.cpp") + "\n")
    library.use_openmp(*openmp.addresses())
    return native.Function(library, name, dict.fromkeys(f"{_NUMBERS} {_POINTERS}".split(), 0))


def accepts(call: ScanCall) -> str:
    """Why the native kernel cannot take a call, or ""."""
    b = call.b
    if b.device.type != "cpu":
        return f"the native scan runs on the processor, b is on {b.device}"
    if b.dtype not in TYPES:
        return f"the native scan computes in float32 and complex64, b is {b.dtype}"
    if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in (call.a, b, call.first)) or watched():
        return "the native scan takes plain tensors, outside of compilers, torch.func and forward-mode gradients"
    try:
        _kernel("scan_forward")
    except BuildError as error:
        return str(error)
    return ""


def run(call: ScanCall) -> tuple[Tensor, Tensor]:
    """h and the last state by the native kernel, at a cost in proportion to the valid steps."""
    if 0 in call.b.shape:
        return double(call)
    return _Scan.apply(call.a, call.b, call.first, call.lengths)


def run_captured(call: ScanCall) -> tuple[Tensor, Tensor]:
    """For a compiler or an exporter that watches: on the processor, or where T must stay open, one operation."""
    if call.b.device.type == "cpu" or torch.compiler.is_exporting():
        return _operation(call.a, call.b, call.first, call.lengths)
    return double(call)


def _floats(tensor: Tensor) -> Tensor:
    """The same memory as real numbers ``(..., H)`` or ``(..., 2 H)`` side by side, copied only if it is not so."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
        tensor = (tensor if tensor.stride()[-2:] == (2, 1) else tensor.contiguous()).flatten(-2)
    else:
        tensor = tensor.resolve_neg()
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _as(like: Tensor, values: Tensor) -> Tensor:
    """Floats as numbers of the type of ``like``."""
    return torch.view_as_complex(values.unflatten(-1, (-1, 2))) if like.is_complex() else values


def _sizes(a: Tensor, b: Tensor, lengths: Tensor | None) -> dict[str, Any]:
    """What both ways are told: a and b as floats, and how the work is cut."""
    is_complex, constant = b.is_complex(), a.dim() == 1
    a, b = _floats(a), _floats(b)
    rows, steps, width = b.shape
    threads = torch.get_num_threads() if b.numel() > LITTLE else 1
    fewest = -(-width // PIECE)  # pieces of a row; more of them where there are few rows for many threads
    pieces = min(max(fewest, -(-threads // rows)), max(1, width // LANES))
    a_row, a_step = (0, 0) if constant else a.stride()[:2]
    numbers = {"rows": rows, "steps": steps, "width": width, "threads": min(threads, rows * pieces)}
    strides = {"a_row": a_row, "a_step": a_step, "b_row": b.stride(0), "b_step": b.stride(1)}
    kinds = {"pieces": pieces, "complex": int(is_complex), "constant": int(constant)}
    return {**numbers, **strides, **kinds, "a": a, "b": b, "lengths": lengths}


def _forward(a: Tensor, b: Tensor, first: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    sizes = _sizes(a, b, lengths)
    h, last = empty(sizes["rows"], sizes["steps"], sizes["width"]), empty(sizes["rows"], sizes["width"])
    _kernel("scan_forward")(**sizes, first=_floats(first).contiguous(), h=h, last=last)
    return _as(b, h), _as(b, last)


def _backward(
    dh: Tensor, dlast: Tensor, a: Tensor, h: Tensor, first: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    sizes = _sizes(a, h, lengths)
    rows, steps, width = sizes["rows"], sizes["steps"], sizes["width"]
    flow, db, dfirst = _floats(dh), empty(rows, steps, width), empty(rows, width)
    da = empty(rows, width) if sizes["constant"] else empty(rows, steps, width)
    _kernel("scan_backward")(
        **sizes,
        dh_row=flow.stride(0),
        dh_step=flow.stride(1),
        first=_floats(first).contiguous(),
        h=_floats(h),
        dh=flow,
        dlast=_floats(dlast).contiguous(),
        da=da,
        db=db,
        dfirst=dfirst,
    )
    return _as(a, da.sum(0) if sizes["constant"] else da), _as(a, db), _as(a, dfirst)


class _Scan(torch.autograd.Function):
    """The native scan as one differentiable operation; gradients of its gradients come from the doubling form."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, first: Tensor, lengths: Tensor | None) -> Any:
        h, last = _forward(a, b, first, lengths)
        ctx.lengths = lengths
        ctx.save_for_backward(a, h, first)
        return h, last

    @staticmethod
    def backward(ctx: Any, dh: Tensor, dlast: Tensor) -> Any:
        a, h, first = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return *gradients(ScanCall(a, h, first, ctx.lengths), h, dh, dlast), None
        return *_backward(dh, dlast, a, h, first, ctx.lengths), None


@torch.library.custom_op("recurra::scan", mutates_args=())
def _operation(a: Tensor, b: Tensor, first: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """h and the last state, for torch.compile and torch.export: they need not know how many passes T takes."""
    call = ScanCall(a, b, first, lengths)
    if not accepts(call) and 0 not in b.shape:
        return _forward(a, b, first, lengths)
    h, last = double(call)
    return h.clone(), last.clone()


@_operation.register_fake
def _(a: Tensor, b: Tensor, first: Tensor, lengths: Tensor | None) -> Any:
    return b.new_empty(b.shape), first.new_empty(first.shape)


@torch.library.custom_op("recurra::scan_back", mutates_args=())
def _operation_back(
    dh: Tensor, dlast: Tensor, a: Tensor, h: Tensor, first: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a, b and the first state."""
    call = ScanCall(a, h, first, lengths)
    if not accepts(call) and 0 not in h.shape:
        return _backward(dh, dlast, a, h, first, lengths)
    da, db, dfirst = gradients(call, h, dh, dlast)
    return da.clone(), db.clone(), dfirst.clone()


@_operation_back.register_fake
def _(dh: Tensor, dlast: Tensor, a: Tensor, h: Tensor, first: Tensor, lengths: Tensor | None) -> Any:
    return a.new_empty(a.shape), h.new_empty(h.shape), first.new_empty(first.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    a, _, first, ctx.lengths = inputs
    ctx.save_for_backward(a, output[0], first)


def _flow_back(ctx: Any, dh: Tensor, dlast: Tensor) -> Any:
    a, h, first = ctx.saved_tensors
    return *_operation_back(dh, dlast, a, h, first, ctx.lengths), None


_operation.register_autograd(_flow_back, setup_context=_remember)
