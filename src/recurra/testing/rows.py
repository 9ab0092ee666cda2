"""The law of rows: a batch is several sequences side by side that know nothing of each other."""

from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.testing.law import law
from recurra.testing.subject import EXACT, Subject, values

__all__ = ["rows_apart"]

ORDER = torch.tensor([3, 0, 4, 1, 2])
LENGTHS = [19, 0, 1, 7, 18]


@law(
    "rows apart",
    "rows",
    "rows do not see each other: their order and what the others hold do not matter, in values or gradients",
    "a mean, a norm or a maximum runs over the batch axis",
)
def rows_apart(subject: Subject) -> str:
    back = ORDER.argsort()
    for lengths in (None, LENGTHS):
        case = subject.case(5, 19, lengths).filled(0.0)  # who reads the padding breaks another law
        ends = None if case.lengths is None else case.lengths[ORDER]

        def reordered(x: Tensor, state: Any, ends: Tensor | None = ends) -> tuple[Tensor, Any]:
            y, last = subject.layer(x[ORDER], tree.rows(state, ORDER), ends)
            return y[back], tree.rows(last, back)

        want = subject.answer(subject.forward(case.lengths), case)
        subject.same(subject.answer(reordered, case), want)
    _one_row_watched(subject)
    _rows_chosen(subject)
    return ""


def _one_row_watched(subject: Subject) -> None:
    case = subject.case(5, 19)
    subject.trying = f"{case}, row 0 watched and the others changed"
    x = case.x.clone().requires_grad_()
    y, last = subject.layer(x, case.state)
    others = x.detach().clone()
    others[1:] = float("nan")
    z, _ = subject.layer(others, case.state)
    subject.equal("y of row 0 beside rows of NaN", z[0], y[0])
    ends = [end[0].sum() for end in (y, *tree.leaves(last)) if end.requires_grad]
    (leak,) = torch.autograd.grad(ends, x)
    subject.equal("gradient of the other rows", leak[1:], torch.zeros_like(leak[1:]), EXACT)


def _rows_chosen(subject: Subject) -> None:
    """Beam search repeats and drops rows of a state; a session begins some anew."""
    case = subject.case(5, 19)
    y, last = subject.layer(case.x, case.state)
    subject.trying = f"{case}, rows [2, 0, 2]"
    index = torch.tensor([2, 0, 2])
    found = subject.layer(case.x[index], tree.rows(case.state, index))
    subject.same(values(*found), values(y[index], tree.rows(last, index)))
    subject.trying = f"{case}, rows 1 and 3 begin anew"
    fresh = subject.layer.initial_state(5, case.x)
    anew = torch.tensor([False, True, False, True, False], device=case.x.device)
    want = values(*tree.where(anew, subject.layer(case.x, fresh), (y, last)))
    subject.same(values(*subject.layer(case.x, tree.where(anew, fresh, case.state))), want)
