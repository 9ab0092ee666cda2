"""Pretrained word vectors in text: GloVe (Pennington et al. 2014) and word2vec (Mikolov et al. 2013).

    the 0.418 0.24968 -0.41242 ...        a word and its numbers, parted by spaces or tabs
    New York 0.1 -0.2 0.3 ...             the word may have spaces: the numbers are the last columns

word2vec has a first line of two whole numbers, words and dimensions; GloVe has none.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recurra.errors import DataError

__all__ = ["WordVectors", "read_vectors"]


@dataclass(frozen=True)
class WordVectors:
    """Vectors of some words.

    words   as they were asked for, or as they stand in the file
    values  (words, size)
    share   of the words that were asked for, which have a vector
    """

    words: tuple[str, ...]
    values: Tensor
    share: float


def read_vectors(path: str | Path, needed: Iterable[str], size: int = 0, keep: int = 0) -> WordVectors:
    """The vectors of the ``needed`` words, and of the first ``keep`` words of the file, its most frequent ones.

    Of other words nothing is kept, so the file may be larger than memory.

    A word that the file lacks takes the vector of the first word that differs from it in case only: ``paris`` that
    of ``Paris``. Of a word that stands twice the first counts. ``size``: the expected dimensions, 0 for any.

    Raises DataError with the line number for a line with another dimension or with what is no number, and if none
    of the words has a vector.
    """
    table = _Table(path, needed, size, keep)
    for number, line in _lines(path):
        table.take(number, line)
    return table.vectors()


class _Table:
    """What was found so far: of the word itself, or of one that differs in case."""

    def __init__(self, path: str | Path, needed: Iterable[str], size: int, keep: int) -> None:
        self.path, self.wanted, self.size, self.keep = path, set(needed), size, keep
        self.exact: dict[str, list[float]] = {}
        self.similar: dict[str, list[float]] = {}
        self.lowered: dict[str, list[str]] = {}
        for word in sorted(self.wanted):
            self.lowered.setdefault(word.lower(), []).append(word)

    def take(self, number: int, line: str) -> None:
        """Read one line of the file."""
        cells = [cell for cell in re.split("[ \t]", line) if cell]
        if number == 1 and len(cells) == 2 and all(cell.isdigit() for cell in cells):
            self._agree(int(cells[1]), number)
            return
        if number <= 2 and not self.size:
            self.size = _trailing_numbers(cells)
        extra = len(cells) - 1 - self.size
        if self.size < 1 or extra < 0 or (extra > 0 and _is_number(cells[-self.size - 1])):
            raise DataError(
                f"{self.path}, line {number}: expected a word and {self.size or 'some'} numbers, got "
                f"{_trailing_numbers(cells)} numbers: {line[:40]!r}"
            )
        word = " ".join(cells[: -self.size])
        if word not in self.exact and (word in self.wanted or len(self.exact) < self.keep):
            self.exact[word] = self._numbers(number, cells)
        for other in self.lowered.get(word.lower(), ()):
            if other != word and other not in self.similar:
                self.similar[other] = self._numbers(number, cells)

    def _agree(self, size: int, number: int) -> None:
        if self.size not in (0, size):
            raise DataError(f"{self.path}, line {number}: expected {self.size} dimensions, the file says {size}")
        self.size = size

    def _numbers(self, number: int, cells: list[str]) -> list[float]:
        wrong = [cell for cell in cells[-self.size :] if not _is_number(cell)]
        if wrong:
            raise DataError(f"{self.path}, line {number}: expected {self.size} finite numbers, got {wrong[0]!r}")
        return [float(cell) for cell in cells[-self.size :]]

    def vectors(self) -> WordVectors:
        """All that was found."""
        found = {**self.similar, **self.exact}
        if not self.wanted & found.keys():
            raise DataError(
                f"{self.path}: none of the {len(self.wanted)} words of the data has a vector; is it another "
                "language?"
            )
        words = tuple(sorted(found))
        share = len(self.wanted & found.keys()) / max(1, len(self.wanted))
        return WordVectors(words, torch.tensor([found[word] for word in words]), share)


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty, one at a time."""
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except OSError as error:
        raise DataError(f"cannot read the word vectors {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not UTF-8; expected word vectors in text, by GloVe or word2vec, not binary"
        ) from error


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _trailing_numbers(cells: list[str]) -> int:
    """How many cells at the end are numbers, without the first one, which is a word."""
    count = 0
    while count < len(cells) - 1 and _is_number(cells[-1 - count]):
        count += 1
    return count
