"""The gated unit with a look back over several steps (Erichson et al. 2022)."""

from typing import Any

from torch import Tensor, sigmoid, tanh

from recurra.errors import ConfigError
from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["TauGRU"]


class TauGRU(Gated):
    """Gated unit with weighted time-delay feedback (tau-GRU; Erichson, Lim and Mahoney 2022).

        n  = tanh(W_n x + U_n h + b_n)           d = tanh(W_d x + U_d h_tau + b_d)
        g  = sigmoid(W_g x + U_g h + b_g)        a = sigmoid(W_a x + U_a h + b_a)
        h' = (1 - g) * h + g * (n + a * d)

    h_tau is the state ``delay`` steps before h, zero before the first step. The states h1, h2, .. are the line in
    which h waits: ``h1' = h``, ``h2' = h1``.

    delay    tau, at least 1; each step of it is one more state to carry, so keep it small
    others   ``initial``, ``device`` and ``dtype``, as in `Gated`

    n is the paper's u and d its z.
    """

    gates = ("n", "d", "g", "a")
    late = ("d",)

    def __init__(self, input_size: int, hidden_size: int, delay: int = 4, **others: Any) -> None:
        if not isinstance(delay, int) or isinstance(delay, bool) or delay < 1:
            raise ConfigError(f"TauGRU: expected delay to be a whole number of at least 1, got {delay!r}")
        self.state = ("h", *(f"h{k}" for k in range(1, delay + 1)))
        super().__init__(input_size, hidden_size, **others)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return s[-1]

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        n = tanh(x.n + u.n)
        d = tanh(x.d + u.d)
        g = sigmoid(x.g + u.g)
        a = sigmoid(x.a + u.a)
        h = (1 - g) * s.h + g * (n + a * d)
        return State(**dict(zip(self.state, (h, *s[:-1]), strict=True)))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, delay={len(self.state) - 1}"
