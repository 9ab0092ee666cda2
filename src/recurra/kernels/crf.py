"""The linear-chain conditional random field: what its likelihood and its posterior are.

    score(y) = begins[y_0] + sum over t of s_t[y_t] + sum over t > 0 of transitions[y_{t-1}, y_t] + ends[y_{T-1}]
    p(y | s) = exp(score(y)) / Z          Z = the sum of exp(score) over all sequences of T tags

Lafferty, McCallum and Pereira 2001; Z and the posterior by the forward and backward variables of Baum et al. 1970.
Paths are in `crf_paths`. A score of -inf forbids: what needs it has probability exactly 0.

Numbers stay small however long a row is. Only differences within a step matter to p, so the largest score of each
step is taken away first, and the largest forward variable after each step; what was taken is summed in float64.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra.errors import DtypeError, ShapeError
from recurra.kernels.dispatch import Op

__all__ = [
    "CRFCall",
    "Posterior",
    "alive",
    "centred",
    "define_likelihood",
    "define_posterior",
    "likelihood",
    "log_sum",
    "lowered",
    "posterior",
]


@dataclass(frozen=True)
class CRFCall:
    """One run over a batch; the value that every variant takes. Numbers are of one real type.

    Padding in scores and tags may hold anything and is never read.
    Raises ShapeError or DtypeError if the tensors do not fit each other.
    """

    scores: Tensor  # (B, T, K)
    transitions: Tensor  # (K, K): from the row's tag to the column's
    begins: Tensor  # (K,)
    ends: Tensor  # (K,)
    lengths: Tensor | None = None  # (B,) on the CPU
    tags: Tensor | None = None  # (B, T) of int64: the path that `likelihood` is asked about

    def __post_init__(self) -> None:
        shape, kinds = tuple(self.scores.shape), self.transitions.shape[-1]
        if len(shape) != 3 or shape[2] != kinds:
            raise ShapeError(f"crf: expected scores of shape (B, T, {kinds}), got {shape}")
        weights = {"transitions": (kinds, kinds), "begins": (kinds,), "ends": (kinds,)}
        for name, want in weights.items():
            if tuple(getattr(self, name).shape) != want:
                raise ShapeError(f"crf: expected {name} of shape {want}, got {tuple(getattr(self, name).shape)}")
        if self.tags is not None and tuple(self.tags.shape) != shape[:2]:
            raise ShapeError(f"crf: expected tags of shape {shape[:2]} as scores, got {tuple(self.tags.shape)}")
        if self.tags is not None and self.tags.dtype != torch.int64:
            raise DtypeError(
                f"crf: expected tags as whole numbers in int64, got {self.tags.dtype}; use tags.long()"
            )
        types = {getattr(self, name).dtype for name in weights} | {self.scores.dtype}
        if len(types) > 1 or not self.scores.is_floating_point():
            raise DtypeError(f"crf: expected scores and weights in one real type, got {sorted(map(str, types))}")

    def __str__(self) -> str:
        batch, time, kinds = self.scores.shape
        return f"crf of K={kinds} on B={batch}, T={time}{', ragged' if self.lengths is not None else ''}"


@dataclass(frozen=True)
class Posterior:
    """What the whole row says about each step, zero in the padding."""

    marginals: Tensor  # (B, T, K): p(y_t = k | s)
    behind: Tensor  # (B, T, K): log of the sum of exp(score) over all that may follow tag k, up to a number a step


def define_likelihood(call: CRFCall) -> Tensor:
    """``-log p(tags)`` in nats ``(B,)``: +inf where the path is forbidden or holds what is no tag."""
    valid, scores = alive(call), centred(call)
    ahead, taken = _ahead(call, scores, valid)
    if not ahead:
        return call.scores.sum((1, 2))  # of nothing
    gold = _score(call, scores, valid)
    nats = log_sum(ahead[-1] + call.ends, 1) + taken - gold
    nats = torch.where(gold == -inf, inf, nats)
    return torch.where(valid[:, 0], nats, 0).to(scores.dtype)


def define_posterior(call: CRFCall) -> Posterior:
    """Forward and backward variables, multiplied."""
    valid, scores = alive(call), centred(call)
    ahead, _ = _ahead(call, scores, valid)
    if not ahead:
        return Posterior(torch.zeros_like(call.scores), torch.zeros_like(call.scores))
    behind = _behind(call, scores, valid)
    both = torch.stack(ahead, 1) + behind
    weights = (both - _finite(both.amax(-1, keepdim=True))).exp()
    marginals = weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)  # 0 where no path is allowed
    return Posterior(ragged.blank(marginals, call.lengths), ragged.blank(behind, call.lengths))


def alive(call: CRFCall) -> Tensor:
    """``(B, T)``: true where a step is valid."""
    (batch, time, _), device = call.scores.shape, call.scores.device
    if call.lengths is None:
        return torch.ones(batch, time, dtype=torch.bool, device=device)
    return ragged.mask(call.lengths, time, device)


def centred(call: CRFCall) -> Tensor:
    """Scores less the largest of their step, and zero in the padding."""
    return lowered(ragged.blank(call.scores, call.lengths))[0]


def lowered(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values ``(..., K)`` less the largest of each row, and what was taken ``(...,)``, a constant to gradients."""
    largest = _finite(values.detach().amax(-1, keepdim=True))
    return values - largest, largest.squeeze(-1)


