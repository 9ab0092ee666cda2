"""The checks are checked: bugs seen in other projects are built in on purpose, and the right law catches each."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch

import mutants as broken
from mutants import SIZE
from recurra import RNN, Bidirectional, Recurrent
from recurra.errors import ContractError
from recurra.kernels import dispatch
from recurra.kernels.recurrence import Call, define, recurrence
from recurra.testing import LAWS, Report, check_layer, examine_layer

pytestmark = pytest.mark.xdist_group("mutants")


def pair(kind: type[Bidirectional]) -> Callable[[], Recurrent]:
    return lambda: kind(RNN(SIZE, 3), RNN(SIZE, 2))


@contextmanager
def variant(run: Callable[[Call], Any]) -> Iterator[None]:
    """A variant of the recurrence for as long as the mutant lives."""
    recurrence.variant("mutant", lambda call: "")(run)
    try:
        yield
    finally:
        recurrence.variants.pop()
        dispatch._names.discard("mutant")


def slopeless(call: Call) -> Any:
    """The slope of x is lost, and y is right."""
    return define(replace(call, x=call.x.detach()))


def off_when(wrong: Callable[[Call], bool]) -> Callable[[Call], Any]:
    """y is off by a little where ``wrong`` says so."""
    return lambda call: (define(call)[0] + 1e-3 * wrong(call), define(call)[1])


class Mutant(NamedTuple):
    """A broken layer, and the laws that may be named first."""

    make: Callable[[], Recurrent]
    named: str
    around: Callable[[], Any] = nullcontext


MUTANTS: dict[str, Mutant] = {
    "EmptyInFloat32": Mutant(broken.EmptyInFloat32, "sizes"),
    "EmptyBatch": Mutant(broken.EmptyBatch, "sizes"),
    "TrustsStrides": Mutant(broken.TrustsStrides, "strides"),
    "LayersFirst": Mutant(broken.LayersFirst, "state tree"),
    "ListState": Mutant(broken.ListState, "state tree"),
    "SpareInFloat32": Mutant(broken.SpareInFloat32, "state tree"),
    "ChangesState": Mutant(broken.ChangesState, "nothing in place"),
    "BlanksInPlace": Mutant(broken.BlanksInPlace, "nothing in place"),
    "CountsDownLengths": Mutant(broken.CountsDownLengths, "nothing in place"),
    "Stateful": Mutant(broken.Stateful, "no hidden memory"),
    "CountsCalls": Mutant(broken.CountsCalls, "no hidden memory"),
    "RedrawsMask": Mutant(broken.RedrawsMask, "no hidden memory, training"),
    "OtherStart": Mutant(broken.OtherStart, "initial state"),
    "LearnedStartLeftOut": Mutant(lambda: broken.LearnedStartLeftOut(SIZE, 3, initial="learned"), "initial state"),
    "BatchNormalized": Mutant(broken.BatchNormalized, "rows apart"),
    "NeighbourLeak": Mutant(broken.NeighbourLeak, "rows apart"),
    "MultipliesPadding": Mutant(broken.MultipliesPadding, "unread padding"),
    "MultipliesOutputs": Mutant(broken.MultipliesOutputs, "unread padding"),
    "FillsTheEnd": Mutant(broken.FillsTheEnd, "blank end"),
    "LastAtLengthsMinusOne": Mutant(broken.LastAtLengthsMinusOne, "padded row"),
    "LastAtT": Mutant(broken.LastAtT, "padded row"),
    "ReversesPadding": Mutant(pair(broken.ReversesPadding), "padded row"),
    "RoundsToFloat32": Mutant(broken.RoundsToFloat32, "finite differences"),
    "HalfGradient": Mutant(broken.HalfGradient, "finite differences"),
    "DetachedLastState": Mutant(broken.DetachedLastState, "last state gradient"),
    "DetachedBothEnds": Mutant(pair(broken.DetachedBothEnds), "last state gradient"),
    "CentredConvolution": Mutant(broken.CentredConvolution, "no future"),
    "StepWithOtherWeight": Mutant(broken.StepWithOtherWeight, "steps"),
    "MinLSTM": Mutant(broken.MinLSTM, "steps, chunks"),
    "ClockNotCarried": Mutant(broken.ClockNotCarried, "training"),
    "PositionTable": Mutant(broken.PositionTable, "any length"),
    "UnsavedBuffer": Mutant(broken.UnsavedBuffer, "restored state"),
    "ForgetsOnRenew": Mutant(broken.ForgetsOnRenew, "renewed state"),
    "StepsAhead": Mutant(pair(broken.StepsAhead), "refused step"),
    "NamesNoRemedy": Mutant(pair(broken.NamesNoRemedy), "refused step"),
    "loses a slope": Mutant(lambda: RNN(3, 5), "backends", lambda: variant(slopeless)),
    "ignores lengths": Mutant(
        lambda: RNN(3, 5), "backends", lambda: variant(lambda call: define(replace(call, lengths=None)))
    ),
    "is off in float32": Mutant(
        lambda: RNN(3, 5), "backends", lambda: variant(off_when(lambda call: call.x.dtype == torch.float32))
    ),
    "is off without gradients": Mutant(
        lambda: RNN(3, 5), "backends", lambda: variant(off_when(lambda call: not torch.is_grad_enabled()))
    ),
}


@cache
def examined(name: str) -> Report:
    with MUTANTS[name].around():
        return examine_layer(MUTANTS[name].make)


def test_the_layer_that_mutants_change_is_sound() -> None:
    assert check_layer(broken.Sound).kept


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str) -> None:
    report = examined(name)
    assert report.broken, "not caught"
    assert report.broken[0] in MUTANTS[name].named.split(", "), report


@pytest.mark.parametrize("law", LAWS)
def test_each_law_catches_what_no_other_family_does(law: str) -> None:
    family = {name for name, other in LAWS.items() if other.family == LAWS[law].family}
    found = {name: set(examined(name).broken) for name in MUTANTS}
    assert any(law in broken and broken <= family for broken in found.values()), found


def test_the_error_names_law_sizes_difference_and_cause() -> None:
    with pytest.raises(ContractError) as caught:
        check_layer(broken.LastAtLengthsMinusOne)
    for part in (
        "LastAtLengthsMinusOne breaks the law 'padded row': a padded row equals that row alone",
        "last state h: largest difference",
        "tolerated 1e-10",
        "[B=6, T=19, lengths [19, 0, 1, 7, 18, 2], evaluation mode]",
        "usually  the last state is taken at T or at lengths - 1",
        "it also breaks: chunks",
    ):
        assert part in str(caught.value)


def test_an_error_inside_the_layer_is_reported_with_its_sizes() -> None:
    with pytest.raises(ContractError, match=r"'any length'.*\n.*IndexError: .*\[B=2, T=63, evaluation") as caught:
        check_layer(broken.PositionTable)
    assert isinstance(caught.value.__cause__, IndexError)
