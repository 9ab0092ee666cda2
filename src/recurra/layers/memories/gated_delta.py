"""The gated delta rule (Yang et al. 2025)."""

import math
from typing import Any

import torch
from torch import Tensor, nn, sigmoid
from torch.nn.functional import silu, softplus

from recurra.errors import ConfigError
from recurra.kernels.memory import Inputs, precise
from recurra.layers.memories.matrix_memory import MatrixMemory, rms_norm, xavier_
from recurra.layers.memories.short_convolution import ShortConvolution
from recurra.tree import State

__all__ = ["GatedDelta"]

SLOWEST, FASTEST = 0.001, 0.1  # what dt begins with, as in Mamba
GREATEST = 16.0  # A begins between 1 and this


class GatedDelta(MatrixMemory):
    """Gated DeltaNet (Yang et al., "Gated delta networks: improving Mamba2 with delta rule", 2025).

    q  = unit(silu(conv(W_q x)))     k = unit(silu(conv(W_k x)))     v = silu(conv(W_v x))
    b  = sigmoid(W_b x)              a = exp(-exp(A) * softplus(W_a x + dt))
    S' = a (S - b (S k) k^T) + b v k^T
    h' = W_o (norm(S' q) * silu(W_g x))

    Before a pair is written, what the memory answers to its key is taken out: with b = 1 a new value replaces the
    old one, where linear attention would mix them. a forgets everything, head by head. q, k and v of each head are
    D numbers, S is ``(D, D)``; a and b are one number a head, ``unit`` divides by the length of the vector,
    ``norm`` is an RMS norm of each head with a gain g ``(D,)``.

    convolution  width of the depthwise convolution ``conv`` over the last steps, whose values are part of the state
                 as ``recent (B, width - 1, 3 * hidden_size)``; 4 as in the paper, 0 for none

    Deviations: values are as wide as keys, not twice as wide; the first dt are spread evenly over 0.001 .. 0.1
    (on a logarithmic scale) instead of drawn, so that a layer of few heads is no lottery.
    `MatrixMemory` has the other arguments. Shapes: x ``(B, T, input_size)`` -> y ``(B, T, hidden_size)``.
    """

    rule = "delta"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        heads: int | None = None,
        convolution: int = 4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, heads)
        if not isinstance(convolution, int) or convolution < 0 or convolution == 1:
            raise ConfigError(f"GatedDelta: expected convolution=0 (none) or a width from 2, got {convolution!r}")
        self.qkv = nn.Linear(input_size, 3 * hidden_size, bias=False, device=device, dtype=dtype)
        self.gates = nn.Linear(input_size, 2 * self.heads, bias=False, device=device, dtype=dtype)  # a, b
        self.gate = nn.Linear(input_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False, device=device, dtype=dtype)
        self.A = nn.Parameter(torch.empty(self.heads, device=device, dtype=dtype))
        self.dt = nn.Parameter(torch.empty(self.heads, device=device, dtype=dtype))
        self.gain = nn.Parameter(torch.empty(self.head_size, device=device, dtype=dtype))
        self.conv: ShortConvolution | None = None
        if convolution:
            self.conv = ShortConvolution(3 * hidden_size, convolution, device, dtype)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew: matrices Xavier-uniform, exp(A) uniform in 1 .. 16, softplus(dt) spread over 0.001 .. 0.1."""
        for linear, parts in ((self.qkv, 3), (self.gates, 2), (self.gate, 1), (self.output, 1)):
            xavier_(linear, parts)
        self.A.uniform_(1, GREATEST).log_()
        share = (torch.arange(self.heads, dtype=torch.float64) + 0.5) / self.heads
        dt = (math.log(SLOWEST) + share * math.log(FASTEST / SLOWEST)).exp()
        self.dt.copy_(dt.expm1().log())  # the inverse of softplus
        nn.init.ones_(self.gain)
        if self.conv is not None:
            self.conv.reset_parameters()

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        state = super().initial_state(batch, like)
        if self.conv is None:
            return state
        width, channels = self.conv.weight.shape
        return State(S=state.S, recent=state.S.new_zeros(batch, width - 1, channels))

    def inputs(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Inputs, Any]:
        mixed = self.qkv(x)
        if self.conv is not None:
            mixed, recent = self.conv(mixed, state.recent, lengths)
            state = state._replace(recent=recent)
        q, k, v = self._split(silu(mixed), 3)
        a, b = self.gates(x).chunk(2, -1)
        fine = precise(a.dtype)
        decay = -self.A.to(fine).exp() * softplus(a.to(fine) + self.dt)
        return Inputs(_unit(q), _unit(k), v, decay, sigmoid(b)), state

    def answer(self, x: Tensor, y: Tensor) -> Tensor:
        return self.output(rms_norm(y, self.gain).flatten(2) * silu(self.gate(x)))


def _unit(x: Tensor) -> Tensor:
    """``x (..., D)`` with a length of 1; a vector of zeros stays one, and has a gradient."""
    fine = x.to(precise(x.dtype))
    return (fine * (fine.square().sum(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype)
