"""The network with a slow context beside its hidden units (Mikolov et al. 2014)."""

from typing import Any

from torch import Tensor, sigmoid

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["SCRN"]


class SCRN(Gated):
    """Structurally constrained recurrent network (SCRN; Mikolov et al. 2014).

        s' = (1 - alpha) * (W_s x + b_s) + alpha * s
        h' = sigmoid(U_p s' + W_h x + U_h h + b_h)

    alpha    how slowly the context s moves; 0.95 in the paper, the same for all units
    others   ``initial``, ``device`` and ``dtype``, as in `Gated`

    Deviations: s has as many units as h, where the paper gives it fewer; the output is h alone, where the paper's
    readout sees s as well, which here reaches it through U_p only; biases, which begin at zero.
    """

    gates = ("s", "h", "p")
    without_U, without_W = ("s",), ("p",)
    late = ("p",)
    state = ("h", "s")

    def __init__(self, input_size: int, hidden_size: int, alpha: float = 0.95, **others: Any) -> None:
        self.alpha = float(alpha)
        super().__init__(input_size, hidden_size, **others)

    def context(self, x: Any, s: Any) -> Tensor:
        """The new slow state s'."""
        return (1 - self.alpha) * x.s + self.alpha * s.s

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        return self.context(x, s)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return State(h=sigmoid(u.p + x.h + u.h), s=self.context(x, s))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, alpha={self.alpha}"
