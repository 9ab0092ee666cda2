"""The column files that a tagger learns from: a folder, one file, three files, or a data set by name."""

from itertools import product
from pathlib import Path

from recurra.data.conll import Columns, Sentence, read_conll
from recurra.data.sources import place_of
from recurra.errors import ConfigError, DataError
from recurra.tasks.tag_config import TagData

__all__ = ["columns_of", "read_parts"]

ENDINGS = ("conll", "tsv", "bio", "txt")
NAMES = {"train": ("train",), "valid": ("valid", "dev", "validation"), "test": ("test",)}  # of files in a folder


def columns_of(data: TagData) -> Columns:
    """How the configuration wants column files to be read."""
    return Columns(data.word, data.tag, data.illegal == "repair", data.comments)


def read_parts(data: TagData) -> list[list[Sentence]]:
    """The sentences for training, validation and test.

    With ``data.held_out = "tenth"`` each tenth sentence of the first two parts is for validation, the others for
    training: more to learn from, where the validation part brings what the training part lacks.
    """
    parts = _given_parts(data)
    if data.held_out == "valid":
        return parts
    both = parts[0] + parts[1]
    if len(both) < 10:
        raise DataError(f"data.held_out: expected ten sentences for training and validation, got {len(both)}")
    return [[sentence for i, sentence in enumerate(both) if i % 10 != 9], both[9::10], parts[2]]


def _given_parts(data: TagData) -> list[list[Sentence]]:
    columns = columns_of(data)
    if data.train:
        return [read_conll(path, columns) for path in (data.train, data.valid, data.test)]
    if not data.path:
        raise ConfigError(
            "data.path: expected a folder of column files, a file, or the name of a data set (recurra data list); "
            "or set data.train, data.valid and data.test"
        )
    path = place_of(data.path)
    if path.is_dir():
        return [read_conll(_part(path, part), columns) for part in NAMES]
    sentences = read_conll(path, columns)
    total = sum(data.split)
    first = round(len(sentences) * data.split[0] / total)
    second = round(len(sentences) * (data.split[0] + data.split[1]) / total)
    parts = [sentences[:first], sentences[first:second], sentences[second:]]
    if not all(parts):
        raise DataError(f"{path}: expected at least a sentence for each part, got {len(sentences)} in all")
    return parts


def _part(folder: Path, part: str) -> Path:
    """The file of a part: train.conll, or one whose name ends so, as wnut17.train.conll."""
    for name, ending in product(NAMES[part], ENDINGS):
        if (folder / f"{name}.{ending}").exists():
            return folder / f"{name}.{ending}"
        if len(found := list(folder.glob(f"*[._-]{name}.{ending}"))) == 1:
            return found[0]
    raise DataError(
        f"{folder}: expected one file {NAMES[part][0]}.conll here; or set data.train, data.valid, data.test"
    )
