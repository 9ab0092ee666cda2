"""Where the joints of a body are, frame by frame: files of them, and what a network reads of them.

    joints.npz    joints (sum of T, J, D), lengths (n,), labels (n,): all sequences after each other
    joints.jsonl  {"joints": [[[x, y], ...], ...], "label": "walk"}: a sequence a line, frames of joints of numbers

D is 2 or 3. A point that was not seen is NaN, or null in JSON.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from recurra.data.arrays import read_arrays, write_arrays
from recurra.data.splits import Parts, fill_parts, find_parts
from recurra.data.text import read_text
from recurra.errors import DataError

__all__ = ["Joints", "parse_joints", "read_joint_parts", "read_joints", "write_joints"]

NAMES = ("joints", "lengths", "labels")
SUFFIXES = (".npz", ".jsonl")


class Joints(NamedTuple):
    """A sequence with its label, and where it stands.

    x  (T, J, D) float32: T frames of J joints in D = 2 or 3 directions, in any unit; NaN: not seen
    """

    x: Tensor
    label: str
    where: str


def read_joints(path: str | Path) -> list[Joints]:
    """The sequences of a file, in order.

    Raises DataError, with the place, for what is missing or has another form, an empty sequence, another number of
    joints than before, an infinite number, and a sequence in which nothing was ever seen.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: expected a file of joints with one of {', '.join(SUFFIXES)}")
    found = _arrays(path) if path.suffix.lower() == ".npz" else _lines(path)
    for sequence in found:
        _check(sequence, found[0])
    return found


def _check(sequence: Joints, first: Joints) -> None:
    x, where = sequence.x, sequence.where
    if x.dim() != 3 or x.shape[2] not in (2, 3) or not len(x):
        raise DataError(f"{where}: expected joints (T, J, 2 or 3) with a frame at least, got {tuple(x.shape)}")
    if x.shape[1:] != first.x.shape[1:]:
        there, here = ("x".join(map(str, s.x.shape[1:])) for s in (first, sequence))
        raise DataError(f"{where}: expected {there} numbers a frame as in {first.where}, got {here}")
    if x.isinf().any():
        raise DataError(f"{where}: joints hold infinite numbers; a point that was not seen is NaN")
    if x.isnan().any(2).all():
        raise DataError(f"{where}: no joint is seen in any frame")
    if not sequence.label:
        raise DataError(f"{where}: expected a label, got an empty one")


def _arrays(path: Path) -> list[Joints]:
    joints, lengths, labels = read_arrays(path, NAMES).values()
    if joints.dtype.kind not in "fiu" or lengths.dtype.kind not in "iu":
        raise DataError(f"{path}: expected numbers, got joints {joints.dtype} and lengths {lengths.dtype}")
    if len(lengths) != len(labels) or lengths.sum() != len(joints) or not len(lengths) or lengths.min() < 1:
        raise DataError(
            f"{path}: expected lengths >= 1 that add up to {len(joints)} frames and a label for each, got "
            f"{len(lengths)} lengths of {lengths.sum()} frames and {len(labels)} labels"
        )
    pieces = torch.from_numpy(joints.astype("float32")).split(lengths.tolist())
    names = [str(label) for label in labels.tolist()]
    return [
        Joints(x, name, f"{path}, sequence {i}") for i, (x, name) in enumerate(zip(pieces, names, strict=True), 1)
    ]


def _lines(path: Path) -> list[Joints]:
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    return [_row(line, f"{path}, line {number}") for number, line in lines]


def _row(line: str, where: str) -> Joints:
    row = _object(line, where)
    if "label" not in row:
        raise DataError(f"{where}: expected a JSON object with joints and label, got {line[:60]!r}")
    return Joints(_points(row["joints"], where), str(row["label"]), where)


def parse_joints(line: str, where: str) -> Tensor:
    """The joints ``(T, J, D)`` of a line of JSON; a label is not read. Raises DataError, ``where`` it stands."""
    x = _points(_object(line, where)["joints"], where)
    sequence = Joints(x, "?", where)
    _check(sequence, sequence)
    return x


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("joints"), list):
        raise DataError(f"{where}: expected a JSON object with joints and label, got {line[:60]!r}")
    return row


def _points(joints: Any, where: str) -> Tensor:
    try:
        return torch.tensor(_seen(joints), dtype=torch.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: expected frames of joints of 2 or 3 numbers or null each ({error})") from error


def _seen(value: Any) -> Any:
    """The same lists with NaN for null."""
    if isinstance(value, list):
        return [_seen(inner) for inner in value]
    return math.nan if value is None else value


def write_joints(path: str | Path, sequences: Sequence[Joints]) -> None:
    """Write an .npz file that `read_joints` reads, where nothing is pickled."""
    arrays = {
        "joints": torch.cat([sequence.x for sequence in sequences]).numpy(),
        "lengths": numpy.array([len(sequence.x) for sequence in sequences], dtype="int32"),
        "labels": numpy.array([sequence.label for sequence in sequences]),
    }
    write_arrays(path, arrays)


def read_joint_parts(path: str | Path, valid: str, test: str, shares: Sequence[float], seed: int) -> Parts:
    """Training, validation and test sequences.

    path         a folder with files such as ``train.npz`` and perhaps ``valid`` and ``test``; or the training file
    valid, test  files for these parts; "": those of the folder. What is missing is cut from the training sequences

    Raises DataError as `read_joints` does, for parts that do not fit together, and for a label never learned.
    """
    path = Path(path)
    places = find_parts(path, SUFFIXES) if path.is_dir() else {"train": path}
    places |= {part: Path(given) for part, given in (("valid", valid), ("test", test)) if given}
    found = {part: read_joints(place) for part, place in places.items()}
    labels = {sequence.label for sequence in found["train"]}
    if len(labels) < 2:
        raise DataError(f"{places['train']}: every sequence has the label {min(labels)!r}; expected at least two")
    for sequence in [sequence for sequences in found.values() for sequence in sequences]:
        _check(sequence, found["train"][0])
        if sequence.label not in labels:
            raise DataError(f"{sequence.where}: no sequence to learn from has the label {sequence.label!r}")
    parts = fill_parts(
        found, shares, seed, lambda row: row.label, lambda row: (row.x.shape, row.x.numpy().tobytes())
    )
    notes = [_note(places[part], sequences) for part, sequences in found.items()]
    return Parts(parts.train, parts.valid, parts.test, (*notes, *parts.notes))


def _note(place: Path, sequences: list[Joints]) -> str:
    lengths = [len(sequence.x) for sequence in sequences]
    _, joints, directions = sequences[0].x.shape
    lost = sum(int(sequence.x.isnan().any(2).sum()) for sequence in sequences)
    said = (
        f"; {lost} of {sum(lengths) * joints} points were not seen and are held where they were last"
        if lost
        else ""
    )
    return (
        f"{place}: {len(sequences)} sequences of {min(lengths)} to {max(lengths)} frames with {joints} joints in "
        f"{directions} directions{said}"
    )
