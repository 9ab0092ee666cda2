"""The real-gated linear recurrent unit (De et al. 2024)."""

from typing import Any

import torch
from torch import Tensor, exp, nn, sigmoid, tanh
from torch.nn.functional import linear, softplus

from recurra.errors import ConfigError
from recurra.layers.scan import Scan

__all__ = ["RGLRU", "safe_sqrt"]

SHARPNESS = 8.0  # c of the paper: how far the gate r moves the decay
MOST_BLOCKS, SMALLEST_BLOCK = 16, 16


def safe_sqrt(x: Tensor) -> Tensor:
    """The square root of x >= 0, with gradient 0 at 0, where that of torch.sqrt is infinite and makes 0 * inf."""
    positive = x > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, x, 1.0)), 0.0)


class RGLRU(Scan):
    """Real-gated linear recurrent unit (RG-LRU; De et al., "Griffin", 2024).

        r  = sigmoid(W_r v + b_r)        i = sigmoid(W_i v + b_i)        v = x
        a  = exp(-8 * softplus(decay) * r)
        h' = a * h + sqrt(1 - a^2) * (i * v)

    W_r and W_i are block-diagonal. decay begins so that a at r = 1 is uniform in 0.9 .. 0.999, the blocks normal
    with variance 1 / block size. The root is taken of tanh(-log a) (1 + a^2), which is 1 - a^2 without cancellation
    where a is near 1, and its gradient is 0 at 0, which is the limit of the whole gradient as r goes to 0.

    blocks  number of blocks, a divisor of hidden_size; None takes up to 16 as the paper, of 16 units at least
    others  ``initial``, ``device`` and ``dtype``, as in `Scan`

    The paper's block has a linear layer and a `CausalConvolution` before this layer, and a gate beside it.
    Deviation: if the sizes differ, v = W x + b. Raises ConfigError if blocks do not divide hidden_size.
    """

    gates = ("r", "i", "v")
    vectors = ("decay",)

    def __init__(self, input_size: int, hidden_size: int, blocks: int | None = None, **others: Any) -> None:
        self.projected = () if input_size == hidden_size else ("v",)
        self.blocks = _blocks(hidden_size) if blocks is None else blocks
        if blocks is not None and (not isinstance(blocks, int) or blocks < 1 or hidden_size % blocks):
            raise ConfigError(f"RGLRU: expected blocks that divide hidden_size {hidden_size}, got {blocks!r}")
        super().__init__(input_size, hidden_size, **others)

    def make_parameters(self, parameter: Any) -> None:
        size = self.hidden_size // self.blocks
        self.G, self.c = parameter(self.blocks, size, 2 * size), parameter(2 * self.hidden_size)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        decay = self.get_parameter("decay")
        with torch.no_grad():
            nn.init.normal_(self.G, std=self.G.shape[1] ** -0.5)
            self.c.zero_()
            slowest = torch.rand_like(decay, dtype=torch.float64) * (0.999 - 0.9) + 0.9
            decay.copy_((slowest.log() / -SHARPNESS).expm1().log())  # softplus backwards

    def project(self, x: Tensor) -> Tensor:
        v = x if self.W is None else linear(x, self.W, self.b)
        rows = v.flatten(0, 1).unflatten(-1, (self.blocks, -1)).transpose(0, 1)
        both = torch.bmm(rows, self.G).unflatten(-1, (2, -1)).permute(1, 2, 0, 3)  # (B*T, gate, block, unit)
        return torch.cat([both.reshape(*v.shape[:2], 2 * self.hidden_size) + self.c, v], -1)

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        speed = SHARPNESS * softplus(p.decay) * sigmoid(x.r)
        a = exp(-speed)
        return a, safe_sqrt(tanh(speed) * (1 + a * a)) * (sigmoid(x.i) * x.v)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, blocks={self.blocks}"


def _blocks(hidden: int) -> int:
    """The most blocks that divide the units evenly."""
    if not isinstance(hidden, int) or hidden < 1:
        return 1  # the constructor will say what is wrong
    fitting = [n for n in range(1, MOST_BLOCKS + 1) if hidden % n == 0 and hidden // n >= SMALLEST_BLOCK]
    return max(fitting, default=1)
