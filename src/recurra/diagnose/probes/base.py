"""What every probe gives: batches made from a generator, a score, the score of a guess, and when it is solved."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from recurra.errors import ConfigError

__all__ = ["PARTS", "Batch", "Part", "Probe", "generator", "whole_number"]

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Batch:
    """Sequences and the answers that they ask for.

    inputs    (B, T) numbers of tokens, or (B, T, F) real numbers
    targets   (B, T) numbers of classes, or real numbers; what stands where nothing is asked means nothing
    asked     (B, T) true where an answer is asked, which training learns from
    measured  (B, T) true where an answer counts for the score: all of them, or those that are hard
    """

    inputs: Tensor
    targets: Tensor
    asked: Tensor
    measured: Tensor

    @property
    def wanted(self) -> Tensor:
        """``(N,)`` the answers that training learns from, row by row."""
        return self.targets[self.asked]


def generator(seed: int, part: Part, *more: int) -> torch.Generator:
    """Random numbers of one part of the data; parts, and further numbers such as the length, share nothing."""
    state = numpy.random.SeedSequence([seed, PARTS.index(part), *more]).generate_state(1, numpy.uint64)
    return torch.Generator().manual_seed(int(state[0]))


def whole_number(name: str, value: int, least: int) -> None:
    """Raise ConfigError unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}: expected a whole number of at least {least}, got {value!r}")


class Probe(ABC):
    """A task that asks for one kind of memory, of any length; a frozen dataclass whose fields are its settings.

        score = share of right answers, or mean squared error, over the measured places

    name      how commands and tables call it
    tokens    how many tokens the inputs are made of; 0: the inputs are ``features`` real numbers a step
    classes   how many classes the answers have; 0: an answer is one real number
    chance    the score of the best answer that reads nothing
    solved    the score from which on the probe counts as solved
    rows      how many different sequences there are; 0: no end
    """

    name: str
    features: int = 0
    rows: int = 0

    @property
    @abstractmethod
    def tokens(self) -> int:
        """How many tokens the inputs are made of; 0: real numbers."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many classes the answers have; 0: one real number."""

    @property
    def chance(self) -> float:
        """The score of the best answer that reads nothing."""
        return 1 / self.classes

    @property
    def solved(self) -> float:
        """The score from which on the probe counts as solved."""
        return 0.99

    @property
    def measure(self) -> str:
        """What the score is, in words: accuracy is better when higher, an error when lower."""
        return "accuracy" if self.classes else "mean squared error"

    @abstractmethod
    def shortest(self) -> int:
        """The fewest time steps that these settings fit in."""

    @abstractmethod
    def make(self, size: int, length: int, generator: torch.Generator) -> Batch:
        """``size`` sequences of ``length`` steps; both are checked."""

    def batch(self, size: int, length: int, generator: torch.Generator) -> Batch:
        """``size`` sequences of ``length`` time steps, the same for the same state of ``generator``.

        Raises ConfigError if these settings do not fit into ``length`` steps, saying how many they need.
        """
        whole_number(f"{self.name}: size", size, 1)
        self.check_length(length)
        return self.make(size, length, generator)

    def check_length(self, length: int) -> None:
        """Raise ConfigError if these settings do not fit into ``length`` time steps."""
        whole_number(f"{self.name}: length", length, 1)
        if length < self.shortest():
            raise ConfigError(f"{self.name}: {self} needs at least {self.shortest()} time steps, got {length}")

    def part(self, name: Part) -> Self:
        """This probe over one part of its data. Probes without end differ between parts by their seeds only."""
        return self

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of ``answers (N, outputs)``: cross-entropy in nats, or squared error."""
        if self.classes:
            return functional.cross_entropy(answers, targets)
        return functional.mse_loss(answers.squeeze(1), targets)

    def score(self, answers: Tensor, targets: Tensor) -> float:
        """The measure over ``answers (N, outputs)`` and ``targets (N,)``."""
        if self.classes:
            return float((answers.argmax(1) == targets).double().mean())
        return float((answers.squeeze(1) - targets).double().square().mean())

    def better(self, score: float, other: float) -> bool:
        """Whether ``score`` is better than ``other``."""
        return score > other if self.classes else score < other

    def is_solved(self, score: float) -> bool:
        """Whether a score reaches ``solved``."""
        return score >= self.solved if self.classes else score < self.solved

    @property
    def outputs(self) -> int:
        """How many numbers a network answers with at each step."""
        return self.classes or 1


def asked_at_the_end(size: int, length: int, count: int) -> Tensor:
    """``(B, T)`` true at the last ``count`` steps."""
    asked = torch.zeros(size, length, dtype=torch.bool)
    asked[:, length - count :] = True
    return asked


def second_half(asked: Tensor) -> Tensor:
    """The asked places in the second half of each row: where the first, easy steps are long past."""
    measured = asked.clone()
    measured[:, : asked.shape[1] // 2] = False
    return measured
