"""Features freed from the loudness and colour of a microphone: by the whole utterance, or by what was heard so far.

normalised(features, "none" | "utterance" | "running")
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.data.features import Features
from recurra.errors import ConfigError, NotCausalError

__all__ = ["KINDS", "Heard", "Running", "Statistics", "UtteranceWise", "normalised", "statistics"]

KINDS = ("none", "utterance", "running")
SMALL = 1e-5  # a deviation: less than that is a feature that never changes


class Statistics(NamedTuple):
    """What the features of some sounds are like: the mean ``(F,)`` and the deviation ``(F,)`` of each, float64."""

    mean: Tensor
    deviation: Tensor


def statistics(sounds: list[Tensor]) -> Statistics:
    """The statistics of features, each ``(T, F)``, over all their frames. Raises ConfigError if there is none."""
    frames = torch.cat(sounds).double() if sounds else torch.empty(0)
    if not len(frames):
        raise ConfigError("statistics: expected a frame at least, got none")
    return Statistics(frames.mean(0), frames.std(0, correction=0).clamp_min(SMALL))


def normalised(features: Features, kind: str, typical: Statistics | None = None) -> Features:
    """Features as they are, or normalised in one of `KINDS`; "running" begins with what is ``typical``."""
    if kind == "none":
        return features
    if kind == "utterance":
        return UtteranceWise(features)
    if kind != "running":
        raise ConfigError(f"normalisation: expected one of {', '.join(KINDS)}, got {kind!r}")
    if typical is None:
        raise ConfigError("normalisation: running needs the statistics of the training sounds to begin with")
    return Running(features, typical)


class UtteranceWise:
    """Each feature with mean 0 and deviation 1 over the utterance.

        y_t = (x_t - m) / max(s, 1e-5)        m, s  mean and deviation over all T frames

    This needs the future, so it has no stream: `push` and `finish` raise NotCausalError.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self.size, self.rate, self.hop = features.size, features.rate, features.hop

    def __call__(self, samples: Tensor) -> Tensor:
        """The features ``(T, F)`` of a whole sound ``samples (N,)``."""
        frames = self.features(samples)
        if not len(frames):
            return frames
        mean, deviation = statistics([frames])
        return ((frames - mean) / deviation).float()

    def initial(self) -> Any:
        """Raises NotCausalError."""
        raise NotCausalError(
            "normalisation by the utterance needs its end before its beginning; choose running or none for a stream"
        )

    def push(self, samples: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Raises NotCausalError."""
        return self.initial()

    def finish(self, state: Any) -> Tensor:
        """Raises NotCausalError."""
        return self.initial()


class Heard(NamedTuple):
    """The state of `Running`.

    inner    the state of the features below
    totals   (2, F) float64: sums of the frames and of their squares, older ones halved
    counts   (2,) float64: frames since the last halving, and what all frames in the sums weigh
    """

    inner: Any
    totals: Tensor
    counts: Tensor


class Running:
    """Each feature by the mean and deviation of the frames so far, itself included; exact in any cut.

        y_t = (x_t - m_t) / s_t        m_t = (P m + sum_i v_i x_i) / (P + sum_i v_i)
                                       s_t^2 = (P (s^2 + m^2) + sum_i v_i x_i^2) / (P + sum_i v_i) - m_t^2

    A frame weighs v_i = 1, and half of it after every ``window`` frames: an old room is forgotten.

    typical  m and s, the statistics of the training sounds, which count as much as P frames
    prior    P, 100 frames: one second, by which a speaker's first word is judged
    window   300 frames: three seconds, which hold most sounds of a language
    """

    def __init__(self, features: Features, typical: Statistics, prior: int = 100, window: int = 300) -> None:
        if typical.mean.shape != (features.size,) or prior < 1 or window < 1:
            raise ConfigError(
                f"running: expected statistics ({features.size},), prior and window >= 1, got "
                f"{tuple(typical.mean.shape)}, {prior} and {window}"
            )
        self.features, self.prior, self.window = features, prior, window
        self.size, self.rate, self.hop = features.size, features.rate, features.hop
        mean, deviation = typical.mean.double(), typical.deviation.double()
        self._begin = prior * torch.stack([mean, deviation.square() + mean.square()])

    def __call__(self, samples: Tensor) -> Tensor:
        """The features ``(T, F)`` of a whole sound ``samples (N,)``."""
        frames, state = self.push(samples, self.initial())
        return torch.cat([frames, self.finish(state)])

    def initial(self) -> Heard:
        """The state before the first sample."""
        return Heard(self.features.initial(), torch.zeros_like(self._begin), torch.zeros(2, dtype=torch.float64))

    def push(self, samples: Tensor, state: Heard) -> tuple[Tensor, Heard]:
        """The frames ``(t, F)`` that the next ``samples (n,)`` complete, and the state after them."""
        frames, inner = self.features.push(samples, state.inner)
        made, totals, counts = self._normalise(frames, state.totals, state.counts)
        return made, Heard(inner, totals, counts)

    def finish(self, state: Heard) -> Tensor:
        """The frames ``(t, F)`` that only the end of the sound completes."""
        return self._normalise(self.features.finish(state.inner), state.totals, state.counts)[0]

    @torch.no_grad()
    def _normalise(self, frames: Tensor, totals: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The frames, the totals and the counts after them, piece by piece between two halvings."""
        made, done = [frames[:0]], 0
        since, weight = int(counts[0]), float(counts[1])
        while done < len(frames):
            piece = frames[done : done + self.window - since]
            values, totals = self._piece(piece.double(), totals, weight)
            made.append(values)
            done, since, weight = done + len(piece), since + len(piece), weight + len(piece)
            if since == self.window:
                since, weight, totals = 0, weight / 2, totals / 2
        return torch.cat(made), totals, torch.tensor([since, weight], dtype=torch.float64)

    def _piece(self, x: Tensor, totals: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        # One frame after the other: so cumsum adds, and so a stream does.
        sums = torch.cat([totals[None], torch.stack([x, x * x], 1)]).cumsum(0)[1:]
        weights = torch.arange(1, 1 + len(x), dtype=torch.float64) + (weight + self.prior)
        mean, square = ((sums + self._begin) / weights[:, None, None]).unbind(1)
        deviation = (square - mean * mean).clamp_min(SMALL**2).sqrt()
        return ((x - mean) / deviation).float(), sums[-1].clone()
