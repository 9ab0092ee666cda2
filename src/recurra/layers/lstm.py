"""The long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000)."""

from typing import Any, Literal

import torch
from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["LSTM", "ForgetBias"]


class ForgetBias(Gated):
    """A gated cell with a forget gate f, whose bias begins at ``forget_bias``.

    1 by default: a unit that keeps its cell state from the first step learns long dependencies much sooner
    (Gers et al. 2000; Jozefowicz et al. 2015).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        forget_bias: float = 1.0,
        initial: Literal["zeros", "learned"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.forget_bias = float(forget_bias)
        super().__init__(input_size, hidden_size, initial, device, dtype)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            self.b.chunk(len(self.x_gates))[self.x_gates.index("f")].fill_(self.forget_bias)


class LSTM(ForgetBias):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    i  = sigmoid(W_i x + U_i h + b_i)        f = sigmoid(W_f x + U_f h + b_f)
    g  = tanh(W_g x + U_g h + b_g)           o = sigmoid(W_o x + U_o h + b_o)
    c' = f * c + i * g
    h' = o * tanh(c')
    """

    gates = ("i", "f", "g", "o")
    state = ("h", "c")
    torch_function = "lstm"

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i)
        f = sigmoid(x.f + u.f)
        g = tanh(x.g + u.g)
        o = sigmoid(x.o + u.o)
        c = f * s.c + i * g
        return State(h=o * tanh(c), c=c)
