"""One row of a table: check that the sides agree, time them in turn, and say what came out."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.agreement import TOLERANCE, Disagreement, agree
from benchmarks.results import Row, Value
from benchmarks.steps import Side
from benchmarks.timing import Effort, Times, compare
from recurra.kernels import dispatch

__all__ = ["check", "race", "shape_of"]

Values = Callable[[Times], dict[str, Value]]


def shape_of(time: int, batch: int, hidden: int) -> str:
    """How tables write a shape."""
    return f"T{time} B{batch} H{hidden}"


def race(
    label: tuple[str, str, str],
    sides: Mapping[str, Side],
    values: Values,
    effort: Effort,
    pairs: Sequence[tuple[str, str]] | None = None,
    oracles: Mapping[str, Side] | None = None,
    tolerance: float = TOLERANCE,
) -> Row:
    """The row with this name, shape and group. Sides that disagree are not timed, and the row says so.

    values   what the columns hold
    pairs    which sides must agree; without it the first one with each other one
    oracles  sides that the others are checked by, and that are not timed
    tolerance  how far they may be apart
    """
    name, shape, group = label
    names = list(sides)
    pairs = [(names[0], other) for other in names[1:]] if pairs is None else pairs
    try:
        error, note = check(sides, pairs, oracles, tolerance)
    except Disagreement as disagreement:
        return Row(name, shape, group=group, note=f"not timed: {disagreement}")
    return Row(name, shape, values(compare(sides, effort)), group, error, note)


def check(
    sides: Mapping[str, Side],
    pairs: Sequence[tuple[str, str]],
    oracles: Mapping[str, Side] | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[float, str]:
    """The largest error over all pairs, and "" or which slower path a side took. Raises Disagreement."""
    with dispatch.record() as log:
        results = {name: side.result() for name, side in sides.items()}
    results |= {name: side.result() for name, side in (oracles or {}).items()}
    errors = [0.0]
    for ours, theirs in pairs:
        try:
            errors.append(agree(results[ours], results[theirs], tolerance))
        except Disagreement as disagreement:
            raise Disagreement(f"{ours} and {theirs}: {disagreement}") from disagreement
    slow = [_reason(decision) for decision in log if decision.ran == dispatch.REFERENCE]
    return max(errors), "; ".join(dict.fromkeys(slow))


def _reason(decision: dispatch.Decision) -> str:
    """Why the reference ran."""
    refused = "; ".join(f"{name}: {reason}" for name, reason in decision.refused.items())
    return f"{decision.op} ran as its definition ({refused or 'there is no other variant'})"
