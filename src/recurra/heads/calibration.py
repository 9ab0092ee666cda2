"""Probabilities that mean what they say: how far they are off, and temperature scaling (Guo et al. 2017)."""

import torch
from torch import Tensor

__all__ = ["HIGHEST", "LOWEST", "calibration_error", "fit_temperature"]

LOWEST, HIGHEST = 0.05, 20.0  # temperatures


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error: how far the confidence is from the share that is right (Naeini et al. 2015).

        ECE = sum over bins b of |b| / N |accuracy(b) - confidence(b)|

    probabilities (N, K), labels (N,); the bins are of equal width over the probability of the likeliest class.
    """
    if not len(labels):
        return 0.0
    confidence, predicted = probabilities.double().max(1)
    right = (predicted == labels).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1  # a bin holds its upper edge, as in the paper
    off = torch.zeros(bins, dtype=torch.float64).index_add(0, place.cpu(), (right - confidence).cpu())
    return float(off.abs().sum()) / len(labels)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T for which softmax(logits / T) gives held-out labels the highest likelihood.

        minimise over T the mean over rows of  - sum_k t_k log softmax(z / T)_k

    logits z (N, K), labels (N,). As in Platt 1999 a label is not taken for certain: its t is (N + 1) / (N + 2), and
    the others share the rest. Else rows without a single mistake would ask for T = 0, and all answers be certain.

    The sum is convex in b = 1 / T, with the slope mean(sum_k (p_k - t_k) z_k): bisection finds where it is 0. T is
    kept between `LOWEST` and `HIGHEST`.
    """
    count, kinds = logits.shape
    if not count:
        return 1.0
    z = logits.double()
    doubt = 1 / (count + 2)
    targets = torch.full_like(z, doubt / max(1, kinds - 1)).scatter_(1, labels[:, None], 1 - doubt)
    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(60):
        middle = (low + high) / 2
        slope = float((((middle * z).softmax(1) - targets) * z).sum(1).mean())
        low, high = (low, middle) if slope > 0 else (middle, high)
    return 2 / (low + high)
