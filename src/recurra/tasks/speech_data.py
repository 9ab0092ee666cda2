"""What a recognizer learns from: recordings with transcripts in three parts."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from recurra.data.manifests import Utterance, read_manifest
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.data.spoken_digits import connected, holds_digits, official, read_digits, without
from recurra.errors import ConfigError, DataError
from recurra.tasks.speech_config import SpeechData

__all__ = ["read_parts", "split_by_text"]

PARTS = ("train", "valid", "test")
STRINGS = {"valid": 150, "test": 300}  # of connected digits


def read_parts(data: SpeechData) -> Parts:
    """The three parts that the configuration names, and a note on how they were found.

    Raises DataError where there is nothing.
    """
    if data.train:
        files = [getattr(data, part) for part in PARTS]
        return _parts([read_manifest(path) for path in files], ", ".join(files))
    if not data.path:
        raise ConfigError(
            "data.path: expected a manifest, a folder of sounds, spoken digits, or the name of a data set (recurra "
            "data list); or set data.train, data.valid and data.test"
        )
    path = place_of(data.path)
    if holds_digits(path):
        return _digits(path, data)
    if data.left_out or data.digits != "isolated":
        raise ConfigError(f"data.left_out, data.digits: these are for spoken digits, and {path} holds none")
    if all((path / f"{part}.jsonl").is_file() for part in PARTS):
        three = [read_manifest(path / f"{part}.jsonl") for part in PARTS]
        return _parts(three, f"{path}, as it is split there")
    three = split_by_text(read_manifest(path), data.split)
    return _parts(three, f"{path}, split by transcript")


def _parts(three: Sequence[list[Utterance]], note: str) -> Parts:
    """Training, validation and test; DataError if one of them is empty."""
    for part, utterances in zip(PARTS, three, strict=True):
        if not utterances:
            raise DataError(f"{note}: the {part} part has no recording")
    train, valid, test = three
    return Parts(train, valid, test, (note,))


def _digits(path: Path, data: SpeechData) -> Parts:
    """Spoken digits: by recording, or with a speaker left out; held-out parts as strings if that is asked."""
    digits = read_digits(path)
    parts = without(digits, data.left_out) if data.left_out else official(digits)
    note = f"{path}, " + (f"without {data.left_out}" if data.left_out else "official split")
    if data.digits == "isolated":
        return _parts([parts.train, parts.valid, parts.test], note)
    held_out = [connected(getattr(parts, part), count, seed=0) for part, count in STRINGS.items()]
    return _parts([parts.train, *held_out], f"{note}, in strings of 3 to 7 digits")


def split_by_text(utterances: Sequence[Utterance], shares: Sequence[float]) -> list[list[Utterance]]:
    """Parts of about these shares; all recordings of one text are in the same part, whatever else there is.

    The first 8 hexadecimal digits of a text's SHA-256, as a share of all that there are, say which part it is in.
    """
    parts: list[list[Utterance]] = [[] for _ in shares]
    bounds = list(accumulate(shares))[:-1]
    for utterance in utterances:
        place = int(sha256(utterance.text.encode()).hexdigest()[:8], 16) / 2**32
        parts[sum(place >= bound for bound in bounds)].append(utterance)
    return parts
