"""Classification of sequences of numbers: speakers, gestures, machines, heart beats.

The network is that of `recurra.tasks.classifier` over frames, standardised by the training part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurra.config import key
from recurra.data.series import Scale, Series, parse_series, read_series, read_series_parts
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.errors import ConfigError, DataError, RunError
from recurra.heads.pooling import pooling
from recurra.tasks.checks import check_least, check_split
from recurra.tasks.classifier import Classifier, ClassifierNet, check_net, make_layers
from recurra.tasks.classifier_network import ClassifierNetwork, make_network
from recurra.tasks.series_picture import draw_series

__all__ = ["SequenceClassifier", "SequenceClassifierConfig", "SeriesData", "SeriesNet"]


@dataclass(frozen=True)
class SeriesData:
    """What to read; the table [data] of a recipe."""

    path: str = key("data", "labelled sequences: a .ts file, a folder of .ts or CSV files, or a data set")
    valid: str = key("", "others to validate on; empty: those of the folder, or a share of the training ones")
    test: str = key("", "others to test on, in the same way")
    split: tuple[float, ...] = key(
        (0.8, 0.1, 0.1), "shares of training, validation and test where a part is missing"
    )
    seed: int = key(0, "of that split")
    noise: float = key(0.0, "standard deviation of what is added to training frames, once they are standardised")
    batch: int = key(16, "sequences in a batch")


@dataclass(frozen=True)
class SeriesNet(ClassifierNet):
    """The network; the table [model] of a recipe."""


@dataclass(frozen=True)
class SequenceClassifierConfig:
    """A classifier of sequences of numbers: data and network."""

    data: SeriesData = key(SeriesData(), "what to read")
    model: SeriesNet = key(SeriesNet(), "the network")

    def __post_init__(self) -> None:
        check_net(self.model)
        check_split(self.data.split)
        check_least("data", self.data, 1, "batch")
        if not self.data.noise >= 0:
            raise ConfigError(f"data.noise: expected 0 or more, got {self.data.noise}")


class SequenceClassifier(Classifier):
    """A classifier that is trained on labelled sequences of numbers and gives a new one its label and probability.

    >>> model = SequenceClassifier(SequenceClassifierConfig(data=SeriesData(path="moves")))     # doctest: +SKIP
    >>> model.fit("runs/moves")                                                                 # doctest: +SKIP
    >>> model.predict(torch.randn(20, 12))["label"]                                             # doctest: +SKIP
    """

    name = "classify_series"
    Config = SequenceClassifierConfig
    config: SequenceClassifierConfig

    def __init__(self, config: SequenceClassifierConfig | None = None) -> None:
        super().__init__(config)
        self.scale: Scale | None = None

    def rows(self) -> Parts:
        data = self.config.data
        return read_series_parts(place_of(data.path), data.valid, data.test, data.split, data.seed)

    def rows_of(self, source: str) -> tuple[list[Series], str]:
        return read_series(source)

    def learn(self, examples: list[Series]) -> None:
        self.scale = Scale.of(series.x for series in examples)

    def encode(self, examples: Sequence[Series]) -> list[Tensor]:
        scale = self._scale()
        for series in examples:
            if series.x.dim() != 2 or series.x.shape[1] != len(scale.mean):
                raise DataError(
                    f"{series.where}: expected frames of shape (T, {len(scale.mean)}), one value for each channel, "
                    f"got {tuple(series.x.shape)}"
                )
        return [scale(series.x) for series in examples]

    def raw(self, raw: Any) -> Series:
        """Frames ``(T, F)`` as a tensor or lists, or a line of text as in a ``.ts`` file without its label."""
        return Series(
            parse_series(raw, "predict") if isinstance(raw, str) else _tensor(raw, "predict"), "", "predict"
        )

    def pieces(self, raw: Any) -> Tensor:
        """One frame ``(F,)`` or more ``(T, F)``."""
        x = _tensor(raw, "push")
        return self.encode([Series(x[None] if x.dim() == 1 else x, "", "push")])[0]

    def some(self, steps: int) -> Tensor:
        return torch.zeros(steps, len(self._scale().mean))

    def disturb(self, x: Tensor, random: torch.Generator) -> Tensor:
        noise = self.config.data.noise
        return x + noise * torch.randn(x.shape, generator=random) if noise else x

    def network(self) -> nn.Module:
        return make_network(self.config.model.members, self._member)

    def _member(self) -> ClassifierNetwork:
        model, ways = self.config.model, 2 if self.config.model.bidirectional else 1
        pool = pooling(model.pooling, model.hidden * ways, model.hidden * (ways - 1))
        layers = make_layers(model, len(self._scale().mean))
        return ClassifierNetwork(nn.Identity(), layers, pool, len(self.labels), model.dropout)

    def draw_answer(self, raw: Any, folder: Path, name: str) -> list[Path]:
        """The sequence, and below it what each frame did to the answer."""
        answer, x = self.predict(raw), self.encode([self.raw(raw)])[0]
        title = f"{answer['label']} with probability {answer['probability']:.3f}"
        draw_series(x, self.shares(x, answer["label"]).values, folder / f"{name}.png", title)
        return [folder / f"{name}.png"]

    def learned(self) -> dict[str, Any]:
        scale = self._scale()
        return super().learned() | {"mean": scale.mean.tolist(), "deviation": scale.deviation.tolist()}

    def relearn(self, values: dict[str, Any]) -> None:
        super().relearn(values)
        try:
            mean, deviation = (torch.tensor(values[name], dtype=torch.float32) for name in ("mean", "deviation"))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                "the run has no mean and deviation of each channel; was it made by this task?"
            ) from error
        self.scale = Scale(mean, deviation)

    def _scale(self) -> Scale:
        if self.scale is None:
            raise RunError("SequenceClassifier knows no channels yet; call fit(...) or load(folder)")
        return self.scale


def _tensor(raw: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(raw, dtype=torch.float32)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{what}: expected numbers, frames of channels, got {type(raw).__name__} ({error})"
        ) from error
