"""Dynamic time warping (Sakoe and Chiba 1978): how unlike two sequences are, whatever their speeds.

    cost(i, j)     = |q_i - r_j| + min(cost(i - 1, j), cost(i, j - 1), cost(i - 1, j - 1))
    distance(q, r) = cost(I, J) / (I + J)        q (I, F), r (J, F)

A recogniser without learning answers with the label of the nearest known sequence: what every model has to beat.
All known sequences are warped at once, one diagonal i + j after the other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recurra.errors import ShapeError

__all__ = ["distances", "nearest"]


def distances(query: Tensor, known: Sequence[Tensor]) -> Tensor:
    """The distances ``(N,)`` of a sequence ``(I, F)`` from N others ``(J, F)`` of any lengths from 1 on.

    Raises ShapeError if a sequence is empty or has other features. Needs N I J numbers of memory.
    """
    for one in (query, *known):
        if one.dim() != 2 or not len(one) or one.shape[1] != query.shape[1]:
            raise ShapeError(f"warping: expected sequences (T, {query.shape[-1]}), T >= 1, got {tuple(one.shape)}")
    lengths = torch.tensor([len(one) for one in known])
    away = torch.cdist(query[None], pad_sequence(list(known), batch_first=True))  # (N, I, J)
    ends = []  # cost(I, .) as the diagonals reach it
    last = before = away.new_full((len(known), len(query) + 1), torch.inf)
    rows = torch.arange(len(query))
    for diagonal in range(len(query) + away.shape[2] - 1):
        columns = diagonal - rows
        inside = (columns >= 0) & (columns < away.shape[2])
        here = away[:, rows, columns.clamp(0, away.shape[2] - 1)].masked_fill(~inside, torch.inf)
        best = torch.minimum(torch.minimum(last[:, 1:], last[:, :-1]), before[:, :-1])
        if not diagonal:
            best[:, 0] = 0
        before, last = last, torch.cat([last[:, :1], here + best], 1)
        ends.append(last[:, -1])
    reached = torch.stack(ends[len(query) - 1 :], 1)  # (N, J)
    return reached[torch.arange(len(known)), lengths - 1] / (len(query) + lengths)


def nearest(queries: Sequence[Tensor], known: Sequence[Tensor]) -> Tensor:
    """For each sequence the number of the nearest known one ``(Q,)``; of equally near ones the first."""
    return torch.stack([distances(query, known).argmin() for query in queries])
