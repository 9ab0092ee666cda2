"""The network of coupled oscillators (Rusch and Mishra 2021)."""

from typing import Any

from torch import Tensor, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["CoRNN"]


class CoRNN(Gated):
    """Coupled oscillatory RNN (coRNN; Rusch and Mishra 2021): positions h, velocities v, a driving force.

        v' = v + dt * (tanh(W x + U_a h + U_v v + b) - gamma * h - epsilon * v)
        h' = h + dt * v'

    dt        the time step
    gamma     how strongly a unit is drawn back to zero: the square of its frequency
    epsilon   damping
    others    ``initial``, ``device`` and ``dtype``, as in `Gated`

    The defaults are those of the authors' program for sequential MNIST; the three numbers want tuning. This is the
    explicit form, with v in the damping term; the paper also has one with v'.
    """

    gates = ("a", "v")
    without_W = ("v",)
    late = ("v",)
    state = ("h", "v")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        **others: Any,
    ) -> None:
        self.dt, self.gamma, self.epsilon = float(dt), float(gamma), float(epsilon)
        super().__init__(input_size, hidden_size, **others)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return s.v

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        force = tanh(x.a + u.a + u.v) - self.gamma * s.h - self.epsilon * s.v
        v = s.v + self.dt * force
        return State(h=s.h + self.dt * v, v=v)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, dt={self.dt}, gamma={self.gamma}, epsilon={self.epsilon}"
