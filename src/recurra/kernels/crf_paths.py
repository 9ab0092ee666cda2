"""The best path through a conditional random field, and the n best.

Viterbi 1967; the n best after Schwartz and Chow 1990, exactly: the n best ways to reach a tag go through the n best
ways to reach a tag before it.
"""

from math import inf

import torch
from torch import Tensor

from recurra.kernels.crf import CRFCall, alive, centred, lowered
from recurra.kernels.dispatch import Op

__all__ = ["best_path", "define_best_path", "top_paths"]


def define_best_path(call: CRFCall) -> Tensor:
    """The likeliest tags ``(B, T)``; -1 in the padding, and in rows that have no path."""
    valid, scores = alive(call), centred(call)
    heights: list[Tensor] = []  # (B, K) of each step: the score of the best way to each tag
    for t in range(scores.shape[1]):
        reached = (heights[-1][:, :, None] + call.transitions).amax(1) if heights else call.begins
        after = lowered(reached + scores[:, t])[0]
        heights.append(torch.where(valid[:, t, None], after, heights[-1]) if heights else after)
    if not heights:
        return torch.empty(scores.shape[:2], dtype=torch.int64, device=scores.device)
    last = (heights[-1] + call.ends).max(1)
    path = [last.indices]
    for t in reversed(range(scores.shape[1] - 1)):
        before = (heights[t] + call.transitions.T[path[-1]]).argmax(1)
        path.append(torch.where(valid[:, t + 1], before, path[-1]))
    return torch.stack(path[::-1], 1).masked_fill(~valid | (last.values == -inf)[:, None], -1)


def top_paths(call: CRFCall, n: int) -> tuple[Tensor, Tensor]:
    """The n best paths ``(B, n, T)``, best first, and how far their scores lie below the best ``(B, n)``.

    Where there are fewer than n paths the rest are -1, at -inf. A row of length 0 has one path, which is empty.
    """
    (batch, time, kinds), valid, scores = call.scores.shape, alive(call), centred(call)
    first = torch.zeros(n, dtype=scores.dtype, device=scores.device)
    first[1:] = -inf
    heights = first.expand(batch, kinds, n)  # the scores of the n best ways to each tag
    itself = torch.arange(kinds * n, device=scores.device).expand(batch, -1)
    parents = [itself] * min(time, 1)
    for t in range(time):
        if t == 0:
            after = heights + call.begins[:, None]
        else:
            ways = (heights[..., None] + call.transitions[:, None]).flatten(1, 2).topk(n, 1)  # of (B, K n, K)
            after, parent = ways.values.transpose(1, 2), ways.indices.transpose(1, 2).flatten(1)
            parents.append(torch.where(valid[:, t, None], parent, itself))
        after = lowered((after + scores[:, t, :, None]).flatten(1))[0].view(batch, kinds, n)
        heights = torch.where(valid[:, t, None, None], after, heights)
    finals = (heights + call.ends[:, None]).flatten(1)
    empty = ~valid.any(1, keepdim=True)
    finals = torch.where(empty, torch.where(itself == 0, 0, -inf).to(finals), finals)
    return _walk_back(finals, parents, valid, n)


def _walk_back(finals: Tensor, parents: list[Tensor], valid: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """From the n best ends ``(B, K n)`` to their beginnings."""
    values, place = finals.topk(n, 1)
    tags = []
    for parent in reversed(parents):
        tags.append(place // n)
        place = parent.gather(1, place)
    paths = torch.stack(tags[::-1], 2) if tags else place.new_empty(*place.shape, 0)
    missing = values == -inf
    below = (values - values[:, :1]).masked_fill(missing, -inf)
    return paths.masked_fill(~valid[:, None] | missing[..., None], -1), below


def _hopes(call: CRFCall) -> bool:
    """The native kernel is for float32 on the processor."""
    return call.scores.device.type == "cpu" and call.scores.dtype == torch.float32


best_path: Op[CRFCall] = Op("crf best path", define_best_path, _hopes)
