"""The LSTM with exponential gates (Beck et al. 2024)."""

from typing import Any

from torch import exp, maximum, relu, sigmoid, tanh, where
from torch.nn.functional import softplus

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["SLSTM"]


class SLSTM(ForgetBias):
    """sLSTM (Beck et al., "xLSTM: extended long short-term memory", 2024), with log f = log sigmoid.

        i  = W_i x + U_i h + b_i                 f = log sigmoid(W_f x + U_f h + b_f)
        z  = tanh(W_z x + U_z h + b_z)           o = sigmoid(W_o x + U_o h + b_o)
        m' = max(f + m, i)
        c' = exp(f + m - m') * c + exp(i - m') * z
        n' = exp(f + m - m') * n + exp(i - m')
        h' = o * c' / n'

    c' / n' is a mean of all z with exponential weights, and m' the logarithm by which sum and weights are scaled
    down, so that no number overflows; the quotient does not depend on it. At the first step, where n is zero, m'
    is i: then n' is 1, and it is never less. Deviations: U is one full matrix a gate (the paper's with one head),
    without the block of convolution, norms and projections around the cell.
    """

    gates = ("i", "f", "z", "o")
    state = ("h", "c", "n", "m")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = x.i + u.i
        f = -softplus(-(x.f + u.f))
        z = tanh(x.z + u.z)
        o = sigmoid(x.o + u.o)
        m = where(s.n > 0, maximum(f + s.m, i), i)
        write = exp(i - m)
        keep = exp(-relu(m - (f + s.m)))  # at most 1, also at the first step, where there is nothing to keep
        c = keep * s.c + write * z
        n = keep * s.n + write
        return State(h=o * c / n, c=c, n=n, m=m)
