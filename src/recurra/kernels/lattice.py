"""The ways through a transducer's lattice: their sum, the share of each step in it, and the best one.

A way begins at node (0, 0) and leaves from (T - 1, U). From (t, u) it goes to (t + 1, u) by a blank, or to
(t, u + 1) by the next token. All nodes with the same d = t + u come after all those with less, so a diagonal is
computed at once, and every way passes through exactly one node of each.

Numbers stay small however long a row is: the largest of each diagonal is taken away, and what was taken is summed
in float64, as in `crf`.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra.kernels.crf import log_sum, lowered

__all__ = ["Arcs", "best_way", "nats", "posterior"]


@dataclass(frozen=True)
class Arcs:
    """Something about the steps out of each node ``(B, T, U + 1)``, where a row has T frames and U tokens or less.

    As log probabilities, -inf where there is no step: in the padding, and for tokens after the last.
    """

    blank: Tensor
    token: Tensor
    lengths: Tensor  # (B,) on the CPU: frames
    token_lengths: Tensor  # (B,) on the CPU


def nats(arcs: Arcs) -> Tensor:
    """``-log`` of the sum over all ways ``(B,)``.

    A row without frames has one way if it has no tokens, 0, and none else, +inf.
    """
    device = arcs.blank.device
    ends, empty = arcs.token_lengths.to(device), (arcs.lengths == 0).to(device)
    last = (arcs.lengths - 1 + arcs.token_lengths).to(device)  # the diagonal from which a row leaves
    blanks, tokens = _skewed(arcs.blank), _skewed(arcs.token)
    at = _start(arcs)
    taken = total = torch.zeros(len(ends), dtype=torch.float64, device=device)
    for d in range(blanks.shape[1]):
        if d:
            at, top = lowered(log_sum(torch.stack(_reached(at, blanks[:, d - 1], tokens[:, d - 1])), 0))
            taken = taken + top
        left = (at + blanks[:, d]).gather(1, ends[:, None])[:, 0]
        total = torch.where(last == d, left + taken, total)
    nothing = torch.where(ends > 0, inf, 0.0).double()
    return torch.where(empty, nothing, -total).to(arcs.blank)


def posterior(arcs: Arcs) -> Arcs:
    """The share of the ways that take each step: what -nats gains when the step's log probability does."""
    if not arcs.blank.numel():
        return arcs
    with torch.enable_grad():
        blank, token = (steps.detach().requires_grad_() for steps in (arcs.blank, arcs.token))
        whole = nats(Arcs(blank, token, arcs.lengths, arcs.token_lengths))
        shares = torch.autograd.grad(whole, (blank, token), -torch.ones_like(whole), materialize_grads=True)
    return Arcs(shares[0], shares[1], arcs.lengths, arcs.token_lengths)


def best_way(arcs: Arcs) -> tuple[Tensor, Tensor]:
    """At which frame the likeliest way writes each token ``(B, U)``, -1 in the padding, and its nats ``(B,)``.

    Where there is no way all is -1 and the nats are +inf. Of equals the way that writes earlier.
    """
    device, longest = arcs.blank.device, arcs.blank.shape[2] - 1
    blanks, tokens = _skewed(arcs.blank), _skewed(arcs.token)
    at, written = _start(arcs).double(), []
    heights = [at]
    for d in range(1, blanks.shape[1]):
        stayed, moved = _reached(at, blanks[:, d - 1], tokens[:, d - 1])
        at = torch.maximum(stayed, moved)
        written.append(moved > stayed)
        heights.append(at)
    return _walk_back(arcs, torch.stack(heights, 1) + blanks, written, longest, device)


def _walk_back(
    arcs: Arcs, leaving: Tensor, written: list[Tensor], longest: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The best way from its end to its beginning; ``leaving (B, D, U + 1)`` is its height where it ends."""
    rows = torch.arange(len(leaving), device=device)
    place, last = arcs.token_lengths.to(device), (arcs.lengths - 1 + arcs.token_lengths).to(device)
    height = leaving[rows, last.clamp(min=0), place]
    frames = torch.full((len(leaving), longest), -1, dtype=torch.int64, device=device)
    for d in reversed(range(1, leaving.shape[1])):
        came = written[d - 1][rows, place] & (d <= last) & height.isfinite()
        frames[rows[came], place[came] - 1] = d - place[came]
        place = place - came.long()
    empty, ends = (arcs.lengths == 0).to(device), arcs.token_lengths.to(device)
    height = torch.where(empty, torch.where(ends > 0, -inf, 0.0).to(height), height)
    return frames, -height.to(arcs.blank)


def _start(arcs: Arcs) -> Tensor:
    """The first diagonal: all ways are at (0, 0)."""
    at = torch.full_like(arcs.blank[:, :1].sum(1), -inf)
    at[:, 0] = 0
    return at


def _reached(at: Tensor, blank: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """A diagonal as it is reached from the one before ``(B, U + 1)``: by blanks, and by tokens."""
    return at + blank, pad((at + token)[:, :-1], (1, 0), value=-inf)


def _skewed(steps: Tensor) -> Tensor:
    """Steps by diagonals ``(B, T + U, U + 1)``: at (d, u) those of node (d - u, u), -inf where there is none."""
    _, frames, places = steps.shape
    if not frames:
        return steps
    frame = torch.arange(frames + places - 1, device=steps.device)[:, None] - torch.arange(
        places, device=steps.device
    )
    found = steps.gather(1, frame.clamp(0, frames - 1).expand(len(steps), -1, -1))
    return found.masked_fill((frame < 0) | (frame >= frames), -inf)
