"""A short depthwise convolution over the past, with its own memory of the last steps."""

import math

import torch
from torch import Tensor, nn

from recurra import lengths as ragged

__all__ = ["ShortConvolution"]


class ShortConvolution(nn.Module):
    """Each channel is a weighted sum of its last few values, as before q, k and v in Mamba and Gated DeltaNet.

        y_t = w_0 * x_t + w_1 * x_{t-1} + ... + w_{width-1} * x_{t-width+1}

    Not a layer of its own: the values of the last ``width - 1`` steps come from the state of the layer that has it,
    ``recent (B, width - 1, channels)``, oldest first, and go back there.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, channels, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew: uniform in +-1/sqrt(width), as torch.nn.Conv1d."""
        bound = 1 / math.sqrt(len(self.weight))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, recent: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """``x (B, T, channels)`` and the values before it give y, and the last values of each row."""
        width, time = len(self.weight), x.shape[1]
        whole = torch.cat([recent, x.to(recent.dtype)], 1)
        terms = [whole[:, width - 1 - j : width - 1 - j + time] * self.weight[j] for j in range(width)]
        y = torch.stack(terms).sum(0).to(x.dtype)
        if lengths is None:
            return y, whole[:, time:]
        where = lengths.to(x.device)[:, None] + torch.arange(width - 1, device=x.device)
        return ragged.blank(y, lengths), whole.gather(1, where[..., None].expand(-1, -1, x.shape[2]))

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, width={len(self.weight)}"
