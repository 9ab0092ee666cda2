"""What a recognizer of actions is made of: its tables [data], [view], [augment] and [model]."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from recurra.config import key
from recurra.data.poses import PAIRS, PoseFeatures
from recurra.errors import ConfigError
from recurra.layers import CONVOLUTIONAL
from recurra.tasks.checks import check_least, check_shares, check_split
from recurra.tasks.classifier import ClassifierNet, check_net

__all__ = ["ActionAugment", "ActionConfig", "ActionData", "ActionNet", "ActionView"]

SMALLEST = 8  # pixels of a frame's side


@dataclass(frozen=True)
class ActionData:
    """What to read; the table [data] of a recipe."""

    input: Literal["films", "joints"] = key("films", "films: videos; joints: where the joints of a body are")
    path: str = key(
        "clips", "films: a folder for each label, or a list 'path label'; joints: .npz, .jsonl; or a data set"
    )
    valid: str = key("", "others to validate on; empty: those of the folder, or a share of the training ones")
    test: str = key("", "others to test on, in the same way")
    split: tuple[float, ...] = key(
        (0.8, 0.1, 0.1), "shares of training, validation and test where a part is missing"
    )
    seed: int = key(0, "of that split")
    batch: int = key(16, "windows in a batch")
    threads: int = key(2, "that decode ahead")

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least("data", self, 1, "batch", "threads")


@dataclass(frozen=True)
class ActionView:
    """How films and bodies are looked at; the table [view] of a recipe."""

    rate: float = key(12.0, "frames a second that are taken from a film, or that a file of joints holds")
    size: tuple[int, ...] = key((64, 64), "rows and columns to which the frames of films are brought")
    colours: Literal["rgb", "grey"] = key("rgb", "of films: red, green and blue, or brightness alone")
    window: int = key(0, "frames after which there is an answer; 0: whole clips")
    stride: int = key(0, "frames from the beginning of a window to that of the next; 0: half a window")
    centre: Literal["frame", "clip", "none"] = key(
        "frame", "of joints: what becomes 0, the middle of each frame's or of all; clip: cannot stream"
    )
    scale: Literal["frame", "clip", "none"] = key(
        "frame", "of joints: what becomes 1, the size in each frame or in all; clip: cannot stream"
    )
    orders: int = key(1, "of joints: 0 places alone, 1 velocities too, 2 accelerations too")

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise ConfigError(f"view.rate: expected frames a second, got {self.rate}")
        if len(self.size) != 2 or min(self.size) < SMALLEST:
            raise ConfigError(f"view.size: expected rows and columns of {SMALLEST} or more, got {list(self.size)}")
        check_least("view", self, 0, "window", "stride")
        if self.window and self.stride > self.window:
            raise ConfigError(
                f"view.stride: expected at most the window of {self.window}, so that every frame is seen, got "
                f"{self.stride}"
            )
        self.features  # noqa: B018  # raises for what joints cannot be read as

    @property
    def features(self) -> PoseFeatures:
        """What is read of joints."""
        return PoseFeatures(self.centre, self.scale, self.orders)

    @property
    def step(self) -> int:
        """Frames from the beginning of a window to that of the next; 0 for whole clips."""
        return self.stride or (self.window + 1) // 2


@dataclass(frozen=True)
class ActionAugment:
    """How training windows are changed; the table [augment] of a recipe."""

    mirror: float = key(0.5, "share of windows that are mirrored; 0 where left and right are different actions")
    slow: float = key(0.8, "windows are played faster or slower: the lowest speed")
    fast: float = key(1.25, "and the highest; 1 and 1: as they are")
    crop: float = key(0.8, "of films: share of each side that a piece of the picture has at least")
    light: float = key(0.2, "of films: by how much brightness, contrast and saturation change at most")
    turn: float = key(10.0, "of joints: degrees by which a body is turned at most")
    resize: float = key(0.1, "of joints: by how much it is wider or taller at most")
    pairs: tuple[int, ...] = key(
        tuple(number for pair in PAIRS for number in pair),
        "of joints: right and left ones by their numbers from 0, two by two, which change places in a mirror",
    )
    noise: float = key(0.02, "of joints: standard deviation of what is added to them, in sizes of a body")

    def __post_init__(self) -> None:
        if not 0 <= self.mirror <= 1:
            raise ConfigError(f"augment.mirror: expected a share from 0 to 1, got {self.mirror}")
        if not 0 < self.slow <= self.fast:
            raise ConfigError(f"augment.slow: expected 0 < slow <= fast, got {self.slow} and {self.fast}")
        if not 0 < self.crop <= 1:
            raise ConfigError(f"augment.crop: expected a share above 0 and up to 1, got {self.crop}")
        if len(self.pairs) % 2 or min(self.pairs, default=0) < 0:
            raise ConfigError(f"augment.pairs: expected numbers from 0, two by two, got {list(self.pairs)}")
        check_shares("augment", self, "light", "resize")
        check_least("augment", self, 0, "turn", "noise")


@dataclass(frozen=True)
class ActionNet(ClassifierNet):
    """The network; the table [model] of a recipe."""

    layer: str = key(
        "gru", "a recurrent layer by name: rnn, lstm, gru, mingru, ...; of films conv_lstm, conv_gru, ... too"
    )
    features: int = key(96, "numbers that are read of each frame; of joints 0: the joints themselves")
    widths: tuple[int, ...] = key(
        (16, 32, 64), "of films: maps of each convolution, after which a frame has half as many rows"
    )
    sees: Literal["frames", "changes", "both"] = key(
        "both", "of films: the frames, what changed since the frame before, or both"
    )
    kernel: int = key(3, "of conv_lstm and its like: odd size of what a place sees of the step before")
    encoder: str = key("", "a .safetensors file with which the part that reads single frames begins; empty: none")
    encoder_pace: float = key(1.0, "its learning rate, as a factor of that of the rest; 0: it stays as it is")

    def __post_init__(self) -> None:
        maps = self.layer in CONVOLUTIONAL
        if maps and self.recurrent_dropout:
            raise ConfigError(f"model.recurrent_dropout: {self.layer} has no product to drop from; expected 0")
        check_net(replace(self, layer="gru") if maps else self)
        check_least("model", self, 0, "features", "encoder_pace")
        if min(self.widths, default=0) < 1:
            raise ConfigError(f"model.widths: expected maps of a convolution or more, got {list(self.widths)}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"model.kernel: expected an odd size, got {self.kernel}")


@dataclass(frozen=True)
class ActionConfig:
    """A recognizer of actions: data, view, augmentation and network."""

    data: ActionData = key(ActionData(), "what to read")
    view: ActionView = key(ActionView(), "how it is looked at")
    augment: ActionAugment = key(ActionAugment(), "how training windows are changed")
    model: ActionNet = key(ActionNet(), "the network")

    def __post_init__(self) -> None:
        films = self.data.input == "films"
        if self.model.layer in CONVOLUTIONAL and not films:
            raise ConfigError(f"model.layer: {self.model.layer} reads pictures; joints need one such as gru")
        if films and self.model.features < 1:
            raise ConfigError("model.features: expected 1 or more of the frames of films, got 0")
        if films and min(self.view.size) < 2 ** len(self.model.widths):
            raise ConfigError(
                f"model.widths: {len(self.model.widths)} convolutions leave nothing of {min(self.view.size)} rows "
                "or columns; take fewer, or a larger view.size"
            )
