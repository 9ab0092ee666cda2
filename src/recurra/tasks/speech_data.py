"""What a recognizer learns from: recordings with transcripts in three parts, and which of them cannot be used."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch

from recurra.config import suggest
from recurra.data.manifests import Utterance, read_manifest
from recurra.data.sources import SOURCES, get
from recurra.errors import ConfigError, DataError
from recurra.tasks.speech_config import SpeechData

__all__ = ["SpeechParts", "read_parts", "split_by_text"]

PARTS = ("train", "valid", "test")


class SpeechParts(NamedTuple):
    """Utterances for training, validation and test, and a note that says how they were found."""

    train: list[Utterance]
    valid: list[Utterance]
    test: list[Utterance]
    note: str


def read_parts(data: SpeechData) -> SpeechParts:
    """The three parts that the configuration names. Raises DataError where there is nothing."""
    if data.train:
        files = [getattr(data, part) for part in PARTS]
        return _whole(SpeechParts(*(read_manifest(path) for path in files), f"parts: {', '.join(files)}"))
    if not data.path:
        raise ConfigError(
            "data.path: expected a manifest, a folder of sounds, spoken digits, or the name of a data set (recurra "
            "data list); or set data.train, data.valid and data.test"
        )
    path = _place(data.path)
    if False:
        return _whole(_digits(path, data))
    if all((path / f"{part}.jsonl").is_file() for part in PARTS):
        return _whole(SpeechParts(*(read_manifest(path / f"{part}.jsonl") for part in PARTS), f"parts of {path}"))
    return _whole(_split(path, data))


def _place(name: str) -> Path:
    if Path(name).exists():
        return Path(name)
    if name in SOURCES:
        return get(name)
    raise DataError(f"data.path: no file, folder or data set {name!r}{suggest(name, list(SOURCES))}")


def _whole(parts: SpeechParts) -> SpeechParts:
    for part in PARTS:
        if not getattr(parts, part):
            raise DataError(f"{parts.note}: the {part} part has no recording")
    return parts


def _split(path: Path, data: SpeechData) -> SpeechParts:
    """One manifest or folder, cut into parts by transcript."""
    found = split_by_text(read_manifest(path), data.split)
    return SpeechParts(*found, f"{path}, split by transcript")


def split_by_text(utterances: Sequence[Utterance], shares: Sequence[float]) -> tuple[list[Utterance], ...]:
    """Parts of about these shares; all recordings of one text are in the same part, whatever else there is.

    A text's place is the first 8 hexadecimal digits of its SHA-256, as a share of all.
    """
    parts: tuple[list[Utterance], ...] = tuple([] for _ in shares)
    for utterance in utterances:
        place = int(sha256(utterance.text.encode()).hexdigest()[:8], 16) / 2**32
        bounds = torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1].tolist()
        parts[sum(place >= bound for bound in bounds)].append(utterance)
    return parts
