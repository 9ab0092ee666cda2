"""Training, validation and test part of labelled rows: three files, a folder of them, or one that is split."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recurra.errors import DataError

__all__ = ["PARTS", "Parts", "fill_parts", "find_parts", "stratified"]

PARTS = ("train", "valid", "test")
NAMES = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "test": "test"}


@dataclass(frozen=True)
class Parts:
    """The rows of the three parts, and notes: what was decided on the way, for people to read."""

    train: list[Any]
    valid: list[Any]
    test: list[Any]
    notes: tuple[str, ...] = ()


def find_parts(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by part: ``train.csv``, ``sst2.dev.txt``, ``Vowels_TEST.ts``; a part may be missing.

    Raises DataError if there is none for training, or two for one part.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(rf"(?:.*[._-])?({'|'.join(NAMES)})", path.stem.lower())
        if not match or path.suffix.lower() not in suffixes:
            continue
        part = NAMES[match[1]]
        if part in found:
            raise DataError(
                f"{folder}: two files for the part {part!r}, {found[part].name} and {path.name}; "
                "name the files one by one with data.path, data.valid and data.test"
            )
        found[part] = path
    if "train" not in found:
        endings = ", ".join(suffixes)
        raise DataError(f"{folder}: expected a file such as train{suffixes[0]}, one of {endings}; there is none")
    return found


def fill_parts(
    given: dict[str, list[Any]],
    shares: Sequence[float],
    seed: int,
    label: Callable[[Any], str],
    same: Callable[[Any], Hashable],
) -> Parts:
    """All three parts: those that are ``given``, and the others cut from the training rows by their shares.

    label  of a row; each part gets its share of every label
    same   rows for which this is equal stay together, so that no row of a held-out part was seen in training
    """
    missing = [part for part in PARTS if part not in given]
    if not missing:
        return Parts(given["train"], given["valid"], given["test"])
    rows = given["train"]
    first: dict[Hashable, Any] = {}
    for row in rows:
        first.setdefault(same(row), row)
    wanted = [shares[PARTS.index(part)] for part in missing]
    names = [label(row) for row in first.values()]
    where = dict(zip(first, stratified(names, wanted, seed), strict=True))
    cut: dict[str, list[Any]] = {part: [] for part in ("train", *missing)}
    for row in rows:
        cut[("train", *missing)[where[same(row)]]].append(row)
    notes = [f"{' and '.join(missing)} cut from the training rows, label by label, with seed {seed}"]
    if len(first) < len(rows):
        notes.append(f"{len(rows) - len(first)} rows that repeat another one are in the same part as that one")
    for name, count in Counter(names).items():
        if count == 1:
            notes.append(
                f"warning: the label {name!r} has one example, which goes to training; nothing measures it"
            )
    for part in missing:
        if not cut[part]:
            raise DataError(
                f"{len(rows)} rows are too few to cut the part {part!r} from them; give more, or a file"
            )
    whole = given | cut
    return Parts(whole["train"], whole["valid"], whole["test"], tuple(notes))


def stratified(labels: Sequence[str], shares: Sequence[float], seed: int) -> list[int]:
    """For each row 0 if it stays, or the number (from 1) of the part that takes it.

    Rows lie in the order of their labels, shuffled within each; a part takes them at equal distances, so it has its
    share of each label up to one row. One row of each label stays in any case.
    """
    random = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    order = sorted(range(len(labels)), key=lambda i: (labels[i], random[i]))
    chosen = [0] * len(labels)
    rest = [i for place, i in enumerate(order) if place and labels[order[place - 1]] == labels[i]]
    for number, share in enumerate(shares, 1):
        count = min(round(share * len(labels)), len(rest))
        for place in range(count):
            chosen[rest[int((place + 0.5) * len(rest) / count)]] = number
        rest = [i for i in rest if not chosen[i]]
    return chosen
