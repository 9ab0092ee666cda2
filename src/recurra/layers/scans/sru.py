"""The simple recurrent unit (Lei et al. 2018)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.scan import Scan

__all__ = ["SRU"]


class SRU(Scan):
    """Simple recurrent unit (SRU; Lei et al. 2018), in the form whose gates do not see the state.

        f  = sigmoid(W_f x + b_f)                 r = sigmoid(W_r x + b_r)
        h' = f * h + (1 - f) * (W_n x + b_n)      y = r * tanh(h') + (1 - r) * x

    This is the paper's first version. The later one adds v * h to the gates, which then depend on the state: not a
    scan any more, and not this layer. Deviations: a bias b_n, which begins at zero; if the sizes differ,
    W_p x + b_p goes past h instead of x.
    """

    gates: tuple[str, ...] = ("n", "f", "r")

    def __init__(self, input_size: int, hidden_size: int, **others: Any) -> None:
        if input_size != hidden_size:
            self.gates = (*type(self).gates, "past")
        super().__init__(input_size, hidden_size, **others)

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        return sigmoid(x.f), sigmoid(-x.f) * x.n

    def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
        r = sigmoid(x.r)
        return r * tanh(h) + (1 - r) * (x.past if "past" in self.gates else x.input)
