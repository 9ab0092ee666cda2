"""What a predictor of frames is made of: its tables [data], [augment], [model] and [loss]."""

import math
from dataclasses import dataclass
from typing import Literal

from recurra.config import key, suggest
from recurra.errors import ConfigError
from recurra.layers import CONVOLUTIONAL
from recurra.tasks.checks import check_least, check_split

__all__ = ["FramesAugment", "FramesConfig", "FramesData", "FramesLoss", "FramesNet"]


@dataclass(frozen=True)
class FramesData:
    """What to read; the table [data] of a recipe."""

    path: str = key(
        "moving-digits", "a film, a folder of films, one with train, valid and test, a data set or a film in it"
    )
    split: tuple[float, ...] = key(
        (0.7, 0.15, 0.15), "shares of a film's time for training, validation and test; no clip crosses a cut"
    )
    rate: float = key(0.0, "frames a second, taken by time; 0: the film's own, on average")
    size: tuple[int, ...] = key((), "rows and columns to which frames are stretched; []: as they are")
    colours: Literal["rgb", "grey"] = key("grey", "rgb: three channels; grey: one, of any film")
    known: int = key(10, "frames that are seen")
    ahead: int = key(10, "frames that are predicted from them")
    stride: int = key(1, "frames from the beginning of a clip to that of the next")
    clips: int = key(200, "clips that are drawn for validation, and for the test, if moving digits are drawn")
    batch: int = key(16, "clips in a batch")

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least("data", self, 1, "ahead", "stride", "clips", "batch")
        check_least("data", self, 2, "known")  # a straight line goes through two frames
        if not 0 <= self.rate < math.inf:
            raise ConfigError(f"data.rate: expected frames a second, or 0, got {self.rate}")
        if self.size and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError(
                f"data.size: expected rows and columns such as [64, 64], or [], got {list(self.size)}"
            )

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.known + self.ahead


@dataclass(frozen=True)
class FramesAugment:
    """How training clips are changed; the table [augment] of a recipe."""

    mirror: float = key(0.0, "share of clips in which left and right are changed")
    backward: float = key(0.0, "share of clips that run backward")
    light: float = key(0.0, "most by which brightness and contrast are changed, as a share")

    def __post_init__(self) -> None:
        for name in ("mirror", "backward", "light"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name}: expected a share from 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class FramesNet:
    """The network; the table [model] of a recipe."""

    layer: str = key("conv_lstm", "a layer over maps by name: conv_lstm, conv_gru, predrnn, or a variant of them")
    form: Literal["autoregressive", "forecaster"] = key(
        "autoregressive", "what reads a prediction: the network itself (autoregressive), nobody (forecaster)"
    )
    output: Literal["paint", "change", "motion"] = key(
        "motion", "how a frame comes: moved from the one before and changed, only changed, or painted anew (by bce)"
    )
    reach: int = key(2, "pixels in each direction from which motion takes a pixel")
    patch: int = key(4, "pixels of each side of a patch, which become channels of one place")
    hidden: int = key(48, "maps of each layer")
    depth: int = key(2, "layers")
    kernel: int = key(3, "places that a convolution sees, along each side; odd")

    def __post_init__(self) -> None:
        if self.layer not in CONVOLUTIONAL:
            raise ConfigError(
                f"model.layer: unknown layer {self.layer!r}{suggest(self.layer, list(CONVOLUTIONAL))}"
            )
        check_least("model", self, 1, "reach", "patch", "hidden", "depth", "kernel")
        if self.kernel % 2 == 0:
            raise ConfigError(f"model.kernel: expected an odd number, got {self.kernel}; take {self.kernel + 1}")


@dataclass(frozen=True)
class FramesLoss:
    """What is minimised, summed with these weights; the table [loss] of a recipe."""

    mse: float = key(1.0, "weight of the squared error of a pixel")
    l1: float = key(0.0, "weight of its absolute error: sharper frames")
    bce: float = key(0.0, "weight of its cross-entropy in nats, for frames that are nearly black and white")
    known: float = key(0.5, "weight of known frames, each predicted from those before it; 0 in a forecaster")

    def __post_init__(self) -> None:
        check_least("loss", self, 0, "mse", "l1", "bce", "known")
        if not self.mse + self.l1 + self.bce > 0:
            raise ConfigError("loss: expected a weight above 0 for one of mse, l1 and bce")


@dataclass(frozen=True)
class FramesConfig:
    """A predictor of frames: data, network and loss."""

    data: FramesData = key(FramesData(), "what to read")
    augment: FramesAugment = key(FramesAugment(), "how training clips are changed")
    model: FramesNet = key(FramesNet(), "the network")
    loss: FramesLoss = key(FramesLoss(), "what is minimised")
