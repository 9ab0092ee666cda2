"""What a keyword spotter is made of: its tables [data], [model] and [alarm]."""

from dataclasses import dataclass

from recurra.config import key
from recurra.errors import ConfigError
from recurra.tasks.checks import check_layer, check_least, check_shares, check_split

__all__ = ["AlarmConfig", "KeywordConfig", "KeywordData", "KeywordNet"]


@dataclass(frozen=True)
class KeywordData:
    """What to read; the table [data] of a recipe."""

    path: str = key("digits", "short recordings with texts: spoken digits, a manifest, a folder, or a data set")
    keywords: tuple[str, ...] = key(("seven",), "words to spot, or phrases, as the texts have them")
    split: tuple[float, ...] = key((0.8, 0.1, 0.1), "shares of the three parts where the data has no parts")
    seed: int = key(0, "of that split, and of the strings that are measured")
    rate: int = key(8000, "samples a second, to which all sound is brought")
    least: int = key(3, "recordings in a training string, at least")
    most: int = key(7, "recordings in a training string, at most")
    share: float = key(0.3, "share of recordings in training strings that have a keyword")
    gap: float = key(0.5, "seconds of near silence between recordings, at most")
    speed: float = key(0.1, "recordings are made faster or slower by up to this share in training")
    loudness: float = key(6.0, "recordings are made louder or softer by up to so many decibels")
    noise: float = key(0.8, "share of strings with noise under them")
    snr: tuple[float, ...] = key((5.0, 30.0), "decibels by which speech is louder than that noise, from and to")
    minutes: float = key(20.0, "length of the strings that are measured in validation, and in the test")
    batch: int = key(16, "strings in a batch")

    def __post_init__(self) -> None:
        words = [" ".join(keyword.split()) for keyword in self.keywords]
        if not words or not all(words) or len(set(words)) != len(words):
            raise ConfigError(f"data.keywords: expected different words to spot, got {list(self.keywords)}")
        check_split(self.split)
        check_least("data", self, 1, "rate", "least", "batch")
        check_least("data", self, 0, "gap", "loudness", "minutes")
        check_shares("data", self, "speed")
        for name in ("share", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        if self.most < self.least:
            raise ConfigError(f"data.most: expected at least data.least = {self.least}, got {self.most}")
        if len(self.snr) != 2 or self.snr[0] > self.snr[1]:
            raise ConfigError(f"data.snr: expected decibels from and to such as [5, 30], got {list(self.snr)}")


@dataclass(frozen=True)
class KeywordNet:
    """The network; the table [model] of a recipe."""

    features: int = key(40, "mel filter banks")
    stack: int = key(3, "frames of 10 ms that are one step of the network")
    layer: str = key("gru", "a recurrent layer by name: gru, lstm, rnn, min_gru and others")
    hidden: int = key(64, "units of each layer")
    depth: int = key(1, "layers")
    dropout: float = key(0.1, "share of inputs and outputs of the layers dropped in training")
    early: float = key(0.15, "seconds before a keyword's end from which on it is learned to be noticed")
    late: float = key(0.3, "seconds after a keyword in which it may still be noticed")
    weight: float = key(10.0, "a keyword counts as much as so many steps without one")

    def __post_init__(self) -> None:
        check_layer(self.layer)
        check_least("model", self, 1, "features", "stack", "hidden", "depth")
        check_least("model", self, 0, "early", "late", "weight")
        check_shares("model", self, "dropout")


@dataclass(frozen=True)
class AlarmConfig:
    """When a keyword is said to be heard; the table [alarm] of a recipe."""

    false_alarms: float = key(1.0, "an hour, at most, in validation: by this the threshold is chosen")
    rest: float = key(0.2, "seconds in which a keyword must not be heard before it raises another alarm")

    def __post_init__(self) -> None:
        check_least("alarm", self, 0, "false_alarms", "rest")


@dataclass(frozen=True)
class KeywordConfig:
    """A keyword spotter: data, network and alarm."""

    data: KeywordData = key(KeywordData(), "what to read")
    model: KeywordNet = key(KeywordNet(), "the network")
    alarm: AlarmConfig = key(AlarmConfig(), "when a keyword is said to be heard")
