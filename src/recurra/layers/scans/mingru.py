"""The minimal gated recurrent unit (Feng et al. 2024)."""

from typing import Any

import torch
from torch import Tensor, sigmoid

from recurra.layers.scan import Scan

__all__ = ["MinGRU", "positive"]


def positive(x: Tensor) -> Tensor:
    """g(x) = x + 0.5 where x >= 0, else sigmoid(x): positive, continuous, of slope 1 far to the right."""
    return torch.where(x >= 0, x + 0.5, sigmoid(x))


class MinGRU(Scan):
    """Minimal GRU (minGRU; Feng et al., "Were RNNs all we needed?", 2024): a GRU whose gates do not see the state.

        z  = sigmoid(W_z x + b_z)        n = g(W_n x + b_n)        g(v) = v + 0.5 if v >= 0 else sigmoid(v)
        h' = (1 - z) * h + z * n

    h stays between the smallest and the largest n, since 0 < z < 1: nothing can grow. Deviations: the paper scans
    logarithms and so begins from g(0) = 0.5; here h is scanned as it is, as exact and quicker, and begins at 0. The
    paper's code has no biases; here they begin at zero.
    """

    gates = ("z", "n")

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        return sigmoid(-x.z), sigmoid(x.z) * positive(x.n)
