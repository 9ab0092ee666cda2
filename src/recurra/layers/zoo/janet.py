"""The LSTM with nothing but a forget gate (van der Westhuizen and Lasenby 2018)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.lstm import ForgetBias
from recurra.tree import State

__all__ = ["JANET"]


class JANET(ForgetBias):
    """JANET, "just another network" (van der Westhuizen and Lasenby 2018).

        f  = W_f x + U_f h + b_f        g = tanh(W_g x + U_g h + b_g)
        h' = sigmoid(f) * h + (1 - sigmoid(f - beta)) * g

    beta is 1, a number of the class: a little more is written than is forgotten. The paper begins with the chrono
    biases of `recurra.initialise.chrono_`; here b_f begins at ``forget_bias``, 1.
    """

    gates = ("f", "g")
    beta = 1.0

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = x.f + u.f
        g = tanh(x.g + u.g)
        return State(h=sigmoid(f) * s.h + (1 - sigmoid(f - self.beta)) * g)
