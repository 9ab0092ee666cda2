"""The depthwise causal convolution that stands before many linear recurrences (Fu et al. 2023, De et al. 2024)."""

from typing import Any

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.gated_scan import extend, recent
from recurra.layers.base import Recurrent

__all__ = ["CausalConvolution"]


class CausalConvolution(Recurrent):
    """Each feature as a weighted sum of its own last few values: cheap local memory before a `Scan`.

        y_t = b + sum over k = 0 .. width - 1 of w_k * x_{t-k}          elementwise

    ``Stack(CausalConvolution(64), MinGRU(64, 64))``. The state is ``State(x=...)``, the last ``width - 1`` inputs
    ``(B, width - 1, F)``, the oldest first and zero at first. w ``(width, F)``, w_0 first, begins uniform in
    +-1/sqrt(width) and b at zero, as torch.nn.Conv1d's weight does; width 4 is that of H3, Mamba and Griffin.

    Shapes: x ``(B, T, size)`` -> y ``(B, T, size)``. Raises ConfigError if a size is not at least 1.
    """

    def __init__(
        self,
        size: int,
        width: int = 4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for label, value in (("size", size), ("width", width)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(
                    f"CausalConvolution: expected {label} to be a whole number of at least 1, got {value!r}"
                )
        self.size, self.width = size, width
        self.input_shape = self.output_shape = (size,)
        self.w = nn.Parameter(torch.empty(width, size, device=device, dtype=dtype))
        self.b = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew: see the class for the distributions."""
        nn.init.uniform_(self.w, -(self.width**-0.5), self.width**-0.5)
        nn.init.zeros_(self.b)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return tree.State(x=(self.b if like is None else like).new_zeros(batch, self.width - 1, self.size))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        extended = torch.cat([state.x, x.unsqueeze(1)], 1)
        return (extended * self.w.flip(0)).sum(1) + self.b, tree.State(x=extended[:, 1:])

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        extended, time = extend(x, state, self.width), x.shape[1]
        y: Tensor = self.b
        for k, weight in enumerate(self.w):
            begin = self.width - 1 - k
            y = torch.addcmul(y, extended[:, begin : begin + time], weight)
        return y, tree.State(x=recent(extended, self.width - 1, lengths))

    def extra_repr(self) -> str:
        return f"{self.size}, width={self.width}"
