"""The antisymmetric network with an input gate (Chang et al. 2019)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.zoo.antisymmetric_rnn import AntisymmetricRNN
from recurra.tree import State

__all__ = ["GatedAntisymmetricRNN"]


class GatedAntisymmetricRNN(AntisymmetricRNN):
    """AntisymmetricRNN with gating (Chang et al. 2019): gate and update share the recurrent matrix.

        A  = U - U^T - gamma I
        i  = sigmoid(W_i x + A h + b_i)
        h' = h + epsilon * i * tanh(W_h x + A h + b_h)

    i is the paper's z. Arguments and deviations as in `AntisymmetricRNN`.
    """

    gates = ("h", "i")
    without_U = ("i",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.h)
        return State(h=s.h + self.epsilon * i * tanh(x.h + u.h))
