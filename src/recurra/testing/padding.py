"""Laws of ragged batches: a padded row is that row alone, and nobody reads the padding."""

from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.layers.base import Recurrent
from recurra.testing.law import law
from recurra.testing.subject import EXACT, Subject, Way

__all__ = ["blank_end", "padded_row", "unread_padding"]

# Some rows end at T, none does, all are empty, all are full.
LENGTHS = ([19, 0, 1, 7, 18, 2], [12, 1, 0], [0, 0, 0], [19, 19])


def _alone(layer: Recurrent, lengths: Tensor) -> Way:
    """Each row without its padding, by itself; then all put together as a padded batch."""

    def way(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs, lasts = [], []
        for row, end in enumerate(lengths.tolist()):
            y, last = layer(x[row : row + 1, :end], tree.rows(state, slice(row, row + 1)))
            outputs.append(torch.cat([y, y.new_zeros(1, x.shape[1] - end, *y.shape[2:])], 1))
            lasts.append(last)
        return torch.cat(outputs), tree.map(lambda *leaves: torch.cat(leaves), *lasts)

    return way


@law(
    "padded row",
    "padding",
    "a padded row equals that row alone, lengths 0 and 1 included: values, last state, every gradient",
    "the last state is taken at T or at lengths - 1, or the padding is part of a reversal or a mean",
)
def padded_row(subject: Subject) -> str:
    for lengths in LENGTHS:
        case = subject.case(len(lengths), 19, lengths)
        ends = torch.tensor(lengths)
        want = subject.answer(_alone(subject.layer, ends), case)
        subject.same(subject.answer(subject.forward(ends), case), want)
    return ""


@law(
    "blank end",
    "padding",
    "outputs past the end of a row are zero",
    "the outputs are not blanked after the last operation, such as a bias or a residual",
)
def blank_end(subject: Subject) -> str:
    for lengths in LENGTHS:
        case = subject.case(len(lengths), 19, lengths)
        y, _ = subject.layer(case.filled(1.0).x, case.state, case.lengths)
        end = y[case.padding.to(y.device)]
        subject.equal("y past the end", end, torch.zeros_like(end), EXACT)
    return ""


@law(
    "unread padding",
    "padding",
    "padding is never read: a NaN there changes nothing, nor does a NaN in the upstream gradient of padded y",
    "padding is multiplied by 0 instead of replaced by 0, and 0 * NaN is NaN, backwards too",
)
def unread_padding(subject: Subject) -> str:
    for lengths in LENGTHS[:2]:
        case = subject.case(len(lengths), 19, lengths)
        way = subject.forward(case.lengths)
        want = subject.answer(way, case.filled(0.0), fill=0.0)
        for fill in (float("nan"), float("inf"), -1e3):
            subject.trying = f"{case}, {fill} in the padding"
            found = subject.answer(way, case.filled(fill), fill=fill)
            subject.same(found, want)
            flow = found["gradient of x"][case.padding.to(case.x.device)]
            subject.equal("gradient of x in the padding", flow, torch.zeros_like(flow), EXACT)
    return ""
