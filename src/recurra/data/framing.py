"""Sound cut into short overlapping frames, by Kaldi's rules (Povey et al. 2011): whole, or block by block.

    frame t   begins at sample   t shift - margin   and is `window` samples long

    edges      margin                              frames of N samples
    snip       0                                   1 + (N - window) // shift, none if N < window
    reflect    window // 2 - shift // 2            (N + shift // 2) // shift

Where a frame of ``reflect`` reaches past an end of the sound, the sound goes on as in a mirror: x2 x1 x0 x0 x1 x2.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recurra.errors import ConfigError, DtypeError, ShapeError

__all__ = ["Framing", "Pending"]

TINY = 1e-6  # of a sample: 0.29 seconds of 100 samples are 28.999999999999996


class Pending(NamedTuple):
    """What is kept of a sound between two blocks of samples.

    samples  (n,) those that a frame to come still needs, at most three windows
    counts   (2,) int64: the number of the first of them in the sound, and of the next frame
    """

    samples: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Framing:
    """Frames of a window, begun every shift.

    rate    samples per second
    length  of the window, in seconds: long enough for two periods of a low voice
    step    from one frame to the next, in seconds: sounds of speech last some 50 milliseconds
    edges   "snip": only windows that lie inside; "reflect": one frame for each step, the ends mirrored

    Raises ConfigError for a window that is shorter than the shift or holds fewer than two samples.
    """

    rate: int
    length: float = 0.025
    step: float = 0.010
    edges: Literal["snip", "reflect"] = "snip"

    def __post_init__(self) -> None:
        if self.edges not in ("snip", "reflect"):
            raise ConfigError(f"edges: expected snip or reflect, got {self.edges!r}")
        if not 1 <= self.shift <= self.window or self.window < 2:
            raise ConfigError(
                f"expected 0 < step <= length, and two samples in a window, got step {self.step} s, "
                f"length {self.length} s at {self.rate} samples per second"
            )

    @property
    def window(self) -> int:
        """Samples in a frame."""
        return int(self.rate * self.length + TINY)

    @property
    def shift(self) -> int:
        """Samples from the beginning of one frame to that of the next."""
        return int(self.rate * self.step + TINY)

    @property
    def margin(self) -> int:
        """Samples of frame 0 before the sound begins."""
        return 0 if self.edges == "snip" else self.window // 2 - self.shift // 2

    def count(self, samples: int) -> int:
        """Frames of a whole sound."""
        if self.edges == "reflect":
            return (samples + self.shift // 2) // self.shift
        return self.inside(samples)

    def inside(self, samples: int) -> int:
        """Frames that end inside the first ``samples``: those that can be cut before the sound has ended."""
        rest = samples + self.margin - self.window
        return 1 + rest // self.shift if rest >= 0 else 0

    def initial(self) -> Pending:
        """Before the first sample."""
        return Pending(torch.empty(0), torch.zeros(2, dtype=torch.int64))

    def push(self, samples: Tensor, state: Pending) -> tuple[Tensor, Pending]:
        """The frames ``(t, window)`` that ``samples (n,)`` complete, and the state after them."""
        samples = torch.cat([state.samples, _checked(samples)])
        begin, done = state.counts.tolist()
        ready = max(done, self.inside(begin + len(samples)))
        frames = self._frames(samples, begin, done, ready)
        # A mirror at the end will reach back less than one window from there.
        first = max(begin, ready * self.shift - self.margin - (self.window if self.margin else 0))
        return frames, Pending(samples[first - begin :].clone(), torch.tensor([first, ready]))

    def finish(self, state: Pending) -> Tensor:
        """The frames ``(t, window)`` that reach past the end of the sound; none with ``snip``."""
        begin, done = state.counts.tolist()
        return self._frames(state.samples, begin, done, max(done, self.count(begin + len(state.samples))))

    def _frames(self, samples: Tensor, begin: int, first: int, end: int) -> Tensor:
        """Frames ``first`` to ``end`` of the sound whose last samples these are, from number ``begin`` on."""
        if first == end:
            return samples.new_empty(0, self.window)
        low = first * self.shift - self.margin
        high = (end - 1) * self.shift - self.margin + self.window
        total = begin + len(samples)
        if low < begin or high > total:
            place = torch.arange(low, high) % (2 * total)
            samples, begin = samples[torch.minimum(place, 2 * total - 1 - place) - begin], low
        return samples[low - begin : high - begin].unfold(0, self.window, self.shift)


def _checked(samples: Tensor) -> Tensor:
    if samples.dim() != 1:
        raise ShapeError(f"samples: expected one channel (N,), got shape {tuple(samples.shape)}")
    if samples.dtype != torch.float32:
        raise DtypeError(f"samples: expected float32 in [-1, 1], got {samples.dtype}; read_sound gives them so")
    return samples
