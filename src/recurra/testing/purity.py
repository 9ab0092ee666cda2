"""Laws of purity: a call depends on its arguments and the parameters alone, and changes nothing."""

from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.testing.law import law
from recurra.testing.subject import EXACT, Case, Subject, Way

__all__ = ["initial_state", "no_hidden_memory", "nothing_in_place"]

LENGTHS = [19, 0, 1, 7, 18]


def _without_state(case: Case) -> Case:
    """The call of a newcomer; zeros in the padding, because who reads it breaks another law."""
    case = case.filled(0.0)
    return Case(case.x, (), case.lengths)


def _seeded(way: Way) -> Way:
    """A state may hold random seeds: both sides draw the same."""

    def run(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        torch.manual_seed(3)
        return way(x, state)

    return run


@law(
    "initial state",
    "purity",
    "state=None is initial_state, in forward and in step: values, last state, every gradient",
    "None takes a way of its own, or the learned first state is left out of it",
)
def initial_state(subject: Subject) -> str:
    layer = subject.layer
    for lengths in (None, LENGTHS):
        case = _without_state(subject.case(5, 19, lengths))
        ends = case.lengths

        def given(x: Tensor, _: Any, ends: Tensor | None = ends) -> tuple[Tensor, Any]:
            return layer(x, layer.initial_state(len(x), x), ends)

        def left_out(x: Tensor, _: Any, ends: Tensor | None = ends) -> tuple[Tensor, Any]:
            return layer(x, lengths=ends)

        subject.same(subject.answer(_seeded(left_out), case), subject.answer(_seeded(given), case))
    if layer.causal:
        case = _without_state(subject.case(5, 1))
        subject.trying = "B=5, one step"
        want = subject.answer(_seeded(lambda x, _: layer.step(x[:, 0], layer.initial_state(len(x), x))), case)
        subject.same(subject.answer(_seeded(lambda x, _: layer.step(x[:, 0], None)), case), want)
    return ""


@law(
    "nothing in place",
    "purity",
    "no call changes x, the state before, or lengths",
    "an operation whose name ends in an underscore, or an index on the left of an equals sign",
)
def nothing_in_place(subject: Subject) -> str:
    for lengths in (None, LENGTHS):
        case = subject.case(5, 19, lengths)
        for gradients in (False, True):
            with torch.set_grad_enabled(gradients):
                _unchanged_by(subject, case, lambda c: subject.layer(c.x, c.state, c.lengths))
                if subject.layer.causal:
                    _unchanged_by(subject, case, lambda c: subject.layer.step(c.x[:, 0], c.state))
    return ""


def _unchanged_by(subject: Subject, case: Case, call: Any) -> None:
    given = Case(case.x.clone(), tree.map(torch.clone, case.state), case.lengths)
    given = given if case.lengths is None else Case(given.x, given.state, case.lengths.clone())
    call(given)
    subject.equal("x after the call", given.x.nan_to_num(7.0), case.x.nan_to_num(7.0), EXACT)
    for name, leaf, before in zip(
        tree.names(case.state), tree.leaves(given.state), tree.leaves(case.state), strict=True
    ):
        subject.equal(f"state {name} after the call", leaf, before, EXACT)
    if given.lengths is not None and case.lengths is not None:
        subject.equal("lengths after the call", given.lengths, case.lengths, EXACT)


@law(
    "no hidden memory",
    "purity",
    "the same call gives the same answer whatever was called before, and no buffer or parameter changes",
    "an attribute or a buffer keeps what belongs into the state, or each call draws its own random numbers",
)
def no_hidden_memory(subject: Subject) -> str:
    layer = subject.layer
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    case = subject.case(5, 19)
    begun, anew = _without_state(case), _seeded(lambda x, _: layer(x))
    want = subject.answer(subject.forward(), case)
    want_anew = subject.answer(anew, begun)
    for way, given, expected in ((subject.forward(), case, want), (anew, begun, want_anew)):
        _disturb(subject)
        subject.same(subject.answer(way, given), expected)
    subject.same(layer.state_dict(), before, EXACT)
    return ""


def _disturb(subject: Subject) -> None:
    """Calls of other users in between."""
    subject.layer(subject.random(3, 7), lengths=[7, 0, 1])
    _, state = subject.layer(subject.random(5, 19))
    if subject.layer.causal:
        subject.layer.step(subject.random(5, 1)[:, 0], state)
