"""What all classifiers share: one label for a whole sequence, whatever its steps are.

    p(label | x_1 .. x_T) = softmax(W s + b) / T        s = pooling(h_1 .. h_T),  h_t = layers(embed(x_t), ...)

A task that reads something says how: `recurra.tasks.classify` reads text, `classify_series` sequences of numbers.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recurra import files
from recurra.config import key
from recurra.data.batches import RowBatches
from recurra.data.splits import Parts
from recurra.errors import ConfigError, DataError, NotCausalError, RunError
from recurra.heads.attribution import Shares, integrated_gradients, log_odds
from recurra.heads.calibration import calibration_error, fit_temperature
from recurra.heads.confusion import accuracy, confusion, macro_f1
from recurra.heads.pooling import POOLINGS, pooling
from recurra.kernels import dispatch
from recurra.layers import (
    LAYERS,
    Bidirectional,
    Dropout,
    Recurrent,
    RecurrentDropout,
    Stack,
    VariationalDropout,
)
from recurra.run.estimator import Estimator
from recurra.run.fit import Fit, Position
from recurra.run.folder import RunFolder
from recurra.run.protocol import Batches, Data
from recurra.tasks.checks import check_layer, check_least, check_shares
from recurra.tasks.classifier_network import together
from recurra.tasks.classifier_stream import ClassifierStream
from recurra.tasks.confusion_picture import draw_confusion

__all__ = [
    "Classifier",
    "ClassifierNet",
    "Item",
    "Items",
    "Labeller",
    "check_net",
    "make_layers",
]

AT_ONCE = 16384  # padded steps of a batch when only answers are wanted


@dataclass(frozen=True)
class ClassifierNet:
    """What all classifying networks have; the table [model] of a recipe."""

    layer: str = key("gru", "a recurrent layer by name: rnn, lstm, gru, peephole_lstm, layer_norm_lstm")
    hidden: int = key(128, "units of each layer, and of each direction")
    depth: int = key(1, "layers")
    bidirectional: bool = key(True, "read from both ends; false: from the beginning only, and can stream")
    pooling: str = key("max+mean", "one vector of all steps: last, max, mean, attentive, or several joined by +")
    dropout: float = key(0.3, "share of units dropped after each layer, and of the pooled vector, in training")
    variational_dropout: float = key(0.0, "share of inputs dropped in training, the same ones at all steps")
    recurrent_dropout: float = key(0.0, "share of each layer's memory that it does not hear, in training")
    label_smoothing: float = key(0.0, "share of each label that is spread over all labels (Szegedy et al. 2016)")
    members: int = key(1, "networks that learn side by side and answer by the mean of their probabilities")
    class_weights: Literal["none", "balanced"] = key("none", "balanced: every class counts the same in the loss")


def check_net(model: ClassifierNet) -> None:
    """Raise ConfigError if a value of the table [model] cannot be."""
    check_layer(model.layer, model.recurrent_dropout)
    check_least("model", model, 1, "hidden", "depth", "members")
    check_shares("model", model, "dropout", "variational_dropout", "recurrent_dropout", "label_smoothing")
    try:
        pooling(model.pooling, 1)
    except ConfigError as error:
        raise ConfigError(f"model.{error}; known are {', '.join(POOLINGS)}") from error


def make_layers(model: ClassifierNet, size: int) -> Stack:
    """The recurrent layers over inputs of ``size`` features, with dropout."""
    layers: list[Recurrent] = [VariationalDropout(model.variational_dropout)] if model.variational_dropout else []
    for _ in range(model.depth):
        one = [make_cell(model, size) for _ in range(2 if model.bidirectional else 1)]
        layers += [Bidirectional(one[0], one[1]) if model.bidirectional else one[0], Dropout(model.dropout)]
        size = model.hidden * len(one)
    return Stack(*layers)


def make_cell(model: ClassifierNet, size: int) -> Recurrent:
    """One recurrent layer in one direction."""
    make: Any = LAYERS[model.layer]
    cell = make(size, model.hidden)
    return RecurrentDropout(cell, model.recurrent_dropout) if model.recurrent_dropout else cell


class Item(NamedTuple):
    """A sequence ``x (T,)`` of tokens or ``(T, F)`` of frames, the number of its label (-1: none), its place."""

    x: Tensor
    label: int
    row: int


class Items(NamedTuple):
    """Items side by side, padded on the right.

    x        (B, T) or (B, T, F)
    lengths  (B,)  valid steps of each row
    labels   (B,)  numbers of the labels
    rows     (B,)  the place of each row among all of its part
    """

    x: Tensor
    lengths: Tensor
    labels: Tensor
    rows: Tensor


class Labeller(Estimator):
    """A task that gives an example one label, whatever examples are.

    A subclass writes what is its own: `rows` and `rows_of` read examples with ``label`` and ``where``, `learn`
    learns from those of the training part, `batches` puts them side by side as `Items`, `answers` asks a network.
    """

    source: ClassVar[str] = "data.path"
    maximize: ClassVar[bool] = True
    unit: ClassVar[str] = "rows"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.labels: list[str] = []
        self.weights: Tensor | None = None
        self.temperature = 1.0

    @abstractmethod
    def rows(self) -> Parts:
        """The examples of the data that the configuration names."""

    @abstractmethod
    def rows_of(self, source: str) -> tuple[list[Any], str]:
        """The examples of another file, and a note that says how it was read."""

    @abstractmethod
    def learn(self, examples: list[Any]) -> None:
        """Learn from the training examples what is needed to read others."""

    @abstractmethod
    def batches(self, examples: list[Any], training: bool = False) -> RowBatches:
        """Batches of `Items`, of rows that have a number as ``label``; DataError for a label that is not known."""

    @abstractmethod
    def answers(self, network: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
        """The logits ``(N, classes)`` and the numbers of the labels ``(N,)``, in the order of the examples."""

    def fit(
        self,
        out: str | Path,
        fit: Fit | None = None,
        resume: bool = False,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Position:
        """Train as every task does (`Estimator.fit`).

        A resumed run goes on with its own labels and vocabulary, whatever became of the data since.
        """
        if resume:
            folder = RunFolder(out)
            folder.require()
            self.relearn(files.read_table(folder.vocabulary))
        self.temperature = 1.0
        return super().fit(out, fit, resume, overwrite, quiet)

    def data(self) -> Data:
        """The rows in three parts; labels and what `learn` learns come from the first one, once."""
        parts = self.rows()
        self.say(*parts.notes)
        if not self.labels:
            self.labels = sorted({example.label for example in parts.train})
            self.learn(parts.train)
        train = self.batches(parts.train, training=True)
        self.weights = self._class_weights(train)
        return Data(train, self.batches(parts.valid), self.batches(parts.test))

    def read(self, source: str) -> Batches:
        """The labelled rows of another file."""
        examples, note = self.rows_of(source)
        self.say(note)
        return self.batches(examples)

    def numbers(self, examples: list[Any]) -> list[int]:
        """The numbers of the labels of examples. Raises DataError for one that is not in training."""
        numbers = {label: number for number, label in enumerate(self.labels)}
        for example in examples:
            if example.label not in numbers:
                known = ", ".join(map(repr, self.labels[:20]))
                raise DataError(
                    f"{example.where}: the label {example.label!r} is not in training; known are {known}"
                )
        return [numbers[example.label] for example in examples]

    def _class_weights(self, train: RowBatches) -> Tensor | None:
        """Weights by which every class counts the same, with mean 1 over the rows."""
        if self.config.model.class_weights == "none":
            return None
        counts = Counter(item.label for item in train.rows)
        kinds = len(self.labels)
        return torch.tensor([len(train.rows) / (kinds * max(1, counts[number])) for number in range(kinds)])

    def loss(self, network: nn.Module, batch: Items, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the cross entropies in nats, and the number of rows; nothing is carried."""
        weights = None if self.weights is None else self.weights.to(batch.labels.device)
        logits, smoothing = network(batch.x, batch.lengths).float(), self.config.model.label_smoothing
        each = logits if logits.dim() == 3 else logits[None]  # members of a committee learn each for itself
        labels = batch.labels.repeat(len(each))
        total = cross_entropy(each.flatten(0, 1), labels, weights, reduction="sum", label_smoothing=smoothing)
        return total / len(each), len(batch.labels), None

    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """The confusion matrix."""
        logits, labels = self.answers(self.ready(), batches)
        counts = confusion(logits.argmax(1), labels, len(self.labels))
        draw_confusion(counts, self.labels, folder / "confusion.png")
        return [folder / "confusion.png"]

    def learned(self) -> dict[str, Any]:
        return {"labels": self.labels, "temperature": self.temperature}

    def relearn(self, values: dict[str, Any]) -> None:
        labels, temperature = values.get("labels"), values.get("temperature")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise RunError(f"the vocabulary has no list of labels, got {labels!r}")
        if not isinstance(temperature, float) or not temperature > 0:
            raise RunError(f"the vocabulary has no temperature above 0, got {temperature!r}")
        self.labels, self.temperature = labels, temperature


