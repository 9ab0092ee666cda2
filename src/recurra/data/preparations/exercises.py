"""Exercises of the shoulder, felt by a smart watch (Burns et al. 2018), as series with labels.

The package holds a pickle, which could run any program when it is loaded. It is not loaded: its instructions are
listed, none is followed, and the plain bytes of the arrays are picked out of the list.

Of 20 people, those whose number leaves 0 divided by 5 are for the test, those that leave 1 for validation.
"""

import pickletools
from collections.abc import Iterator
from pathlib import Path

import numpy

from recurra.data.splits import PARTS
from recurra.errors import DataError

__all__ = ["prepare"]

LABELS = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")  # pendulum, abduction, elevation, rotations, row ...
CHANNELS = 6  # acceleration and turning, each in x, y and z
ARRAYS = ("X", "y", "subject")
LONGEST_NAME = 64  # letters; longer strings of the list are the bytes of arrays
RECORDINGS, HEADER = 140, 10


def prepare(folder: Path, target: Path) -> None:
    """Write ``train.ts``, ``valid.ts`` and ``test.ts``."""
    (path,) = folder.rglob("watch_dataset.npy")
    data = path.read_bytes()
    found: dict[str, list[bytes]] = {name: [] for name in ARRAYS}
    for name, content in _arrays(data[data.index(b"\n", HEADER) + 1 :]):
        found.setdefault(name, []).append(content)
    recordings = [numpy.frombuffer(content, "<f8").reshape(CHANNELS, -1) for content in found["X"]]
    labels, people = (numpy.frombuffer(b"".join(found[name]), "<i8").tolist() for name in ("y", "subject"))
    if not len(recordings) == len(labels) == len(people) == RECORDINGS or set(labels) != set(range(len(LABELS))):
        raise DataError(f"{path.name}: expected {RECORDINGS} recordings of {len(LABELS)} exercises")
    parts = {0: "test", 1: "valid"}
    lines: dict[str, list[str]] = {part: [] for part in PARTS}
    for recording, label, person in zip(recordings, labels, people, strict=True):
        lines[parts.get(person % 5, "train")].append(_line(recording, LABELS[label]))
    for part, rows in lines.items():
        head = f"@problemName exercises\n@univariate false\n@classLabel true {' '.join(LABELS)}\n@data\n"
        (target / f"{part}.ts").write_text(head + "".join(rows), "utf-8")


def _arrays(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The name that stands before each array, and its bytes, which the pickle holds as Latin-1 letters."""
    name = ""
    for instruction, value, _ in pickletools.genops(data):
        if instruction.name == "BINUNICODE" and isinstance(value, str):
            if len(value) > LONGEST_NAME:
                yield name, value.encode("latin-1")
            elif value in (*ARRAYS, "side", "X_labels", "y_labels"):
                name = value


def _line(recording: numpy.ndarray, label: str) -> str:
    channels = [",".join(f"{value:.4f}" for value in channel) for channel in recording.tolist()]
    return ":".join([*channels, label]) + "\n"
