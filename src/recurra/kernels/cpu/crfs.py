"""The native CPU variants of the conditional random field: forward, gradients and posterior, and the best path.

A step of sixteen tags is one exponential, one logarithm and sixteen multiplications of a vector, where plain torch
calls some ten operations for each step of a batch.
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
from recurra.kernels.crf import CRFCall, Posterior, define_likelihood

__all__ = ["accepts", "accepts_posterior", "backward", "best_path", "fits", "forward", "likelihood", "posterior"]

MOST = 512  # tags that fit into the registers' place on the stack
LANES = 16  # floats in a vector, as in math.h
TOGETHER = 4  # rows that a thread takes at a time
CHUNKS = 8  # parts of a batch that add up their own gradients of the weights
STEP = 4000  # multiplications that take as long as what a step needs besides its own
LITTLE = 1 << 24  # multiplications that one thread does: half a millisecond, which is not worth waiting for another

_NUMBERS = "rows steps kinds threads kept chunks"
_POINTERS = (
    "lengths order scores transitions begins ends tags tables ahead nats flow slopes behind sums "
    "dtransitions dbegins dends path"
)


@lru_cache(maxsize=3)
def _kernel(name: str) -> native.Function:
    """A function of crf.cpp, as ``struct Call`` there."""
    library = build.load(joined("math.h", "product.h", "team.h", "lanes.h", "crf.h", "crf.cpp") + "\n")
    library.use_openmp(*openmp.addresses())
    return native.Function(library, name, dict.fromkeys(f"{_NUMBERS} {_POINTERS}".split(), 0))


def accepts(call: CRFCall) -> str:
    """Why the native kernels cannot take a call, or ""."""
    tensors = (call.scores, call.transitions, call.begins, call.ends)
    if any(type(tensor) not in (Tensor, nn.Parameter) for tensor in tensors) or watched():
        return "the native crf takes plain tensors, outside of compilers, torch.func and forward-mode gradients"
    return fits(call)


def fits(call: CRFCall) -> str:
    """The same, whoever watches."""
    scores = call.scores
    if scores.device.type != "cpu":
        return f"the native crf runs on the processor, the scores are on {scores.device}"
    if scores.dtype != torch.float32:
        return f"the native crf computes in float32, the scores are {scores.dtype}"
    if scores.shape[2] > MOST:
        return f"the native crf takes up to {MOST} tags, here are {scores.shape[2]}"
    return _obstacle()


@torch.compiler.assume_constant_result
def _obstacle() -> str:
    """Why there are no native kernels here, or ""."""
    try:
        _kernel("crf_forward")
    except BuildError as error:
        return str(error)
    return ""


def accepts_posterior(call: CRFCall) -> str:
    """The same for what has no gradients of its own."""
    given = (call.scores, call.transitions, call.begins, call.ends)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return "the native posterior has no gradients; use torch.no_grad() if none are needed"
    return accepts(call)


def likelihood(call: CRFCall) -> Tensor:
    """``-log p(tags)`` in nats ``(B,)``, at a cost in proportion to the valid steps."""
    return _Likelihood.apply(call.scores, call.transitions, call.begins, call.ends, call.lengths, call.tags)


def posterior(call: CRFCall) -> Posterior:
    """Marginals, and what is behind each step."""
    sizes = _sizes(call, keeps=True)
    marginals, behind = torch.empty(2, *call.scores.shape).unbind(0)
    if call.scores.numel():
        _kernel("crf_forward")(**sizes)
        _kernel("crf_backward")(**sizes, slopes=marginals, behind=behind)
    return Posterior(marginals, behind)


def best_path(call: CRFCall) -> Tensor:
    """The likeliest tags ``(B, T)``."""
    path = torch.empty(call.scores.shape[:2], dtype=torch.int64)
    if path.numel():
        _kernel("crf_path")(**_sizes(call, keeps=True), path=path)
    return path


def _sizes(call: CRFCall, keeps: bool) -> dict[str, Any]:
    """What all functions are told. ``keeps``: the forward variables of all steps are needed later."""
    rows, steps, kinds = call.scores.shape
    wide, groups = -(-kinds // LANES) * LANES, -(-rows // TOGETHER)
    kept = steps if keeps else min(steps, 2)
    little = rows * steps * (STEP + kinds * wide) < LITTLE
    numbers = {
        "rows": rows,
        "steps": steps,
        "kinds": kinds,
        "threads": 1 if little else min(torch.get_num_threads(), groups),
        "kept": kept,
        "chunks": min(groups, CHUNKS),
    }
    tensors = {
        "lengths": call.lengths,
        "order": None if call.lengths is None else call.lengths.argsort(descending=True, stable=True),
        "scores": call.scores.contiguous(),
        "transitions": call.transitions.contiguous(),
        "begins": call.begins.contiguous(),
        "ends": call.ends.contiguous(),
        "tables": empty(4 * kinds + 3, wide),
        "ahead": empty(rows, kept, wide),
    }
    return numbers | tensors


def forward(call: CRFCall, trains: bool) -> tuple[Tensor, dict[str, Any]]:
    """Nats, and what the way back needs."""
    assert call.tags is not None
    sizes = _sizes(call, keeps=trains) | {"tags": call.tags.contiguous()}
    nats = torch.zeros(len(call.scores))
    if call.scores.numel():
        _kernel("crf_forward")(**sizes, nats=nats)
    return nats, sizes


def backward(sizes: dict[str, Any], flow: Tensor) -> list[Tensor]:
    """The gradients of scores, transitions, begins and ends."""
    places = {"slopes": "scores", "dtransitions": "transitions", "dbegins": "begins", "dends": "ends"}
    found = {name: torch.zeros(sizes[place].shape) for name, place in places.items()}
    if found["slopes"].numel():
        kinds, wide = sizes["kinds"], sizes["ahead"].shape[2]
        sums = torch.zeros(sizes["chunks"], 2 * kinds + 2, wide)
        _kernel("crf_backward")(**sizes, **found, flow=flow.contiguous(), sums=sums)
    return list(found.values())


class _Likelihood(torch.autograd.Function):
    """The native likelihood as one differentiable operation; slopes of its slopes come from the definition."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        transitions: Tensor,
        begins: Tensor,
        ends: Tensor,
        lengths: Tensor | None,
        tags: Tensor,
    ) -> Tensor:
        trains = any(ctx.needs_input_grad)
        nats, sizes = forward(CRFCall(scores, transitions, begins, ends, lengths, tags), trains)
        if trains:
            ctx.rest, ctx.sizes = (lengths, tags), sizes
            ctx.save_for_backward(scores, transitions, begins, ends)
        return nats

    @staticmethod
    def backward(ctx: Any, flow: Tensor) -> Any:
        given = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return *_again(CRFCall(*given, *ctx.rest), flow), None, None
        return *backward(ctx.sizes, flow), None, None


def _again(call: CRFCall, flow: Tensor) -> tuple[Tensor, ...]:
    """The gradients by the definition, which can be differentiated in turn."""
    given = (call.scores, call.transitions, call.begins, call.ends)
    wanted = [tensor for tensor in given if tensor.requires_grad]
    with torch.enable_grad():
        nats = define_likelihood(call)
        found = iter(torch.autograd.grad(nats, wanted, flow, create_graph=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in given)  # type: ignore[misc]
