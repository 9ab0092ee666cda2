"""The fused CPU variant of the recurrence: an equation compiled into one loop over time, forward and backward.

u  = x W^T + b          one product over all T         torch
loop over t: h U^T, equation                           the kernel
loop back:   the equation's backward, dh = du U        the kernel
dU, dW, dx, db          one product each over all T     torch
"""

import ctypes
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.functional import pad

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import BuildError, EquationError, RecurraError
from recurra.kernels import torch_functions
from recurra.kernels.cpu import build, emit
from recurra.kernels.equation import Equation, trace
from recurra.kernels.recurrence import Call, Cell, Weights, define, project, unroll

__all__ = ["Kernel", "accepts", "kernel_of", "run"]

LANES, BACK = 16, 4  # as in math.h and recurrence.h


class _Arguments(ctypes.Structure):
    """``struct Call`` of recurrence.h."""

    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "time", "hidden", "threads")] + [
        (name, ctypes.c_void_p)
        for name in (
            *("x", "weights", "vectors", "dropout", "keep", "lengths", "first"),
            *("y", "states", "products", "last", "dy", "dx", "du", "dstate", "dvectors"),
        )
    ]


@dataclass(frozen=True)
class Kernel:
    """A cell's equation and its compiled loops."""

    equation: Equation
    source: str
    forward: Any
    backward: Any


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
    source = emit.source(equation, type(cell).__name__)
    loaded = build.load(source)
    functions = [getattr(loaded, name) for name in ("forward", "backward")]
    for function in functions:
        function.argtypes, function.restype = [ctypes.POINTER(_Arguments)], None
    return Kernel(equation, source, *functions)


def accepts(call: Call) -> str:
    """Why the fused kernel cannot take a call, or ""."""
    x, weights = call.x, call.weights
    if x.device.type != "cpu":
        return f"the fused kernel runs on the processor, x is on {x.device}"
    if x.dtype != torch.float32 or weights.U.dtype != torch.float32:
        return f"the fused kernel computes in float32, x is {x.dtype}"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on, and the fused kernel computes in float32"
    if call.cell.late or call.cell.x_gates != call.cell.u_gates:
        return "the fused kernel has no second stage yet"
    if call.cell.normalized:
        return "the fused kernel has no layer normalisation"
    if type(x) not in (Tensor, nn.Parameter) or _watched():
        return "the fused kernel takes plain tensors, outside of compilers, torch.func and forward-mode gradients"
    if torch_functions.accepts(call) == "" and _torch_is_faster(call):
        return "torch's own LSTM is faster at this size"
    try:
        kernel_of(call.cell)
    except (EquationError, BuildError) as error:
        return str(error)
    return ""


def _watched() -> bool:
    """Whether a compiler, a transform of torch.func or forward-mode differentiation wants to see the operations."""
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return torch.compiler.is_compiling() or transformed or forward_ad._current_level >= 0


def _torch_is_faster(call: Call) -> bool:
    """OneDNN's LSTM was 1.5 times as fast in batches and 1.0 to 1.5 times from H = 128 on (docs/log.md)."""
    lstm = vars(type(call.cell)).get("torch_function") == "lstm"
    return lstm and (len(call.x) > 1 or call.weights.U.shape[1] > 64)


def run(call: Call) -> tuple[Tensor, Any]:
    """The loop by the compiled kernel; rows are sorted by length, so that time is spent on valid steps."""
    if 0 in call.x.shape:
        return define(call)
    batch, time = call.x.shape[:2]
    x = project(call.cell, call.x, call.weights)
    lengths = torch.full((batch,), time) if call.lengths is None else call.lengths
    keep = None if call.keep is None else torch.stack([k.expand(batch, time, -1) for k in call.keep])
    if keep is not None and keep.shape[-1] == 1:
        keep = keep.expand(-1, -1, -1, call.weights.U.shape[1])
    first, dropout, order = torch.stack(tuple(call.state)), call.dropout, None
    if call.lengths is not None:
        lengths, order = lengths.sort(descending=True, stable=True)
        x, first = x[order], first[:, order]
        dropout = None if dropout is None else dropout[order]
        keep = None if keep is None else keep[:, order]
    vectors = torch.stack(call.weights.vectors) if call.weights.vectors else None
    # Contiguous here and not inside the loop, so that gradients of gradients find their way back to the inputs.
    tensors = (x.contiguous(), call.weights.U.contiguous(), vectors, first.contiguous())
    y, last = _Loop.apply(call.cell, lengths, _whole(dropout), _whole(keep), *tensors)
    if order is not None:
        back = order.argsort()
        y, last = y[back], last[:, back]
    return y, type(call.state)(*last.unbind(0))