class Classifier(Labeller):
    """A task that gives a sequence one label.

    A subclass writes what is its own: what every `Labeller` must, `encode`, which makes numbers of examples, and
    perhaps `disturb`, which adds noise in training.
    """

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> list[Tensor]:
        """The sequences of examples: ``(T,)`` tokens or ``(T, F)`` frames."""

    @abstractmethod
    def raw(self, raw: Any) -> Any:
        """What `predict` was given, as an example that `encode` takes."""

    def disturb(self, x: Tensor, random: torch.Generator) -> Tensor:
        """A batch of training inputs with noise."""
        return x

    def batches(self, examples: list[Any], training: bool = False) -> RowBatches:
        labels, xs = self.numbers(examples), self.encode(examples)
        items = [Item(x, label, row) for row, (x, label) in enumerate(zip(xs, labels, strict=True))]
        if training:
            return RowBatches(
                items, [len(x) for x in xs], self._training_batch, self.config.data.batch, "rows", True, 8
            )
        return RowBatches(items, [len(x) for x in xs], collate, AT_ONCE, "steps")

    def _training_batch(self, items: list[Item], random: torch.Generator) -> Items:
        batch = collate(items, random)
        return batch._replace(x=self.disturb(batch.x, random))

    @torch.no_grad()
    def answers(self, network: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
        """The logits ``(N, classes)`` and the numbers of the labels ``(N,)``, in the order of the rows."""
        device, found = next(network.parameters()).device, []
        for batch in batches.epoch(0):
            logits = together(network(batch.x.to(device), batch.lengths).float()).cpu()
            found.append((batch.rows, logits, batch.labels))
        rows, logits, labels = (torch.cat(part) for part in zip(*found, strict=True))
        order = rows.argsort()
        return logits[order], labels[order]

    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Accuracy, macro F1, nats a row, and how far the probabilities are off (expected calibration error)."""
        logits, labels = self.answers(network, batches)
        logits = logits / self.temperature
        counts = confusion(logits.argmax(1), labels, len(self.labels))
        return {
            "accuracy": accuracy(counts),
            "macro_f1": macro_f1(counts),
            "loss": float(cross_entropy(logits, labels)),
            "calibration_error": calibration_error(logits.softmax(1), labels),
        }

    def finish(self, data: Data) -> None:
        """Fit the temperature of the probabilities on the validation part (Guo et al. 2017)."""
        self.temperature = fit_temperature(*self.answers(self.ready(), data.valid))

    def predict(self, raw: Any) -> dict[str, Any]:
        """The likeliest label, its probability, and the probabilities of all labels."""
        return self.predict_many([raw])[0]

    @torch.no_grad()
    def predict_many(self, raws: Sequence[Any]) -> list[dict[str, Any]]:
        """The answers to many inputs, in their order."""
        network = self.ready()
        xs = self.encode([self.raw(raw) for raw in raws])
        items = [Item(x, -1, row) for row, x in enumerate(xs)]
        if not items:
            return []
        logits, _ = self.answers(network, RowBatches(items, [len(x) for x in xs], collate, AT_ONCE, "steps"))
        chances = (logits / self.temperature).softmax(1).tolist()
        return [self.answer(raw, row) for raw, row in zip(raws, chances, strict=True)]

    def answer(self, raw: Any, chances: list[float]) -> dict[str, Any]:
        """The answer for people and programs, from the probabilities of the labels."""
        best = max(range(len(chances)), key=chances.__getitem__)
        named = dict(zip(self.labels, chances, strict=True))
        text = {"text": raw} if isinstance(raw, str) else {}
        shown = f"{self.labels[best]}\t{chances[best]:.4f}"
        return text | {
            "label": self.labels[best],
            "probability": chances[best],
            "probabilities": named,
            "shown": shown,
        }

    def stream(self, raw: Any = None) -> ClassifierStream:
        """A `ClassifierStream`: push what comes next, and it has the probabilities of all that came so far.

        Raises NotCausalError for a network that reads from both ends.
        """
        network = self.ready()
        if not network.causal:
            raise NotCausalError(
                f"{self.name}: this network reads from both ends and cannot answer before the end; to stream, "
                "train one that reads from the beginning: recurra train ... --set model.bidirectional=false"
            )
        stream = ClassifierStream(network, self.pieces, self.labels, self.temperature)
        if raw is not None:
            stream.push(raw)
        return stream

    @abstractmethod
    def pieces(self, raw: Any) -> Tensor:
        """The steps of something that is pushed into a stream: ``(T,)`` tokens or ``(T, F)`` frames."""

    def explain(self) -> str:
        """Which kernel runs for a training batch."""
        network, random = self.ready(), torch.Generator()
        items = [Item(self.some(32), 0, row) for row in range(self.config.data.batch)]
        with dispatch.record() as log:
            batch = collate(items, random)
            network(batch.x, batch.lengths)
        return "\n".join(str(decision) for decision in log)

    @abstractmethod
    def some(self, steps: int) -> Tensor:
        """Any sequence of so many steps."""

    @torch.no_grad()
    def shares(self, x: Tensor, label: str) -> Shares:
        """What each step of an encoded sequence did to the log-odds of a label: integrated gradients."""
        network: Any = self.ready()
        number = self.labels.index(label)
        return integrated_gradients(
            lambda inputs: log_odds(network.read(inputs).float() / self.temperature, number),
            network.embed(x),
            at_once=max(1, min(64, AT_ONCE // max(1, len(x)))),
        )


def collate(items: list[Item], random: torch.Generator) -> Items:
    """Items side by side; at least one step, so that a batch of empty sequences is one too."""
    lengths = torch.tensor([len(item.x) for item in items])
    x = pad_sequence([item.x for item in items], batch_first=True)
    if not x.shape[1]:
        x = items[0].x.new_zeros(len(items), 1, *items[0].x.shape[1:])
    labels, rows = (torch.tensor([getattr(item, name) for item in items]) for name in ("label", "row"))
    return Items(x, lengths, labels, rows)
