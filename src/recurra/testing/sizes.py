"""Laws of layout: any batch size and any number of time steps, none included, in any memory layout."""

from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.testing.law import EVALUATION, law
from recurra.testing.subject import EXACT, Answer, Case, Subject

__all__ = ["sizes", "strides"]

SIZES = (0, 1, 19, 33)


@law(
    "sizes",
    "layout",
    "any number of rows and of time steps will do, none included; no steps give the state back; gradients too",
    "torch.stack of nothing, a mean of nothing, or a size that is taken from x[0]",
)
def sizes(subject: Subject) -> str:
    features = subject.layer(subject.random(2, 3))[0].shape[2:]
    want = subject.layer.output_shape
    subject.require(want in (None, tuple(features)), f"output_shape is {want}, y has {tuple(features)} features")
    tried = SIZES[:2] if subject.training else SIZES
    for batch in tried:
        for time in tried:
            _fits(subject, subject.case(batch, time), tuple(features))
            if min(batch, time) < 19:
                ends = [row % (time + 1) for row in range(batch)]
                _fits(subject, subject.case(batch, time, ends).filled(0.0), tuple(features))
    return ""


def _fits(subject: Subject, case: Case, features: tuple[int, ...]) -> None:
    found = subject.answer(subject.forward(case.lengths), case)
    broken = [name for name, value in found.items() if not value.isfinite().all()]
    subject.require(not broken, f"expected finite numbers, got NaN or infinity in {', '.join(broken)}")
    shape, want = tuple(found["y"].shape), (*case.x.shape[:2], *features)
    subject.require(shape == want, f"expected y of shape {want}, got {shape}")
    subject.require(found["y"].dtype == case.x.dtype, f"expected y of {case.x.dtype}, got {found['y'].dtype}")
    if case.x.shape[1] == 0:
        _keeps_state(subject, case, found)


def _keeps_state(subject: Subject, case: Case, found: Answer) -> None:
    for name, leaf in zip(tree.names(case.state), tree.leaves(case.state), strict=True):
        subject.equal(f"last state {name} after no step", found[f"last state {name}"], leaf, EXACT)


@law(
    "strides",
    "layout",
    "the memory layout does not matter: transposed, sliced and expanded input gives the same answer",
    "view, data_ptr or as_strided is used where the layout is not known",
    EVALUATION,
)
def strides(subject: Subject) -> str:
    for lengths in (None, [19, 0, 1, 7, 18]):
        case = subject.case(5, 19, lengths)
        forward = subject.forward(case.lengths)
        want = subject.answer(forward, case)
        for name, relayout in {"time first": _time_first, "every second feature": _every_second}.items():
            subject.trying = f"{case}, {name}"
            way = lambda x, state, f=relayout, run=forward: run(f(x), tree.map(f, state))
            subject.same(subject.answer(way, case), want)
    _expanded(subject)
    return ""


def _time_first(leaf: Tensor) -> Tensor:
    """The same tensor with its first two axes swapped in memory."""
    return leaf.transpose(0, 1).contiguous().transpose(0, 1) if leaf.dim() > 1 else leaf


def _every_second(leaf: Tensor) -> Tensor:
    """The same tensor as every second number of a larger one, NaN between."""
    larger = torch.stack([leaf, torch.full_like(leaf, float("nan") if leaf.is_floating_point() else 0)], -1)
    return larger.flatten(-2)[..., ::2] if leaf.dim() else leaf


def _expanded(subject: Subject) -> None:
    """One row for all, with stride 0."""
    case = subject.case(1, 19)
    subject.trying = "B=5, T=19, one row expanded"

    def expanded(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return subject.layer(x.expand(5, *x.shape[1:]), tree.map(lambda s: s.expand(5, *s.shape[1:]), state))

    def repeated(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return subject.layer(torch.cat([x] * 5), tree.map(lambda s: torch.cat([s] * 5), state))

    subject.same(subject.answer(expanded, case), subject.answer(repeated, case))
