"""Matrix memories by flash-linear-attention's Triton kernels, where that package is installed and CUDA is there.

    linear, attention    fla.ops.simple_gla.chunk_simple_gla(q, k, v, g, ...)
    delta                fla.ops.gated_delta_rule.chunk_gated_delta_rule(q, k, v, g, beta, ...)

Both take ``(B, T, H, D)`` as we do, logarithms of decays, and a state ``(B, H, K, V)``, which is ours transposed.
Tests check this mapping against a stand-in for the package; on a GPU it has not been run yet.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra.kernels.chunkwise import join, split
from recurra.kernels.memory import LEAST, Call, Inputs, blanked

__all__ = ["accepts", "run"]

INSTALLED = find_spec("fla") is not None
WIDEST = 256  # keys of the delta rule's kernel


def accepts(call: Call) -> str:
    """Its kernels know three rules, the types of 16 bits, and want more steps than heads."""
    q = call.inputs.q
    if q.device.type != "cuda":
        return f"flash-linear-attention runs on CUDA, and q is on {q.device.type}"
    if not INSTALLED:
        return "flash-linear-attention is not installed (pip install flash-linear-attention)"
    if call.rule == "mlstm":
        return "flash-linear-attention has no kernel with mLSTM's exponential input gate"
    if any(value.dtype not in (torch.float16, torch.bfloat16) for value in call.inputs[:3]):
        return f"flash-linear-attention's kernels are for float16 and bfloat16, and q is {q.dtype}"
    return _misfit(q)


def _misfit(q: Tensor) -> str:
    batch, time, heads, keys = q.shape
    if batch == 0 or time < heads:
        return f"flash-linear-attention takes fewer steps than heads for a wrong layout, and T={time} < {heads}"
    return f"flash-linear-attention has keys of at most {WIDEST} numbers, not {keys}" if keys > WIDEST else ""


def run(call: Call) -> tuple[Tensor, Any]:
    """y ``(B, T, H, V)`` and the state after the last step: padding became steps that change nothing."""
    inputs, matrix, _ = join(_filled(call))
    q, k, v, decay, write = inputs
    options = {"scale": 1.0, "initial_state": matrix.mT.contiguous(), "output_final_state": True}
    if call.rule == "delta":
        kernel = import_module("fla.ops.gated_delta_rule").chunk_gated_delta_rule
        y, last = kernel(q=q, k=k, v=v, g=decay, beta=write, **options)
    else:
        kernel = import_module("fla.ops.simple_gla").chunk_simple_gla
        y, last = kernel(q=q, k=k, v=v, g=decay, **options)
    y, state = split(call, y.float(), last.mT, None)
    return ragged.blank(y, call.lengths).to(call.inputs.v.dtype), state


def _filled(call: Call) -> Call:
    """The call with blank padding, and with the gates in the types that the kernels want."""
    q, k, v, decay, write = blanked(call)
    if decay is None and call.rule == "delta":
        decay = torch.zeros_like(q[..., 0])
    decay = None if decay is None else decay.float().clamp(min=LEAST)
    write = None if write is None else write.to(v.dtype)
    return Call(call.rule, Inputs(q, k, v, decay, write), call.state)
