"""Linear attention (Katharopoulos et al. 2020)."""

from typing import Any

import torch
from torch import Tensor, nn

from recurra.kernels.memory import Inputs, precise
from recurra.layers.memories.matrix_memory import MatrixMemory, xavier_

__all__ = ["LinearAttention"]


class LinearAttention(MatrixMemory):
    """Linear attention (Katharopoulos et al., "Transformers are RNNs", 2020): the simplest matrix memory.

    q  = elu(W_q x) + 1          k = elu(W_k x) + 1          v = W_v x
    S' = S + v k^T               n' = n + k
    h' = W_o (S' q / (n' q + 1e-6))

    q, k and v of each head are D numbers, S is ``(D, D)``. The feature map elu + 1 is that of the paper; n divides
    by the sum of all weights, so that an answer is a mean of values. Nothing is ever forgotten, and pairs with
    similar keys mix: it is here as the yardstick of the others. No biases. `MatrixMemory` has the arguments.
    Shapes: x ``(B, T, input_size)`` -> y ``(B, T, hidden_size)``.
    """

    rule = "attention"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        heads: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, heads)
        self.qkv = nn.Linear(input_size, 3 * hidden_size, bias=False, device=device, dtype=dtype)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew: all matrices Xavier-uniform."""
        xavier_(self.qkv, 3)
        xavier_(self.output)

    def inputs(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Inputs, Any]:
        q, k, v = self._split(self.qkv(x), 3)
        return Inputs(_feature(q), _feature(k), v), state

    def answer(self, x: Tensor, y: Tensor) -> Tensor:
        return self.output(y.flatten(2))


def _feature(x: Tensor) -> Tensor:
    """elu(x) + 1, which is exp(x) below zero: written so, small numbers keep their digits."""
    fine = x.to(precise(x.dtype))
    return torch.where(fine > 0, fine + 1, fine.clamp(max=0).exp()).to(x.dtype)
