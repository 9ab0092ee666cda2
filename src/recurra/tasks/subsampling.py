"""Subsampling: a few neighbouring frames become one step, so that recurrent layers have fewer steps to go.

    y_j = relu(norm(W [x_{js+s-w} .. x_{js+s-1}]))      s the stride, w the width; x is zero outside the recording

norm is a layer normalisation (Ba et al. 2016): cells see y of one size, even where frames are not normalised. On
normalised frames it is worth little: docs/speech.md says what was measured.

Strided convolutions under recurrent layers (Amodei et al. 2016), here causal: step j needs no frame after its s.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from recurra import lengths as ragged

__all__ = ["Subsampling"]


class Subsampling(nn.Module):
    """Causal strided convolutions, one over the other; each is the equation above with its own W.

    Shapes: x ``(B, T, size)`` with ``lengths (B,)`` -> y ``(B, ceil(T / stride), channels)`` and its lengths, where
    ``stride`` is the product of all strides. As the frames come, `step` takes ``stride`` of them at a time; the
    state is, for each convolution, the last ``width - stride`` frames that it read ``(B, width - stride, F)``.
    """

    def __init__(self, size: int, channels: int, widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        sizes = [size] + [channels] * len(widths)
        self.stages = nn.ModuleList(
            _Stage(sizes[i], channels, width, stride)
            for i, (width, stride) in enumerate(zip(widths, strides, strict=True))
        )
        self.size, self.channels, self.stride = size, channels, math.prod(strides)

    def steps(self, frames: Tensor) -> Tensor:
        """How many steps so many frames become."""
        return (frames + self.stride - 1) // self.stride

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """All steps of frames ``x (B, T, size)``; padding is not read and is zero in y."""
        x = ragged.blank(x, lengths)
        stage: Any
        for stage in self.stages:
            x, lengths = stage(x, lengths)
        return x, lengths

    def initial_state(self, batch: int = 1) -> Any:
        """The silence before the first frame."""
        stages: Any = self.stages
        return tuple(stage.initial_state(batch) for stage in stages)

    def step(self, x: Tensor, state: Any, valid: int | None = None) -> tuple[Tensor, Any]:
        """``stride`` frames ``x (B, stride, size)`` -> one step ``(B, channels)`` and the state after.

        valid  at the end of a recording: so many of the frames are real
        """
        valid, after = self.stride if valid is None else valid, []
        stage: Any
        for stage, before in zip(self.stages, state, strict=True):
            x, kept, valid = stage.step(x, before, valid)
            after.append(kept)
        return x[:, 0], tuple(after)


class _Stage(nn.Module):
    """One convolution: its W as a linear map of a window of frames."""

    def __init__(self, size: int, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.size, self.width, self.stride = size, width, stride
        self.linear = nn.Linear(width * size, channels, bias=False)
        self.norm = nn.LayerNorm(channels)

    def _convolve(self, x: Tensor) -> Tensor:
        """``x (B, N, F)`` -> y of each window of ``width`` frames, every ``stride`` frames."""
        windows = x.unfold(1, self.width, self.stride).transpose(2, 3).flatten(2)
        return self.norm(self.linear(windows)).relu()

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        rest = -x.shape[1] % self.stride
        y = self._convolve(pad(x, (0, 0, self.width - self.stride, rest)))
        lengths = (lengths + self.stride - 1) // self.stride
        return ragged.blank(y, lengths), lengths

    def initial_state(self, batch: int) -> Tensor:
        return self.linear.weight.new_zeros(batch, self.width - self.stride, self.size)

    def step(self, x: Tensor, before: Tensor, valid: int) -> tuple[Tensor, Tensor, int]:
        if valid < x.shape[1]:
            x = torch.cat([x[:, :valid], torch.zeros_like(x[:, valid:])], 1)
        whole = torch.cat([before, x], 1)
        valid = -(-valid // self.stride)
        return self._convolve(whole), whole[:, whole.shape[1] - before.shape[1] :], valid
