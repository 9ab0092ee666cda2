"""The quasi-recurrent network (Bradbury et al. 2017)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.scan import Scan

__all__ = ["QRNN"]


class QRNN(Scan):
    """Quasi-recurrent network (QRNN; Bradbury et al. 2017) with fo-pooling: gates by a convolution over two steps.

        n  = tanh(W_n [x_before, x] + b_n)        f, o = sigmoid(W_f [x_before, x] + b_f), likewise o
        h' = f * h + (1 - f) * n                  y = o * h'

    x_before is the input one step ago, zero at first, and part of the state. Deviation: the paper's zoneout on f is
    left out.
    """

    gates = ("n", "f", "o")
    window = 2

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        return sigmoid(x.f), sigmoid(-x.f) * tanh(x.n)

    def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
        return sigmoid(x.o) * h
