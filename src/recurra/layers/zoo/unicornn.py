"""The network of undamped oscillators that do not see each other (Rusch and Mishra 2021)."""

from typing import Any

from torch import nn, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["UnICORNN"]


class UnICORNN(Gated):
    """Undamped independent controlled oscillatory RNN (UnICORNN; Rusch and Mishra 2021), made for deep stacks.

        d  = dt * sigmoid(c)
        v' = v - d * (tanh(W x + w * h + b) + alpha * h)
        h' = h + d * v'

    dt       the longest time step of a unit; its own is learned by c
    alpha    how strongly a unit is drawn back to zero
    others   ``initial``, ``device`` and ``dtype``, as in `Gated`

    h is the paper's y and v its z. w begins uniform in 0 .. 1, c in -0.1 .. 0.1, as in the authors' program. Units
    meet in the next layer only: stack two or more. dt and alpha want tuning; the paper finds them by search.
    """

    gates = ("a",)
    without_U = ("a",)
    state = ("h", "v")
    vectors = ("w", "c")

    def __init__(
        self, input_size: int, hidden_size: int, dt: float = 0.1, alpha: float = 1.0, **others: Any
    ) -> None:
        self.dt, self.alpha = float(dt), float(alpha)
        super().__init__(input_size, hidden_size, **others)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.uniform_(self.get_parameter("w"))
        nn.init.uniform_(self.get_parameter("c"), -0.1, 0.1)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        force = tanh(x.a + p.w * s.h) + self.alpha * s.h
        v = s.v - self.dt * sigmoid(p.c) * force
        return State(h=s.h + self.dt * sigmoid(p.c) * v, v=v)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dt={self.dt}, alpha={self.alpha}"
