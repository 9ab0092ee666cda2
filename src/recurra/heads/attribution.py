"""What moved an answer: a share of the score for each step of the input, by integrated gradients.

Sundararajan, Taly and Yan 2017. The shares add up to the difference that the whole input makes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

__all__ = ["Shares", "integrated_gradients", "log_odds"]

MOST = 1024  # points of the integral


class Shares(NamedTuple):
    """What each step did.

    values  (T,)  the share of each step; they add up to score - base, up to ``gap``
    score   of the input
    base    score of an input of as many steps that say nothing
    gap     what the shares miss of the sum: the error of the integral
    """

    values: Tensor
    score: float
    base: float
    gap: float


def log_odds(logits: Tensor, label: int) -> Tensor:
    """log p / (1 - p) of a label ``(...)`` from logits ``(..., K)``."""
    others = torch.cat([logits[..., :label], logits[..., label + 1 :]], -1)
    return logits[..., label] - others.logsumexp(-1)


def integrated_gradients(
    score: Callable[[Tensor], Tensor], x: Tensor, at_once: int = 64, tolerance: float = 0.01
) -> Shares:
    """The share of each step of ``x (T, F)`` in ``score``: (N, T, F) -> (N,).

        share_t = sum over f of x_tf * integral over a from 0 to 1 of d score(a x) / d x_tf

    The input to compare with is 0, an embedding that says nothing. The integral is a Gauss-Legendre sum, with twice
    the points again and again until the shares add up within ``tolerance`` of the difference, or 1024 are used.
    ``at_once`` points go through the network together.
    """
    with torch.no_grad():
        whole, base = score(torch.stack([x, torch.zeros_like(x)])).double().tolist()
    if not len(x):
        return Shares(torch.zeros(0, dtype=torch.float64), whole, base, 0.0)
    points = 32
    while True:
        values = _integral(score, x, points, at_once)
        gap = float(values.sum()) - (whole - base)
        if abs(gap) <= tolerance * max(1.0, abs(whole - base)) or points >= MOST:
            return Shares(values, whole, base, gap)
        points *= 2


def _integral(score: Callable[[Tensor], Tensor], x: Tensor, points: int, at_once: int) -> Tensor:
    nodes, masses = numpy.polynomial.legendre.leggauss(points)
    places, weights = torch.tensor((nodes + 1) / 2).to(x), torch.tensor(masses / 2)
    total = torch.zeros(x.shape, dtype=torch.float64)
    for place, weight in zip(places.split(at_once), weights.split(at_once), strict=True):
        inputs = (place[:, None, None] * x).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(score(inputs).sum(), inputs)
        total += (weight[:, None, None] * gradient.double().cpu()).sum(0)
    return (total * x.double().cpu()).sum(1)
