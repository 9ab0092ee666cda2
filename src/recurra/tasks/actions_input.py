"""What a recognizer of actions reads: films, or the joints of bodies. Both show the same face to the task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.data.splits import Parts

__all__ = ["Input", "Window", "cut"]


class Window(NamedTuple):
    """Some frames of an example.

    begin, end  numbers of its frames
    label       the number of its label; -1: none
    row         the place of the example among all of its part
    """

    example: Any
    begin: int
    end: int
    label: int
    row: int


def cut(count: int, window: int, step: int) -> list[tuple[int, int]]:
    """Where windows over ``count`` frames begin and end; each frame is in one at least.

    They begin at 0, step, 2 step, ... up to the first that reaches the end, which may be shorter; so what comes
    later moves none of them. A window of 0 frames is the whole.
    """
    if not window or count <= window:
        return [(0, count)]
    last = -(-(count - window) // step)  # windows after the first that are needed to reach the end
    return [(number * step, min(count, number * step + window)) for number in range(last + 1)]


class Input(ABC):
    """Examples with ``label`` and ``where``, and frames as the network reads them."""

    @abstractmethod
    def parts(self) -> Parts:
        """The examples of the data that the configuration names."""

    @abstractmethod
    def rows_of(self, source: str) -> tuple[list[Any], str]:
        """The examples of another file, and a note that says how it was read."""

    @abstractmethod
    def learn(self, examples: list[Any]) -> None:
        """Learn from the training examples what is needed to read others."""

    @abstractmethod
    def count(self, example: Any) -> int:
        """How many frames an example has."""

    @abstractmethod
    def read(self, window: Window) -> Tensor:
        """The frames of a window, ``(T, ...)``."""

    @abstractmethod
    def disturbed(self, window: Window, random: torch.Generator) -> Tensor:
        """The same as it could have been, for training."""

    @abstractmethod
    def frames(self, raw: Any, where: str) -> Iterator[Tensor]:
        """The frames of what `predict` was given, one by one."""

    @abstractmethod
    def shown(self, raw: Any) -> Tensor:
        """What people see of it: frames ``(T, C, M, N)`` uint8, or joints ``(T, J, D)``."""

    @abstractmethod
    def initial(self) -> Any:
        """What is known before the first frame of a stream. Raises NotCausalError if frames need later ones."""

    @abstractmethod
    def push(self, raw: Any, state: Any) -> tuple[Tensor, Any]:
        """The next frames of a stream ``(t, ...)``, one or more, as the network reads them, and the state."""

    @abstractmethod
    def some(self, steps: int) -> Tensor:
        """Any sequence of so many frames."""

    @abstractmethod
    def learned(self) -> dict[str, Any]:
        """What was learned, as plain values."""

    @abstractmethod
    def relearn(self, values: dict[str, Any]) -> None:
        """The inverse of `learned`. Raises RunError for what this input did not learn."""