def _finite(largest: Tensor) -> Tensor:
    """0 for -inf: where nothing is allowed there is nothing to take away."""
    return largest.masked_fill(largest == -inf, 0)


def log_sum(values: Tensor, axis: int) -> Tensor:
    """The log of the sum of exp; -inf where nothing is allowed, with gradients 0, not NaN as in torch.logsumexp."""
    largest = _finite(values.detach().amax(axis, keepdim=True))
    total = (values - largest).exp().sum(axis)
    nothing = total == 0
    return (total.masked_fill(nothing, 1).log() + largest.squeeze(axis)).masked_fill(nothing, -inf)


def _ahead(call: CRFCall, scores: Tensor, valid: Tensor) -> tuple[list[Tensor], Tensor]:
    """The forward variables ``(B, K)`` of each step, lowered, and what was taken from them in all ``(B,)``.

    Log of the sum of exp(score) over all ways to each tag. Past the end of a row they stand still.
    """
    taken = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    variables: list[Tensor] = []
    for t in range(scores.shape[1]):
        reached = log_sum(variables[-1][:, :, None] + call.transitions, 1) if variables else call.begins
        after, top = lowered(reached + scores[:, t])
        taken = taken + torch.where(valid[:, t], top, 0)
        variables.append(torch.where(valid[:, t, None], after, variables[-1]) if variables else after)
    return variables, taken


def _behind(call: CRFCall, scores: Tensor, valid: Tensor) -> Tensor:
    """`Posterior.behind`, where padding holds anything."""
    ends = call.ends.expand_as(scores[:, 0])
    variables = [ends]
    for t in reversed(range(scores.shape[1] - 1)):
        before = log_sum(call.transitions + (variables[-1] + scores[:, t + 1])[:, None], 2)
        variables.append(torch.where(valid[:, t + 1, None], lowered(before)[0], ends))
    return torch.stack(variables[::-1], 1)


def _score(call: CRFCall, scores: Tensor, valid: Tensor) -> Tensor:
    """The score of the tags ``(B,)`` in float64, without what `centred` took; -inf where one is no tag."""
    if call.tags is None:
        raise ValueError("the likelihood is that of a path: CRFCall needs tags")
    kinds = scores.shape[2]
    tags = call.tags.clamp(0, kinds - 1)
    emitted = scores.gather(2, tags[..., None])[..., 0]
    moved = call.transitions[tags[:, :-1], tags[:, 1:]]
    outer = call.begins[tags[:, 0]] + call.ends[ragged.last(tags, call.lengths, tags[:, 0])]
    steps = torch.cat([(emitted[:, :1] + outer[:, None]), emitted[:, 1:] + moved], 1)
    wrong = valid & (tags != call.tags)
    return steps.masked_fill(~valid, 0).double().sum(1).masked_fill(wrong.any(1), -inf)


def _hopes(call: CRFCall) -> bool:
    """The native kernels are for float32 on the processor."""
    return call.scores.device.type == "cpu" and call.scores.dtype == torch.float32


likelihood: Op[CRFCall] = Op("crf likelihood", define_likelihood, _hopes)
posterior: Op[CRFCall] = Op("crf posterior", define_posterior, _hopes)
