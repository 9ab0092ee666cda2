"""The long expressive memory, with learned time steps (Rusch et al. 2022)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["LEM"]


class LEM(Gated):
    """Long expressive memory (LEM; Rusch et al. 2022): two states, each unit with time steps of its own.

        a  = dt * sigmoid(W_a x + U_a h + b_a)        d = dt * sigmoid(W_d x + U_d h + b_d)
        c' = (1 - a) * c + a * tanh(W_c x + U_c h + b_c)
        h' = (1 - d) * h + d * tanh(W_h x + U_h c' + b_h)

    dt       the longest time step; 1 in the paper but where data ask for less
    others   ``initial``, ``device`` and ``dtype``, as in `Gated`

    h is the paper's y and c its z.
    """

    gates = ("a", "d", "c", "h")
    late = ("h",)
    state = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int, dt: float = 1.0, **others: Any) -> None:
        self.dt = float(dt)
        super().__init__(input_size, hidden_size, **others)

    def memory(self, x: Any, u: Any, s: Any) -> Tensor:
        """The new state c'."""
        a = self.dt * sigmoid(x.a + u.a)
        return (1 - a) * s.c + a * tanh(x.c + u.c)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return self.memory(x, u, s)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        d = self.dt * sigmoid(x.d + u.d)
        return State(h=(1 - d) * s.h + d * tanh(x.h + u.h), c=self.memory(x, u, s))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dt={self.dt}"
