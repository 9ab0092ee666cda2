"""The native conditional random field as operations of torch, for torch.compile and torch.export.

The definition is a loop over time, which a compiler would write out step by step. These are one operation each. The
way back goes forward once more, so that nothing but the operation's inputs has to be kept.
"""

from typing import Any

import torch
from torch import Tensor

from recurra.kernels.cpu import crfs
from recurra.kernels.crf import CRFCall, Posterior, define_likelihood, define_posterior
from recurra.kernels.crf_paths import define_best_path

__all__ = ["best_path", "likelihood", "posterior"]


def likelihood(call: CRFCall) -> Tensor:
    """`crf.likelihood` while a compiler or an exporter watches."""
    if crfs.fits(call) or call.tags is None:
        return define_likelihood(call)
    return _likelihood(call.scores, call.transitions, call.begins, call.ends, call.lengths, call.tags)


def posterior(call: CRFCall) -> Posterior:
    """`crf.posterior`; where gradients are wanted, by its definition."""
    if crfs.fits(call) or torch.is_grad_enabled():
        return define_posterior(call)
    return Posterior(*_posterior(call.scores, call.transitions, call.begins, call.ends, call.lengths))


def best_path(call: CRFCall) -> Tensor:
    """`crf_paths.best_path`."""
    if crfs.fits(call):
        return define_best_path(call)
    return _best_path(call.scores, call.transitions, call.begins, call.ends, call.lengths)


@torch.library.custom_op("recurra::crf", mutates_args=())
def _likelihood(
    scores: Tensor, transitions: Tensor, begins: Tensor, ends: Tensor, lengths: Tensor | None, tags: Tensor
) -> Tensor:
    return crfs.forward(CRFCall(scores, transitions, begins, ends, lengths, tags), False)[0]


@_likelihood.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return scores.new_empty(scores.shape[0])


@torch.library.custom_op("recurra::crf_back", mutates_args=())
def _likelihood_back(
    flow: Tensor,
    scores: Tensor,
    transitions: Tensor,
    begins: Tensor,
    ends: Tensor,
    lengths: Tensor | None,
    tags: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, sizes = crfs.forward(CRFCall(scores, transitions, begins, ends, lengths, tags), True)
    return tuple(crfs.backward(sizes, flow))  # type: ignore[return-value]


@_likelihood_back.register_fake
def _(flow: Tensor, *given: Any) -> Any:
    return tuple(tensor.new_empty(tensor.shape) for tensor in given[:4])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *given, ctx.lengths, ctx.tags = inputs
    ctx.save_for_backward(*given)


def _flow_back(ctx: Any, flow: Tensor) -> Any:
    return *_likelihood_back(flow, *ctx.saved_tensors, ctx.lengths, ctx.tags), None, None


_likelihood.register_autograd(_flow_back, setup_context=_remember)


@torch.library.custom_op("recurra::crf_posterior", mutates_args=())
def _posterior(
    scores: Tensor, transitions: Tensor, begins: Tensor, ends: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    found = crfs.posterior(CRFCall(scores, transitions, begins, ends, lengths))
    return found.marginals.clone(), found.behind.clone()


@_posterior.register_fake
def _(scores: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return scores.new_empty(scores.shape), scores.new_empty(scores.shape)


@torch.library.custom_op("recurra::crf_path", mutates_args=())
def _best_path(scores: Tensor, transitions: Tensor, begins: Tensor, ends: Tensor, lengths: Tensor | None) -> Tensor:
    return crfs.best_path(CRFCall(scores, transitions, begins, ends, lengths))


@_best_path.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return scores.new_empty(scores.shape[:2], dtype=torch.int64)
