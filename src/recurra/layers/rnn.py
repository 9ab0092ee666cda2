"""The vanilla recurrent network (Elman 1990)."""

from typing import Any, Literal

import torch
from torch import relu, tanh

from recurra.errors import ConfigError
from recurra.layers.gated import Gated
from recurra.tree import State

__all__ = ["RNN"]


class RNN(Gated):
    """Vanilla recurrent network (Elman, "Finding structure in time", 1990).

        h' = f(W x + U h + b)            f = tanh or relu

    In the textbook's letters ``h_t = f(W_hh h_{t-1} + W_xh x_t + b_h)``: W is W_xh, U is W_hh. With
    ``activation="relu"`` begin with `recurra.initialise.identity_` (Le et al. 2015), or the state explodes.
    """

    gates = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: Literal["tanh", "relu"] = "tanh",
        initial: Literal["zeros", "learned"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if activation not in ("tanh", "relu"):
            raise ConfigError(f"RNN: expected activation='tanh' or 'relu', got {activation!r}")
        super().__init__(input_size, hidden_size, initial, device, dtype)
        self.activation = activation

    @property
    def torch_function(self) -> str:
        """The function of torch with this equation."""
        return f"rnn_{self.activation}"

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = tanh if self.activation == "tanh" else relu
        return State(h=f(x.h + u.h))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, activation={self.activation!r}"
