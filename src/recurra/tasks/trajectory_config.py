"""What a predictor of paths is made of: its tables [data], [augment], [model] and [score]."""

import math
from dataclasses import dataclass
from typing import Literal

from recurra.config import key
from recurra.data.scenes import Split
from recurra.errors import ConfigError
from recurra.tasks.checks import check_layer, check_least, check_shares, check_split

__all__ = ["TrajectoryAugment", "TrajectoryConfig", "TrajectoryData", "TrajectoryNet", "TrajectoryScore"]


@dataclass(frozen=True)
class TrajectoryData:
    """What to read; the table [data] of a recipe."""

    path: str = key(
        "tracks.txt", "lines 'frame id x y', a film, a folder or zip with train, val and test, or a data set"
    )
    fold: str = key(
        "", "of a folder or zip with several: which scene is the test, as eth, hotel, univ, zara1, zara2"
    )
    split: tuple[float, ...] = key(
        (0.7, 0.15, 0.15), "shares of time of one file for training, validation and test"
    )
    every: int = key(0, "frames from one step to the next; 0: the commonest distance of an agent's frames")
    fill: int = key(2, "gaps of up to so many steps are filled on a straight line; longer ones break a track")
    rate: float = key(2.5, "steps a second that are taken from a film")
    observed: int = key(8, "steps that are known")
    future: int = key(12, "steps that are predicted")
    stride: int = key(1, "steps from one window of training to the next")
    company: int = key(
        1, "whole agents in a window that is measured, at least; some papers leave out who walks alone: 2"
    )
    batch: int = key(256, "agents in a batch, about")

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least("data", self, 0, "every", "fill")
        check_least("data", self, 1, "future", "stride", "company", "batch")
        check_least("data", self, 2, "observed")
        if not 0 < self.rate < math.inf:
            raise ConfigError(f"data.rate: expected steps a second, got {self.rate}")

    @property
    def windows(self) -> Split:
        """How recordings are cut to be measured."""
        return Split(self.observed, self.future, 1, self.company)


@dataclass(frozen=True)
class TrajectoryAugment:
    """How training paths are changed; the table [augment] of a recipe."""

    mirror: float = key(0.5, "share of scenes that are mirrored")
    size: float = key(0.0, "scenes grow or shrink by a factor e^z, z normal with this standard deviation")
    noise: float = key(0.0, "most that is added to observed positions, as a standard deviation in strides")
    turn: float = key(0.0, "standard deviation in radians by which an agent errs about its direction")
    shorten: float = key(0.0, "share of agents whose first positions are hidden, as of those who come late")

    def __post_init__(self) -> None:
        check_least("augment", self, 0, "size", "noise", "turn")
        for name in ("mirror", "shorten"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name}: expected a share from 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class TrajectoryNet:
    """The network; the table [model] of a recipe."""

    layer: str = key("lstm", "a recurrent layer by name: rnn, lstm, gru, peephole_lstm, layer_norm_lstm")
    embedding: int = key(32, "units that a step is brought to")
    hidden: int = key(64, "units of each layer")
    depth: int = key(1, "layers of the encoder, and of the decoder")
    dropout: float = key(0.0, "share of what the encoder and the decoder say dropped in training")
    futures: int = key(1, "paths that are predicted for each agent, with their probabilities")
    code: int = key(16, "units by which the decoder knows which of the futures it writes")
    social: Literal["none", "grid"] = key(
        "none", "whether agents see their neighbours: on a grid (Alahi et al. 2016)"
    )
    cells: int = key(4, "cells along each side of that grid")
    reach: float = key(8.0, "from an agent to the side of its grid, in strides")
    end: float = key(0.0, "weight of the last position's error beside the mean of all")
    expected: float = key(
        1.0, "weight of the first future's error beside that of the best: it learns from everybody"
    )
    others: float = key(0.05, "weight of the futures that are not the best, without which some are never learned")
    choice: float = key(0.1, "weight of the nats with which the best future is expected")

    def __post_init__(self) -> None:
        check_layer(self.layer)
        check_least("model", self, 1, "embedding", "hidden", "depth", "futures", "code", "cells")
        check_least("model", self, 0, "end", "expected", "others", "choice")
        check_shares("model", self, "dropout")
        if not self.reach > 0:
            raise ConfigError(f"model.reach: expected a positive distance, got {self.reach}")


@dataclass(frozen=True)
class TrajectoryScore:
    """What counts as a miss and a collision; the table [score] of a recipe."""

    miss: float = key(2.0, "a future misses if its last position is farther off than this")
    collision: float = key(0.1, "two agents collide if their expected paths are nearer than this at one step")

    def __post_init__(self) -> None:
        check_least("score", self, 0, "miss", "collision")


@dataclass(frozen=True)
class TrajectoryConfig:
    """A predictor of paths: data, network and scores. A stride is the median way of a step in training."""

    data: TrajectoryData = key(TrajectoryData(), "what to read")
    augment: TrajectoryAugment = key(TrajectoryAugment(), "how training paths are changed")
    model: TrajectoryNet = key(TrajectoryNet(), "the network")
    score: TrajectoryScore = key(TrajectoryScore(), "what counts as a miss and a collision")
