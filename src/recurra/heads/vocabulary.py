"""The loss over a vocabulary without its large tensors: logits, softmax and gradient, some rows at a time.

A softmax over thousands of tokens costs more in memory than in arithmetic: plain cross entropy writes logits, log
probabilities and two gradients, each ``(N, kinds)``. Here one tensor of that size is written, the gradient by the
logits, while the rows it comes from are still in the processor's cache. Label smoothing is that of Szegedy et al.
(2016).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

__all__ = ["vocabulary_loss"]

CACHED = 1 << 20  # numbers of one block of logits


def vocabulary_loss(h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy of ``softmax(W h + b)``, summed over all rows, in nats.

        loss = sum over n of -(1 - e) log p_n(y_n) - e * mean over kinds k of log p_n(k)

    h          (N, H)      what the output layer reads
    weight     (kinds, H)  W
    bias       (kinds,)    b
    targets    (N,)        y, numbers of tokens
    smoothing  e, the probability that is spread over all kinds

    Products run in autocast's type where autocast is on, everything else in float32 or better.
    """
    on = torch.is_autocast_enabled(h.device.type)
    dtype = torch.get_autocast_dtype(h.device.type) if on and h.dtype != torch.float64 else h.dtype
    with torch.autocast(h.device.type, enabled=False):
        arguments = (h.to(dtype), weight.to(dtype), bias.to(dtype))
        if torch.is_grad_enabled() and any(value.requires_grad for value in arguments):
            return _Loss.apply(*arguments, targets, smoothing)
        return sum(
            (block[0] for block in _blocks(*arguments, targets, smoothing)), h.new_zeros((), dtype=_exact(h))
        )


def _exact(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _blocks(h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Any:
    """For some rows at a time: their loss, and the gradient by their logits, in a tensor that is used again."""
    rows = max(1, CACHED // len(weight))
    for part, answers in zip(h.split(rows), targets.split(rows), strict=True):
        logits = linear(part, weight, bias).to(_exact(h))
        right = logits.gather(1, answers[:, None]).sum()
        mean = logits.sum() / len(weight)
        top = logits.amax(1, keepdim=True)
        p = logits.sub_(top).exp_()
        total = p.sum(1, keepdim=True)
        loss = total.log().sum() + top.sum() - (1 - smoothing) * right - smoothing * mean
        p.div_(total).sub_(smoothing / len(weight))
        p.scatter_add_(1, answers[:, None], p.new_full((len(p), 1), smoothing - 1))
        yield loss, p


class _Loss(torch.autograd.Function):
    """The sum, and the gradients of everything when it is known that they are wanted: one pass over the logits."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        gradient = h.new_empty(len(h), len(weight))
        loss, by_bias, done = h.new_zeros((), dtype=_exact(h)), bias.new_zeros(len(bias), dtype=_exact(h)), 0
        for block, p in _blocks(h, weight, bias, targets, smoothing):
            gradient[done : done + len(p)] = p
            loss, by_bias, done = loss + block, by_bias.add_(p.sum(0)), done + len(p)
        ctx.save_for_backward(gradient @ weight, gradient.mT @ h, by_bias.to(bias.dtype))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        by_h, by_weight, by_bias = ctx.saved_tensors
        return by_h * by_loss, by_weight * by_loss, by_bias * by_loss, None, None
