"""The first long short-term memory, without a forget gate (Hochreiter and Schmidhuber 1997)."""

from typing import Any

from torch import sigmoid, tanh

from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["OriginalLSTM"]


class OriginalLSTM(Gated):
    """Long short-term memory that never forgets (Hochreiter and Schmidhuber 1997).

        i  = sigmoid(W_i x + U_i h + b_i)        o = sigmoid(W_o x + U_o h + b_o)
        g  = tanh(W_g x + U_g h + b_g)
        c' = c + i * g
        h' = o * tanh(c')

    Deviations: both squashing functions are tanh, where the paper's g runs from -2 to 2; gradients flow through
    all connections, where the paper cuts them at the gates; each memory block has one cell.
    """

    gates = ("i", "g", "o")
    state = ("h", "c")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        i = sigmoid(x.i + u.i)
        g = tanh(x.g + u.g)
        o = sigmoid(x.o + u.o)
        c = s.c + i * g
        return State(h=o * tanh(c), c=c)
