"""What a recognizer hears: logarithms of mel filter banks, and cepstra, the same in a stream as in a whole file.

After Davis and Mermelstein 1980, with the definitions of Kaldi (Povey et al. 2011), without its dither. Samples lie
between -1 and 1, so the numbers are those that Kaldi gives for such samples, not for 16-bit integers.

A stream gives the very same bits as the whole. Rounding depends on where a number lies in a tensor and on the shape
of it; so frames are always computed in blocks of one shape, frame t in row t % BLOCK; rows without a frame are 0.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.data.framing import Framing, Pending
from recurra.errors import ConfigError

__all__ = ["BLOCK", "Cepstra", "Features", "FilterBanks", "Spectral"]

BLOCK = 32  # frames: larger, and a short push to a stream costs more; smaller, and a whole file does
FLOOR = torch.finfo(torch.float32).eps  # of a power, about that of the rounding of 16-bit sound
EMPHASIS = 0.97
POVEY = 0.85  # the power of Hann's window


class Features(Protocol):
    """Features of a sound, whole or as a stream. Both give the same bits, however the stream is cut."""

    @property
    def size(self) -> int:
        """F, numbers in a frame."""
        ...

    @property
    def rate(self) -> int:
        """Samples per second of the sound."""
        ...

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        ...

    def __call__(self, samples: Tensor) -> Tensor:
        """The features ``(T, F)`` of a whole sound ``samples (N,)``."""
        ...

    def initial(self) -> Any:
        """The state before the first sample: tensors in named tuples."""
        ...

    def push(self, samples: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The frames ``(t, F)`` that the next ``samples (n,)`` complete, and the state after them."""
        ...

    def finish(self, state: Any) -> Tensor:
        """The frames ``(t, F)`` that only the end of the sound completes."""
        ...


