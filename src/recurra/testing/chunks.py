"""Laws of time: steps, chunks and the whole sequence are one computation, and the past does not see the future."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from recurra.layers.base import Recurrent
from recurra.testing.law import EVALUATION, TRAINING, law
from recurra.testing.subject import EXACT, Case, Subject, Way

__all__ = ["any_length", "chunks", "no_future", "steps", "training"]

NEEDS_THE_FUTURE = "the layer needs the future"
CUTS = ((0, 1, 8, 8, 19), (0, 18, 19), (0, 5, 10, 15, 19))  # one step, no step and several steps at a time
RAGGED = [19, 0, 1, 8, 9, 18]
LONG = 63


def _stepped(layer: Recurrent) -> Way:
    def way(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs = []
        for x_t in x.unbind(1):
            y, state = layer.step(x_t, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state

    return way


def _chunked(layer: Recurrent, cuts: tuple[int, ...], lengths: Tensor | None) -> Way:
    def way(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs = []
        for begin, end in pairwise(cuts):
            left = None if lengths is None else (lengths - begin).clamp(0, end - begin)
            y, state = layer(x[:, begin:end], state, left)
            outputs.append(y)
        return torch.cat(outputs, 1), state

    return way


def _steps_are_forward(subject: Subject) -> None:
    for case in (subject.case(5, 19), subject.case(1, 1)):
        subject.trying = f"{case}, {case.x.shape[1]} steps"
        want = subject.answer(subject.forward(), case)
        subject.same(subject.answer(_stepped(subject.layer), case), want)


def _chunks_are_forward(subject: Subject, case: Case) -> None:
    want = subject.answer(subject.forward(case.lengths), case)
    for cuts in CUTS:
        subject.trying = f"{case}, cut at {cuts}"
        subject.same(subject.answer(_chunked(subject.layer, cuts, case.lengths), case), want)


@law(
    "steps",
    "time",
    "T steps equal one forward: values, last state, every gradient",
    "step and sequence are written twice and differ, or the step forgets a part of the state",
    EVALUATION,
)
def steps(subject: Subject) -> str:
    if not subject.layer.causal:
        return NEEDS_THE_FUTURE
    _steps_are_forward(subject)
    return ""


@law(
    "chunks",
    "time",
    "any chunking equals the whole, ragged rows too: values, last state, every gradient",
    "the returned state lacks something that later steps need, is rescaled, or is detached",
    EVALUATION,
)
def chunks(subject: Subject) -> str:
    if not subject.layer.causal:
        return NEEDS_THE_FUTURE
    _chunks_are_forward(subject, subject.case(5, 19))
    _chunks_are_forward(subject, subject.case(6, 19, RAGGED))
    return ""


@law(
    "training",
    "time",
    "in training mode too, steps and chunks from the same state equal one forward",
    "noise or statistics that last are kept outside the state, or are drawn anew at each call",
    TRAINING,
)
def training(subject: Subject) -> str:
    if not subject.layer.causal:
        return NEEDS_THE_FUTURE
    _steps_are_forward(subject)
    _chunks_are_forward(subject, subject.case(5, 19))
    _chunks_are_forward(subject, subject.case(6, 19, RAGGED))
    return ""


@law(
    "any length",
    "time",
    "the same parameters serve a sequence of any length",
    "parameters or tables are made for a fixed number of time steps",
    EVALUATION,
)
def any_length(subject: Subject) -> str:
    before = {name: p.shape for name, p in subject.layer.named_parameters()}
    for time in (1, LONG, 19):
        case = subject.case(2, time)
        found = subject.answer(subject.forward(), case)
        broken = [name for name, value in found.items() if not value.isfinite().all()]
        subject.require(not broken, f"expected finite numbers, got NaN or infinity in {', '.join(broken)}")
        after = {name: p.shape for name, p in subject.layer.named_parameters()}
        subject.require(after == before, f"expected the parameters {before}, got {after} after T={time}")
    return ""


@law(
    "no future",
    "time",
    "a causal layer's output at a time step does not depend on later steps, in values or gradients",
    "a convolution is centred, a mask is missing, or statistics are taken over all time steps",
)
def no_future(subject: Subject) -> str:
    if not subject.layer.causal:
        return NEEDS_THE_FUTURE
    case = subject.case(3, 19)
    for now in (1, 7, 18):
        subject.trying = f"{case}, steps before and after {now}"
        x = case.x.clone().requires_grad_()
        early = subject.layer(x, case.state)[0][:, :now]
        changed = torch.cat([case.x[:, :now], subject.random(3, 19 - now) * 10], 1)
        subject.equal("y before the change", subject.layer(changed, case.state)[0][:, :now], early)
        (leak,) = torch.autograd.grad(early.sum(), x)
        later = leak[:, now:]
        subject.equal("gradient of later x", later, torch.zeros_like(later), EXACT)
    return ""
