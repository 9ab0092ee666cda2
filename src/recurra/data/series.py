"""Readers of labelled sequences of numbers: ``.ts`` files, and folders of CSV files.

    data_TRAIN.ts      header lines with @, then sequences, one a line: 1.0,1.2,1.1:0.3,0.2,0.1:rise
                       channels between colons, their values between commas, the label last (as aeon and sktime)
    train/rise/7.csv   or a CSV file for each sequence, in a folder named by its label: a row is a frame, a column
                       a channel

Sequences may have any lengths and all have the same channels.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.data.splits import PARTS, Parts, fill_parts, find_parts
from recurra.data.text import read_text
from recurra.errors import DataError

__all__ = ["Scale", "Series", "parse_series", "read_series", "read_series_parts"]


class Series(NamedTuple):
    """Frames ``x (T, F)`` with their label, and where they stand."""

    x: Tensor
    label: str
    where: str


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation ``(F,)`` of each channel over all frames of the training part.

    standardised = (x - mean) / deviation
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, sequences: Iterable[Tensor]) -> "Scale":
        """Learn from sequences ``(T, F)``; a channel that never changes is only moved to 0."""
        frames = torch.cat(list(sequences)).double()
        deviation = frames.std(0, correction=0)
        return cls(frames.mean(0).float(), torch.where(deviation > 0, deviation, 1.0).float())

    def __call__(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.deviation


def read_series(path: str | Path) -> tuple[list[Series], str]:
    """The sequences of a ``.ts`` file or of a folder with a folder of CSV files for each label; and what they are.

    Raises DataError with file and line if something is not as it should be.
    """
    path = Path(path)
    found = _folders(path) if path.is_dir() else _ts(path)
    first = found[0]
    for series in found:
        if series.x.shape[1] != first.x.shape[1]:
            raise DataError(
                f"{series.where}: expected {first.x.shape[1]} channels as in {first.where}, got {series.x.shape[1]}"
            )
    lengths = [len(series.x) for series in found]
    steps = f"{min(lengths)} to {max(lengths)}" if min(lengths) < max(lengths) else f"{min(lengths)}"
    return found, f"{path}: {len(found)} sequences of {steps} frames with {first.x.shape[1]} channels"


def read_series_parts(path: str | Path, valid: str, test: str, shares: Sequence[float], seed: int) -> Parts:
    """Training, validation and test sequences.

    path         a folder with ``train`` and perhaps ``valid`` and ``test``, files or folders; or the training ones
    valid, test  others for these parts; "": those of the folder. What is missing is cut from the training ones
    """
    path = Path(path)
    if (path / "train").is_dir():
        places = {part: path / part for part in PARTS if (path / part).is_dir()}
    elif path.is_dir() and list(path.glob("*.ts")):
        places = find_parts(path, (".ts",))
    else:
        places = {"train": path}
    places |= {part: Path(given) for part, given in (("valid", valid), ("test", test)) if given}
    readings = {part: read_series(place) for part, place in places.items()}
    examples = {part: found for part, (found, _) in readings.items()}
    if len({series.label for series in examples["train"]}) < 2:
        raise DataError(f"{places['train']}: every sequence has the same label; expected at least two labels")
    parts = fill_parts(
        examples, shares, seed, lambda row: row.label, lambda row: (row.x.shape, row.x.numpy().tobytes())
    )
    notes = (*(note for _, note in readings.values()), *parts.notes)
    return Parts(parts.train, parts.valid, parts.test, notes)


def parse_series(text: str, where: str = "series") -> Tensor:
    """Frames ``(T, F)`` from ``1.0,1.2,1.1:0.3,0.2,0.1``: channels between colons. Raises DataError."""
    channels = [_numbers(channel, where) for channel in text.strip().split(":")]
    lengths = sorted({len(channel) for channel in channels})
    if len(lengths) > 1:
        raise DataError(f"{where}: expected channels of one length, got {lengths[0]} to {lengths[-1]} values")
    return torch.tensor(channels).T.contiguous()


def _numbers(text: str, where: str, what: str = "numbers between commas") -> list[float]:
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError as error:
        missing = "; a missing value (?) has to be filled first" if "?" in text else ""
        raise DataError(f"{where}: expected {what}, got {text[:40]!r}{missing}") from error
    if not all(map(math.isfinite, values)):
        raise DataError(f"{where}: expected finite numbers, got {text[:40]!r}; fill missing values first")
    return values


def _ts(path: Path) -> list[Series]:
    lines = enumerate(read_text(path).split("\n"), 1)
    for number, line in lines:
        word, _, value = line.strip().lower().partition(" ")
        where = f"{path}, line {number}"
        if word == "@data":
            break
        if word == "@timestamps" and value == "true":
            raise DataError(f"{where}: time stamps cannot be read; expected values at equal distances")
        if word == "@targetlabel" or (word == "@classlabel" and not value.startswith("true")):
            raise DataError(f"{where}: expected @classLabel true and the labels; there are none to learn")
        if word and word[0] not in "@#":
            raise DataError(f"{where}: expected a line with @ before @data, got {line[:40]!r}; is it a .ts file?")
    found = [_ts_row(line.strip(), f"{path}, line {number}") for number, line in lines if line.strip()]
    if not found:
        raise DataError(f"{path}: no sequences after @data; expected one a line")
    return found


def _ts_row(line: str, where: str) -> Series:
    values, colon, label = line.rpartition(":")
    if not colon or not label.strip():
        raise DataError(f"{where}: expected channels and a label between colons, got {line[:40]!r}")
    return Series(parse_series(values, where), label.strip(), where)


def _folders(path: Path) -> list[Series]:
    found = [
        _csv(file) for folder in sorted(path.iterdir()) if folder.is_dir() for file in sorted(folder.glob("*.csv"))
    ]
    if not found:
        raise DataError(f"{path}: expected .ts files, or a folder for each label with a CSV file for each sequence")
    return found


def _csv(path: Path) -> Series:
    lines = read_text(path).rstrip("\n").split("\n")
    frames = []
    for number, line in enumerate(lines, 1):
        if number == 1 and not any(character.isdigit() for character in line):
            continue  # the names of the channels
        where = f"{path}, line {number}"
        frames.append(_numbers(line, where, "a frame: numbers between commas"))
        if len(frames[-1]) != len(frames[0]):
            raise DataError(f"{where}: expected {len(frames[0])} columns as above, got {len(frames[-1])}")
    if not frames:
        raise DataError(f"{path}: a header and no frames")
    return Series(torch.tensor(frames), path.parent.name, str(path))
