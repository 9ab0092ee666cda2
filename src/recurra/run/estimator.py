"""The face that every task shows: fit, evaluate, save, load, as scikit-learn's estimators do."""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from recurra import config as configs
from recurra import files
from recurra.errors import ConfigError, RunError
from recurra.run import checkpoint
from recurra.run.fit import Fit, Position, Trainer
from recurra.run.folder import RunFolder
from recurra.run.protocol import Batches, Data, Trainable

__all__ = ["Estimator"]


class Estimator(Trainable, ABC):
    """A task with its configuration, and after `fit` or `load` with a trained network.

    A task sets ``name`` and ``Config`` (a frozen dataclass), and writes its abstract methods. It may answer many
    inputs at once (`predict_many`), read them from a file (`questions`), begin with pretrained weights and train
    parts at their own pace (`begin`, `parts`, `pace`), learn something after the training (`finish`), and draw
    (`draw_measured`, `draw_answer`).
    """

    name: ClassVar[str]
    source: ClassVar[str] = "data.text"  # the key of the configuration that names the data
    Config: ClassVar[type]

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config
        self.trained: nn.Module | None = None
        self.quiet = False

    def say(self, *notes: str) -> None:
        """Tell people on standard error what was decided on the way; nothing after ``fit(quiet=True)``."""
        for note in () if self.quiet else notes:
            print(f"recurra: {note}", file=sys.stderr)

    @abstractmethod
    def data(self) -> Data:
        """Read the data that the configuration names, and learn the vocabulary from its training part."""

    @abstractmethod
    def network(self) -> nn.Module:
        """A new network, after `data` or `relearn`."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the losses, what it counts, and the carry for the next batch."""

    @abstractmethod
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Named numbers, the watched one first; lower is better, or higher with ``maximize``."""

    @abstractmethod
    def read(self, source: str) -> Batches:
        """Labelled data from another file, to measure on."""

    @abstractmethod
    def explain(self) -> str:
        """Which kernel runs for this network, and why others do not."""

    @abstractmethod
    def predict(self, raw: Any) -> Any:
        """The answer for one raw input."""

    @abstractmethod
    def stream(self, raw: Any) -> Any:
        """An object that takes and gives items as they come, or NotCausalError."""

    @abstractmethod
    def learned(self) -> dict[str, Any]:
        """What was learned besides weights, such as a vocabulary, as plain values."""

    @abstractmethod
    def relearn(self, values: dict[str, Any]) -> None:
        """The inverse of `learned`."""

    def predict_many(self, raws: Sequence[Any]) -> list[Any]:
        """The answers to many raw inputs, in their order."""
        return [self.predict(raw) for raw in raws]

    def questions(self, source: str) -> list[Any]:
        """The raw inputs that a file holds, for a task whose input is more than a line."""
        raise ConfigError(f"{self.name} answers lines of standard input; give them with < {source}, without --data")

    def heading(self) -> str:
        """A line above all answers, such as the names of their columns; "" for none."""
        return ""

    def shown(self, answer: Any) -> Any:
        """What is printed of an answer: a text, or plain values; "shown" of a dict is all of it."""
        return answer

    def lines(self, measured: dict[str, float]) -> list[str]:
        """Measured numbers for people, a line each; a task may show them as a table."""
        told = self.signatures()
        return [f"{name:<20} {value:.4f}  {told.get(name, '')}".rstrip() for name, value in measured.items()]

    def signatures(self) -> dict[str, str]:
        """How a measured number is computed, by its name, where a name alone does not say it."""
        return {}

    def finish(self, data: Data) -> None:
        """Learn what follows the training, of the best network and the validation part, such as a calibration."""

    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """Pictures of how the trained network does on labelled data, written into a folder."""
        raise ConfigError(f"{self.name} has no pictures of a measurement")

    def draw_answer(self, raw: Any, folder: Path, name: str) -> list[Path]:
        """Pictures of the answer to one raw input, written into a folder as ``name`` with endings."""
        raise ConfigError(f"{self.name} has no pictures of an answer")

    def fit(
        self,
        out: str | Path,
        fit: Fit | None = None,
        resume: bool = False,
        overwrite: bool = False,
        quiet: bool = False,
    ) -> Position:
        """Train into the run folder ``out`` and keep the best network; stop with Ctrl-C, go on with ``resume``.

        ``quiet`` shows no progress and no notes on the data.
        Raises RunError if the folder is in use, DataError if the data cannot be, TrainingError if the loss is not
        finite. Returns where training stands; ``finished`` is false after Ctrl-C.
        """
        folder, fit = RunFolder(out), fit or Fit()
        self.quiet = quiet or int(os.environ.get("RANK", "0")) > 0
        folder.require() if resume else folder.check_free(overwrite)
        trainer = Trainer(self, folder, fit, quiet)
        data = self.data()
        if trainer.main:
            if not resume:
                folder.create(overwrite)
            self._describe(folder, fit)
        trainer.accelerator.wait_for_everyone()
        position = trainer.run(data, resume)
        trainer.accelerator.wait_for_everyone()
        if folder.weights.exists():
            self._load_weights(folder)
        if position.finished and self.trained is not None:
            self.finish(data)
            if trainer.main:
                files.write_json(folder.vocabulary, self.learned())
        return position

    def _describe(self, folder: RunFolder, fit: Fit) -> None:
        """Write what is known before training: the recipe, the versions, the vocabulary."""
        recipe = f'# How this run was made.\n\n# the task\ntask = "{self.name}"\n'
        how = "\n# how to train\n" + configs.to_toml(fit, "fit").lstrip("\n")
        files.write_text(folder.recipe, recipe + configs.to_toml(self.config) + how)
        versions = {name: version(name) for name in ("recurra", "torch")}
        files.write_json(folder.config, {"task": self.name, "versions": versions, **configs.to_dict(self.config)})
        files.write_json(folder.vocabulary, self.learned())

    def ready(self) -> nn.Module:
        """The trained network in evaluation mode. Raises RunError before `fit` or `load`."""
        if self.trained is None:
            raise RunError(f"{type(self).__name__} is not trained yet; call fit(...) or load(folder)")
        return self.trained.eval()

    @torch.no_grad()
    def evaluate(self, part: str = "test", source: str | None = None) -> dict[str, float]:
        """Measure the trained network on a held-out ``part`` of its data ("valid" or "test"), or on ``source``."""
        return self.measure(self.ready(), self.held_out(part, source))

    def held_out(self, part: str = "test", source: str | None = None) -> Batches:
        """The "valid" or "test" part of the task's data, or the labelled data of ``source``."""
        if source is not None:
            return self.read(source)
        if part not in ("valid", "test"):
            raise ConfigError(f"evaluate: expected part to be 'valid' or 'test', got {part!r}")
        return getattr(self.data(), part)

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the trained network as a folder that `load` reads."""
        network, folder = self.ready(), RunFolder(path)
        folder.create(overwrite)
        self._describe(folder, Fit())
        files.write_tensors(folder.weights, network.state_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a run folder. Raises RunError if something in it is missing, cut off or another task's."""
        return cls(cls.configured(path)).restored(path)

    @classmethod
    def configured(cls, path: str | Path) -> Any:
        """The configuration of a run. Raises RunError if it is none, or another task's."""
        folder = RunFolder(path)
        folder.require()
        values = files.read_table(folder.config)
        if values.pop("task", None) != cls.name:
            raise RunError(f"{path} was not trained by {cls.__name__}; its task stands in {folder.config}")
        values.pop("versions", None)
        return configs.from_dict(cls.Config, values)

    def restored(self, path: str | Path) -> Self:
        """This task with what a run of the same configuration learned."""
        folder = RunFolder(path)
        self.relearn(files.read_table(folder.vocabulary))
        self._load_weights(folder)
        return self

    def _load_weights(self, folder: RunFolder) -> None:
        network = self.network()
        if not folder.weights.exists():
            raise RunError(f"{folder.weights} is missing: training stopped before its first validation")
        checkpoint.load_weights(network, files.read_tensors(folder.weights), folder.weights)
        self.trained = network.eval()