class _Loop(torch.autograd.Function):
    """The two compiled loops as one differentiable operation."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        lengths: Tensor,
        dropout: Tensor | None,
        keep: Tensor | None,
        x: Tensor,
        U: Tensor,
        vectors: Tensor | None,
        first: Tensor,
    ) -> tuple[Tensor, Tensor]:
        kernel, batch, time, hidden = kernel_of(cell), x.shape[0], x.shape[1], U.shape[1]
        make = x.new_zeros if bool(lengths[-1] < time) else x.new_empty
        y, last = make((batch, time, hidden)), torch.empty_like(first)
        trains = any(ctx.needs_input_grad)
        states = make((len(first) - 1, batch, time, hidden)) if trains else None
        products = make(x.shape) if trains else None
        given = (x, vectors, lengths, first, dropout, keep)
        made = {"y": y, "states": states, "products": products, "last": last}
        _call(kernel.forward, y, weights=_pack_forward(U), **dict(zip(_GIVEN, given, strict=True)), **made)
        ctx.cell, ctx.kernel = cell, kernel
        ctx.save_for_backward(U, y, states, products, *given)
        return y, last

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> Any:
        U, y, states, products, *rest = ctx.saved_tensors
        given = dict(zip(_GIVEN, rest, strict=True))
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return None, None, None, None, *_differentiable(ctx.cell, U, given, dy, dlast)
        x, vectors, dropout = given["x"], given["vectors"], given["dropout"]
        make = x.new_zeros if bool(given["lengths"][-1] < x.shape[1]) else x.new_empty
        dx, dstate = make(x.shape), dlast.clone(memory_format=torch.contiguous_format)
        du = dx if ctx.kernel.equation.same else make(x.shape)
        dvectors = None if vectors is None else x.new_zeros(torch.get_num_threads(), *vectors.shape)
        made = {"y": y, "states": states, "products": products, "dx": dx, "du": du, "dstate": dstate}
        made |= {"dy": dy.contiguous(), "dvectors": dvectors}
        _call(ctx.kernel.backward, y, weights=_pack_backward(U), **given, **made)
        before = torch.cat([given["first"][0].unsqueeze(1), y[:, :-1]], 1)
        before = before if dropout is None else before * dropout.unsqueeze(1)
        dU = du.flatten(0, 1).t() @ before.flatten(0, 1)
        return None, None, None, None, dx, dU, None if dvectors is None else dvectors.sum(0), dstate


def _differentiable(cell: Cell, U: Tensor, given: dict[str, Any], dy: Tensor, dlast: Tensor) -> list[Tensor | None]:
    """Gradients of x, U, vectors and the first state by the reference loop, which can be differentiated again."""
    vectors = given["vectors"]
    weights = Weights(U, U, U, () if vectors is None else tuple(vectors.unbind(0)))  # W and b are not read
    keep = None if given["keep"] is None else tree.State(**dict(zip(cell.state, given["keep"], strict=True)))
    state = tree.State(**dict(zip(cell.state, given["first"].unbind(0), strict=True)))
    call = Call(cell, given["x"], state, weights, given["lengths"], given["dropout"], keep)
    y, last = unroll(call, given["x"])
    y = ragged.blank(y, given["lengths"])
    inputs = [given["x"], U, vectors, given["first"]]
    wanted = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
    found = torch.autograd.grad((y, torch.stack(tuple(last))), wanted, (dy, dlast), create_graph=True)
    by_tensor = {id(tensor): gradient for tensor, gradient in zip(wanted, found, strict=True)}
    return [by_tensor.get(id(tensor)) for tensor in inputs]


_GIVEN = ("x", "vectors", "lengths", "first", "dropout", "keep")


def _whole(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _pack_forward(U: Tensor) -> Tensor:
    """U ``(G*H, H)`` as ``(blocks, H, G, 16)``: what one block of sixteen units reads, in the order of reading."""
    hidden = U.shape[1]
    gates = len(U) // hidden
    padded = pad(U.view(gates, hidden, hidden), (0, 0, 0, -hidden % LANES))
    return padded.view(gates, -1, LANES, hidden).permute(1, 3, 0, 2).contiguous()


def _pack_backward(U: Tensor) -> Tensor:
    """U ``(G*H, H)`` as ``(groups, G*H, 64)``: columns in groups of four blocks."""
    return pad(U, (0, -U.shape[1] % (BACK * LANES))).view(len(U), -1, BACK * LANES).transpose(0, 1).contiguous()


SMALL = 2e6  # multiplications below which a second thread costs more than it saves


def _call(function: Any, like: Tensor, **tensors: Tensor | None) -> None:
    batch, time, hidden = like.shape
    work = tensors["x"].numel() * hidden  # type: ignore[union-attr]
    threads = 1 if work < SMALL else torch.get_num_threads()
    pointers = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    function(_Arguments(batch=batch, time=time, hidden=hidden, threads=threads, **pointers))
