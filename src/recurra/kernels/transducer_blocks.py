"""The transducer's likelihood some frames at a time, in plain torch: the logits of the whole lattice never exist.

Of each node three numbers stay: the log probabilities of its blank and of its next token, and the logarithm of the
sum over all tokens. The way back computes a block's logits once more:

    d nats / d logit_v = (share of the ways through the node) p_v - (share that takes v from here)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra.kernels import lattice
from recurra.kernels.cpu.fused import watched
from recurra.kernels.lattice import Arcs
from recurra.kernels.transducer import TransducerCall, define, masked, next_tokens

__all__ = ["accepts", "accepts_steps", "again", "arcs", "run"]

MOST = 1 << 21  # numbers that a block has: 8 MiB


def accepts(call: TransducerCall) -> str:
    """Why the blocks cannot take a call, or ""."""
    if watched():
        return "the blocks run outside of torch.func and forward-mode gradients"
    return ""


def accepts_steps(call: TransducerCall) -> str:
    """The same for what has no gradients of its own."""
    given = (call.encoded, call.predicted, call.weight, call.bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        return "these steps have no gradients; use torch.no_grad() if none are needed"
    return accepts(call)


def run(call: TransducerCall) -> Tensor:
    """``-log p(tokens)`` in nats ``(B,)``."""
    rest = (call.tokens, call.lengths, call.token_lengths)
    return _Blocks.apply(call.encoded, call.predicted, call.weight, call.bias, *rest)


@torch.no_grad()
def arcs(call: TransducerCall) -> Arcs:
    """The log probabilities of all steps, without gradients."""
    return _arcs(call)[0]


def _arcs(call: TransducerCall) -> tuple[Arcs, Tensor]:
    """Steps, and the logarithm of each node's sum ``(B, T, U + 1)``."""
    call = _blanked(call)
    (batch, time, _), places = call.encoded.shape, call.predicted.shape[1]
    blank, token, sums = call.encoded.new_empty(3, batch, time, places).unbind(0)
    following = next_tokens(call)[:, None, :, None]
    for begin, end in _blocks(call):
        logits = _logits(call, begin, end)[1]
        sums[:, begin:end] = logits.logsumexp(-1)
        blank[:, begin:end] = logits[..., 0]
        token[:, begin:end] = logits.gather(3, following.expand(-1, end - begin, -1, -1))[..., 0]
    return masked(call, blank.sub_(sums), token.sub_(sums)), sums


def _blanked(call: TransducerCall) -> TransducerCall:
    """Zeros in the padding."""
    encoded = ragged.blank(call.encoded, call.lengths)
    return replace(call, encoded=encoded, predicted=ragged.blank(call.predicted, call.token_lengths + 1))


def _blocks(call: TransducerCall) -> Iterator[tuple[int, int]]:
    """Frames that are taken together, from and to."""
    (batch, time, joint), places = call.encoded.shape, call.predicted.shape[1]
    size = max(1, MOST // max(1, batch * places * (joint + len(call.bias))))
    return ((begin, min(begin + size, time)) for begin in range(0, time, size))


def _logits(call: TransducerCall, begin: int, end: int) -> tuple[Tensor, Tensor]:
    """z ``(B, t, U + 1, J)`` and the logits ``(B, t, U + 1, V)`` of some frames."""
    z = (call.encoded[:, begin:end, None] + call.predicted[:, None]).tanh_()
    return z, torch.nn.functional.linear(z, call.weight, call.bias)


def _gradients(call: TransducerCall, steps: Arcs, sums: Tensor, flow: Tensor) -> list[Tensor]:
    """Those of encoded, predicted, weight and bias."""
    call, taken = _blanked(call), lattice.posterior(steps)
    blank, token = (share * flow[:, None, None] for share in (taken.blank, taken.token))
    encoded, predicted = torch.empty_like(call.encoded), torch.zeros_like(call.predicted)
    weight, bias = torch.zeros_like(call.weight), torch.zeros_like(call.bias)
    following = next_tokens(call)[:, None, :, None]
    for begin, end in _blocks(call):
        z, slopes = _logits(call, begin, end)
        slopes = slopes.sub_(sums[:, begin:end, :, None]).exp_()
        slopes *= (blank + token)[:, begin:end, :, None]
        slopes[..., 0] -= blank[:, begin:end]
        slopes.scatter_add_(3, following.expand(-1, end - begin, -1, -1), -token[:, begin:end, :, None])
        weight.addmm_(slopes.flatten(0, 2).T, z.flatten(0, 2))
        bias += slopes.sum((0, 1, 2))
        inner = (slopes @ call.weight).mul_(1 - z.square_())
        encoded[:, begin:end] = inner.sum(2)
        predicted += inner.sum(1)
    return [encoded, predicted, weight, bias]


class _Blocks(torch.autograd.Function):
    """One differentiable operation; slopes of its slopes come from the definition."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        steps, sums = _arcs(TransducerCall(*given))
        ctx.save_for_backward(*given, steps.blank, steps.token, sums)
        return lattice.nats(steps)

    @staticmethod
    def backward(ctx: Any, flow: Tensor) -> Any:
        *given, blank, token, sums = ctx.saved_tensors
        call = TransducerCall(*given)
        if torch.is_grad_enabled():  # create_graph=True: somebody wants gradients of these gradients
            return *again(call, flow), None, None, None
        steps = Arcs(blank, token, call.lengths, call.token_lengths)
        return *_gradients(call, steps, sums, flow), None, None, None


def again(call: TransducerCall, flow: Tensor) -> list[Tensor | None]:
    """The gradients by the definition, which can be differentiated in turn."""
    given = (call.encoded, call.predicted, call.weight, call.bias)
    wanted = [tensor for tensor in given if tensor.requires_grad]
    with torch.enable_grad():
        found = iter(torch.autograd.grad(define(call), wanted, flow, create_graph=True))
    return [next(found) if tensor.requires_grad else None for tensor in given]
