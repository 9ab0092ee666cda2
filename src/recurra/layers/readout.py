"""The linear readout: what turns a hidden state into an output."""

from typing import Any

import torch
from torch import Tensor, nn

from recurra.layers.base import Recurrent

__all__ = ["Readout"]


class Readout(Recurrent):
    """Linear readout, the same at every time step; a layer without memory, its state is ``()``.

        y_t = V h_t + b                  the textbook's y_t = W_hy h_t + b_y

    ``Stack(RNN(3, 5), Readout(5, 2))`` is the textbook's pair of equations.
    Shapes: x ``(B, T, input_size)`` -> y ``(B, T, output_size)``.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, output_size, device=device, dtype=dtype)
        self.input_shape, self.output_shape = (input_size,), (output_size,)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return ()

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.linear(x), ()

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return self.linear(x), ()