class Spectral(ABC):
    """Features made of the power spectrum of each frame.

    x  = frame - its mean                    the offset of a microphone
    x' = x_i - 0.97 x_{i-1}                  lifts high frequencies
    P  = |FFT(w x')|^2                       w = (0.5 - 0.5 cos(2 pi i / (window - 1))) ^ 0.85, so w_0 = 0;
                                             filled up by 0 to a power of two
    E  = log(max(M P, 1.2e-7))               M (banks, bins): triangles between 20 Hz and half the rate, evenly
                                             spaced and of one width by mel(f) = 1127 log(1 + f / 700)
    """

    def __init__(self, framing: Framing, banks: int, low: float, high: float) -> None:
        self.framing, self.rate, self.hop = framing, framing.rate, framing.shift
        window = framing.window
        points = 2 ** math.ceil(math.log2(window))
        hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(window, dtype=torch.float64) / (window - 1))
        self._window = torch.nn.functional.pad(hann.pow(POVEY), (0, points - window)).float()
        self._mean = torch.nn.functional.pad(torch.full((window, 1), 1 / window), (0, 0, 0, points - window))
        triangles = _triangles(banks, points, self.rate, low, high)
        # Squares of real and imaginary parts lie side by side, so one product sums them and filters.
        self._filters = triangles.t().repeat_interleave(2, 0).float().contiguous()

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers in a frame."""

    def __call__(self, samples: Tensor) -> Tensor:
        """The features ``(T, F)`` of a whole sound ``samples (N,)``."""
        frames, state = self.push(samples, self.initial())
        rest = self.finish(state)
        return torch.cat([frames, rest]) if len(rest) else frames

    def initial(self) -> Pending:
        """The state before the first sample."""
        return self.framing.initial()

    def push(self, samples: Tensor, state: Pending) -> tuple[Tensor, Pending]:
        """The frames ``(t, F)`` that the next ``samples (n,)`` complete, and the state after them."""
        frames, after = self.framing.push(samples, state)
        return self._features(frames, int(state.counts[1])), after

    def finish(self, state: Pending) -> Tensor:
        """The frames ``(t, F)`` that only the end of the sound completes."""
        return self._features(self.framing.finish(state), int(state.counts[1]))

    @torch.no_grad()
    def _features(self, frames: Tensor, first: int) -> Tensor:
        """Features of frames ``first``, ``first + 1``, ..., each in its own row of a block."""
        made, done = [], 0
        while done < len(frames):
            row = (first + done) % BLOCK
            count = min(BLOCK - row, len(frames) - done)
            # A line of zeros with one more in front, so that every sample has one before it.
            line = torch.zeros(1 + BLOCK * len(self._window))
            block = line[1:].view(BLOCK, -1)
            block[row : row + count, : self.framing.window] = frames[done : done + count]
            made.append(self._block(line, block)[row : row + count])
            done += count
        return torch.cat(made) if made else torch.empty(0, self.size)

    @abstractmethod
    def _block(self, line: Tensor, block: Tensor) -> Tensor:
        """The features ``(BLOCK, F)`` of ``block (BLOCK, points)``, a view of ``line`` from its second place on."""

    def _energies(self, line: Tensor, block: Tensor) -> Tensor:
        """E ``(BLOCK, banks)``."""
        # What a frame's first sample takes from the row above, the first 0 of the window takes away.
        lifted = torch.sub(line[1:], line[:-1], alpha=EMPHASIS).view_as(block)
        lifted = torch.sub(lifted, block @ self._mean, alpha=1 - EMPHASIS).mul_(self._window)
        spectrum = torch.view_as_real(torch.fft.rfft(lifted))
        return (spectrum.flatten(1).square_() @ self._filters).clamp_min_(FLOOR).log_()


class FilterBanks(Spectral):
    """Logarithms of mel filter banks, ``(T, size)``: the usual input of a recognizer by neural networks.

        y = E        as `Spectral` defines it

    rate     samples per second of the sound
    size     filter banks; more of them are narrower than the bins of the spectrum, and an error
    low      the lowest frequency, in hertz
    high     the highest; 0: half the rate
    framing  how the sound is cut, at this rate

    Raises ConfigError for frequencies out of order or a bank without a bin.
    """

    def __init__(
        self, rate: int, size: int = 40, low: float = 20.0, high: float = 0.0, framing: Framing | None = None
    ) -> None:
        super().__init__(_framing(rate, framing), size, low, high)

    @property
    def size(self) -> int:
        """Numbers in a frame: filter banks."""
        return self._filters.shape[1]

    def _block(self, line: Tensor, block: Tensor) -> Tensor:
        return self._energies(line, block)


class Cepstra(Spectral):
    """Mel-frequency cepstral coefficients (MFCC), ``(T, size)``: filter banks decorrelated by a cosine transform.

        y_k = l_k c_k sum_n cos(pi k (n + 1/2) / banks) E_n        c_0 = sqrt(1 / banks), else sqrt(2 / banks)
        l_k = 1 + 11 sin(pi k / 22)                                lifts the small high ones

    rate     samples per second of the sound
    size     coefficients, the mean of the logarithms, y_0, among them
    banks    filter banks below them
    framing  how the sound is cut, at this rate

    Raises ConfigError for more coefficients than banks, and as `FilterBanks` does.
    """

    LIFTER = 22.0

    def __init__(self, rate: int, size: int = 13, banks: int = 23, framing: Framing | None = None) -> None:
        if not 1 <= size <= banks:
            raise ConfigError(f"expected 1 <= size <= banks, got {size} coefficients of {banks} banks")
        super().__init__(_framing(rate, framing), banks, 20.0, 0.0)
        k, n = (torch.arange(count, dtype=torch.float64) for count in (size, banks))
        cosines = torch.cos(math.pi / banks * (n[:, None] + 0.5) * k) * math.sqrt(2 / banks)
        cosines[:, 0] = math.sqrt(1 / banks)
        self._transform = (cosines * (1 + self.LIFTER / 2 * torch.sin(math.pi * k / self.LIFTER))).float()

    @property
    def size(self) -> int:
        """Numbers in a frame: coefficients."""
        return self._transform.shape[1]

    def _block(self, line: Tensor, block: Tensor) -> Tensor:
        return self._energies(line, block) @ self._transform


def _framing(rate: int, framing: Framing | None) -> Framing:
    if framing is not None and framing.rate != rate:
        raise ConfigError(f"expected a framing at {rate} samples per second, got one at {framing.rate}")
    return framing or Framing(rate)


def _mel(frequency: Tensor) -> Tensor:
    return 1127 * torch.log1p(frequency / 700)


def _triangles(banks: int, points: int, rate: int, low: float, high: float) -> Tensor:
    """M ``(banks, bins)``; the last bin, at half the rate, is in no bank."""
    high = high or rate / 2
    if banks < 1 or not 0 <= low < high <= rate / 2:
        raise ConfigError(
            f"expected 0 <= low < high <= {rate / 2:g} Hz and a bank or more, got {low:g}, {high:g} and {banks}"
        )
    bins = _mel(torch.arange(points // 2 + 1, dtype=torch.float64) * rate / points)
    ends = _mel(torch.tensor([low, high], dtype=torch.float64))
    corners = torch.linspace(float(ends[0]), float(ends[1]), banks + 2, dtype=torch.float64)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp_min(0)
    triangles[:, -1] = 0
    if empty := int((triangles.sum(1) == 0).sum()):
        raise ConfigError(
            f"{banks} filter banks are too many for {rate} samples per second: {empty} of them are narrower than "
            f"a bin of the spectrum ({rate / points:.0f} Hz); ask for fewer, or for longer frames"
        )
    return triangles
