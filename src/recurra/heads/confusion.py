"""What was taken for what: the confusion matrix, and the numbers that are read from it."""

import torch
from torch import Tensor

__all__ = ["accuracy", "confusion", "macro_f1"]


def confusion(predicted: Tensor, labels: Tensor, kinds: int) -> Tensor:
    """Counts ``(kinds, kinds)``: how many rows of each class (rows of the matrix) were taken for each (columns)."""
    return torch.bincount(labels.cpu() * kinds + predicted.cpu(), minlength=kinds * kinds).view(kinds, kinds)


def accuracy(counts: Tensor) -> float:
    """The share of rows that are right."""
    return float(counts.diagonal().sum()) / max(1, int(counts.sum()))


def macro_f1(counts: Tensor) -> float:
    """The mean over classes of F1 = 2 right / (rows of the class + rows taken for it).

    Classes that have no row and that nothing was taken for are left out, as in scikit-learn.
    """
    right, both = counts.diagonal().double(), (counts.sum(0) + counts.sum(1)).double()
    there = both > 0
    return float((2 * right[there] / both[there]).mean()) if there.any() else 0.0
