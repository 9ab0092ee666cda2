"""The minimal long short-term memory (Feng et al. 2024)."""

from typing import Any

from torch import Tensor, sigmoid
from torch.nn.functional import softplus

from recurra.layers.scan import Scan
from recurra.layers.scans.mingru import positive

__all__ = ["MinLSTM"]


class MinLSTM(Scan):
    """Minimal LSTM (minLSTM; Feng et al., "Were RNNs all we needed?", 2024): gates that do not see the state.

        f  = sigmoid(W_f x + b_f)        i = sigmoid(W_i x + b_i)        n = g(W_n x + b_n), g as in `MinGRU`
        h' = (f / (f + i)) * h + (i / (f + i)) * n

    The shares are computed as sigmoid(d) and sigmoid(-d) of d = log f - log i = softplus(-i's product) -
    softplus(-f's product), so that nothing overflows and 0 / 0 cannot be, where f and i both vanish. Deviations: as
    in `MinGRU`, h is scanned as it is and begins at 0, and there are biases, which begin at zero.
    """

    gates = ("f", "i", "n")

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        d = softplus(-x.i) - softplus(-x.f)
        return sigmoid(d), sigmoid(-d) * positive(x.n)
