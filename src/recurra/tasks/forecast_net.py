"""What a recipe says of a forecasting network; the table [model]."""

from dataclasses import dataclass
from typing import Literal

from recurra.config import key
from recurra.errors import ConfigError
from recurra.tasks.checks import check_layer, check_least, check_shares
from recurra.tasks.forecast_history import Normalisation

__all__ = ["ForecastNet", "Kind"]

Kind = Literal["autoregressive", "direct", "segments"]


@dataclass(frozen=True)
class ForecastNet:
    """The network; the table [model] of a recipe."""

    kind: Kind = key(
        "direct",
        "direct: all steps at once (MQ-RNN); autoregressive: step after step, sample paths (DeepAR); segments: "
        "reads and writes whole segments (SegRNN)",
    )
    layer: str = key("gru", "a recurrent layer by name: lstm, gru, sru, mingru, ...")
    hidden: int = key(64, "units of each layer")
    depth: int = key(1, "layers")
    members: int = key(1, "networks that learn side by side; the forecast is the mean of theirs")
    dropout: float = key(0.1, "share of units dropped after each layer in training")
    recurrent_dropout: float = key(0.0, "share of each layer's memory that it does not hear, for a whole window")
    normalisation: Normalisation = key(
        "series",
        "of each history: series (the data's scaling is all), mean (divided by the mean size, for counts), last "
        "(the last value subtracted), instance (mean 0 and variance 1)",
    )
    embedding: int = key(8, "size of the vector that is learned for each series; 0: none")
    newcomers: float = key(0.1, "share of training windows whose series is hidden, as that of a new one is")
    lags: tuple[int, ...] = key(
        (), "of autoregressive: how many steps ago the values lie that each step also reads"
    )
    decoder: int = key(64, "of direct: units of the networks that make steps of the horizon out of the memory")
    context: int = key(16, "of direct and segments: numbers that each step of the horizon gets from the memory")
    forks: int = key(16, "of direct: places of a training window from which the horizon is forecast")
    segment: int = key(24, "of segments: steps of a segment")

    def __post_init__(self) -> None:
        check_layer(self.layer, self.recurrent_dropout)
        check_least("model", self, 1, "hidden", "depth", "members", "decoder", "context", "forks", "segment")
        check_least("model", self, 0, "embedding")
        check_shares("model", self, "dropout", "recurrent_dropout", "newcomers")
        if any(lag < 1 for lag in self.lags) or len(set(self.lags)) < len(self.lags):
            raise ConfigError(f"model.lags: expected different numbers of steps from 1 up, got {list(self.lags)}")
        if self.lags and self.kind != "autoregressive":
            raise ConfigError(
                f"model.lags: only the autoregressive network reads them, model.kind is {self.kind!r}"
            )
        if self.kind == "segments" and self.embedding >= self.hidden:
            raise ConfigError(
                f"model.embedding: expected fewer than model.hidden = {self.hidden} numbers, which the vector of "
                f"the series shares with that of the place in the horizon, got {self.embedding}"
            )
