"""The native CPU variant of the transducer's likelihood: forward and gradients, logits a few nodes at a time."""

from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from recurra.errors import BuildError
from recurra.kernels.cpu import build, native, openmp
from recurra.kernels.cpu.emit import joined
from recurra.kernels.cpu.fused import watched
from recurra.kernels.cpu.memory import empty
from recurra.kernels.transducer import TransducerCall
from recurra.kernels.transducer_blocks import again

__all__ = ["accepts", "run"]

LANES, PANEL, TILE = 16, 3, 32  # as in transducer.cpp
CHUNKS = 8  # parts of a batch that add up their own gradients of the weights
LITTLE = 1 << 22  # multiplications that one thread does

_NUMBERS = "rows frames places joint kinds threads chunks room_size"
_POINTERS = (
    "order lengths token_lengths encoded predicted weight weight_back bias tokens blank token sums ahead nats room "
    "flow dencoded dpredicted dweight dbias"
)


@lru_cache(maxsize=2)
def _kernel(name: str) -> native.Function:
    """A function of transducer.cpp, as ``struct Call`` there."""
    library = build.load(joined("math.h", "product.h", "team.h", "lanes.h", "transducer.cpp") + "\n")
    library.use_openmp(*openmp.addresses())
    return native.Function(library, name, dict.fromkeys(f"{_NUMBERS} {_POINTERS}".split(), 0))


def accepts(call: TransducerCall) -> str:
    """Why the native kernel cannot take a call, or ""."""
    tensors = (call.encoded, call.predicted, call.weight, call.bias, call.tokens)
    if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in tensors) or watched():
        return "the native transducer takes plain tensors, outside of torch.func and forward-mode gradients"
    if call.encoded.device.type != "cpu":
        return f"the native transducer runs on the processor, the frames are on {call.encoded.device}"
    if call.encoded.dtype != torch.float32:
        return f"the native transducer computes in float32, the frames are {call.encoded.dtype}"
    try:
        _kernel("transducer_forward")
    except BuildError as error:
        return str(error)
    return ""


def run(call: TransducerCall) -> Tensor:
    """``-log p(tokens)`` in nats ``(B,)``, at a cost in proportion to the valid nodes."""
    rest = (call.tokens, call.lengths, call.token_lengths)
    return _Transducer.apply(call.encoded, call.predicted, call.weight, call.bias, *rest)


def _forward(call: TransducerCall) -> tuple[Tensor, dict[str, Any]]:
    """Nats, and what the way back needs."""
    (rows, frames, joint), places, kinds = call.encoded.shape, call.predicted.shape[1], len(call.bias)
    wide, wide_joint, wide_kinds = (_whole(size) for size in (places + 1, joint, kinds))
    diagonals, chunks = frames + places - 1, max(1, min(rows, CHUNKS))
    numbers = {
        "rows": rows,
        "frames": frames,
        "places": places,
        "joint": joint,
        "kinds": kinds,
        "threads": 1 if rows * frames * places * joint * kinds < LITTLE else min(torch.get_num_threads(), chunks),
        "chunks": chunks,
        "room_size": (places + 1 + 2 * TILE) * wide_joint + TILE * wide_kinds + (2 * diagonals + 1) * wide + LANES,
    }
    tensors = {
        "order": call.lengths.argsort(descending=True, stable=True),
        "lengths": call.lengths,
        "token_lengths": call.token_lengths,
        "encoded": call.encoded.contiguous(),
        "predicted": call.predicted.contiguous(),
        "weight": _panels(call.weight.T),
        "bias": pad(call.bias, (0, wide_kinds - kinds), value=-torch.inf),
        "tokens": call.tokens.contiguous(),
    }
    tensors |= {name: empty(LANES + rows * diagonals * wide) for name in ("blank", "token", "sums", "ahead")}
    nats = torch.zeros(rows)
    if rows:
        sizes = numbers | tensors
        _kernel("transducer_forward")(**sizes, nats=nats, room=empty(chunks * numbers["room_size"]))
    return nats, numbers | tensors


def _whole(size: int) -> int:
    return -(-size // LANES) * LANES


def _panels(weight: Tensor) -> Tensor:
    """``(depth, columns)`` by panels of up to three vectors of columns, one panel after the other."""
    depth, columns = weight.shape
    wide = pad(weight, (0, _whole(columns) - columns)).view(depth, -1, LANES)
    return torch.cat([panel.flatten() for panel in wide.split(PANEL, 1)])


def _backward(sizes: dict[str, Any], weight: Tensor, flow: Tensor) -> list[Tensor]:
    """The gradients of encoded, predicted, weight and bias."""
    rows, frames, places, joint, kinds, chunks = (
        sizes[name] for name in ("rows", "frames", "places", "joint", "kinds", "chunks")
    )
    shapes = {
        "dencoded": (rows, frames, _whole(joint)),
        "dpredicted": (rows, places, _whole(joint)),
        "dweight": (chunks, _whole(kinds), _whole(joint)),
        "dbias": (chunks, _whole(kinds)),
    }
    found = {name: torch.zeros(prod(shape)).view(shape) for name, shape in shapes.items()}
    if rows:
        room = empty(chunks * sizes["room_size"])
        back = _panels(weight)
        _kernel("transducer_backward")(**sizes, **found, weight_back=back, flow=flow.contiguous(), room=room)
    return [
        found["dencoded"][..., :joint],
        found["dpredicted"][..., :joint],
        found["dweight"][0, :kinds, :joint],
        found["dbias"][0, :kinds],
    ]


class _Transducer(torch.autograd.Function):
    """The native likelihood as one differentiable operation; slopes of its slopes come from the definition."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        nats, sizes = _forward(TransducerCall(*given))
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(*given)
            ctx.sizes = sizes
        return nats

    @staticmethod
    def backward(ctx: Any, flow: Tensor) -> Any:
        call = TransducerCall(*ctx.saved_tensors)
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return *again(call, flow), None, None, None
        return *_backward(ctx.sizes, call.weight, flow), None, None, None
