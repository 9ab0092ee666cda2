"""The matrix LSTM with exponential input gates (Beck et al. 2024)."""

import math
from typing import Any

import torch
from torch import Tensor, nn, sigmoid
from torch.nn.functional import logsigmoid

from recurra.kernels.memory import Inputs, precise
from recurra.layers.memories.matrix_memory import MatrixMemory, rms_norm, xavier_

__all__ = ["MLSTM"]

SHORTEST, LONGEST = 3.0, 6.0  # forget biases of the first and the last head


class MLSTM(MatrixMemory):
    """mLSTM (Beck et al., "xLSTM: extended long short-term memory", 2024): the cell, without the block around it.

    q  = W_q x + b_q             k = (W_k x + b_k) / sqrt(D)          v = W_v x + b_v
    i  = exp(w_i x + b_i)        f = sigmoid(w_f x + b_f)             o = sigmoid(W_o x + b_o)
    C' = f C + i v k^T           n' = f n + i k
    h' = o * norm(C' q / max(|n' q|, 1))

    q, k and v of each head are D numbers, C is ``(D, D)``, i and f are one number a head. An input gate that is an
    exponential lets a later step outweigh all earlier ones, so that old decisions can be revised. C and n are kept
    divided by exp(m), where m' = max(log f + m, log i): no gate overflows, in 16 bits either.

    b_f begins at 3 .. 6, spread evenly over the heads, so that memories last 20 to 400 steps at first, w_i and w_f
    at zero, b_i at normal numbers of deviation 0.1, all as in the authors' code. Deviations: ``norm`` is an RMS
    norm of each head with a gain ``(hidden_size,)`` where the paper's block takes a layer norm, which would leave
    nothing of a head with a single unit; the gates read x, as in the paper's equations, not q, k and v, as in its
    code. `MatrixMemory` has the other arguments.
    Shapes: x ``(B, T, input_size)`` -> y ``(B, T, hidden_size)``.
    """

    rule = "mlstm"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        heads: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, heads)
        self.qkv = nn.Linear(input_size, 3 * hidden_size, device=device, dtype=dtype)
        self.gates = nn.Linear(input_size, 2 * self.heads, device=device, dtype=dtype)  # log i, logit of f
        self.gate = nn.Linear(input_size, hidden_size, device=device, dtype=dtype)  # o
        self.gain = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew: see the class for the gates; matrices are Xavier-uniform, other biases 0, gains 1."""
        xavier_(self.qkv, 3)
        xavier_(self.gate)
        nn.init.zeros_(self.gates.weight)
        i, f = self.gates.bias.chunk(2)
        nn.init.normal_(i, std=0.1)
        f.copy_(torch.linspace(SHORTEST, LONGEST, self.heads))
        nn.init.ones_(self.gain)

    def inputs(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Inputs, Any]:
        q, k, v = self._split(self.qkv(x), 3)
        i, f = self.gates(x).chunk(2, -1)
        return Inputs(q, k / math.sqrt(self.head_size), v, logsigmoid(f.to(precise(f.dtype))), i), state

    def answer(self, x: Tensor, y: Tensor) -> Tensor:
        gain = self.gain.view(self.heads, self.head_size)
        return rms_norm(y, gain).flatten(2) * sigmoid(self.gate(x))
