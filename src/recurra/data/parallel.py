"""Parallel text: sentences of one language beside their translations into another."""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from recurra.data.text import decode_text
from recurra.errors import DataError

__all__ = ["Parallel", "SentencePair", "read_parallel", "read_part", "split_pairs"]

PARTS = {"train": ("train",), "valid": ("valid", "val", "dev", "validation"), "test": ("test",)}
ENDINGS = ("", ".gz")


class SentencePair(NamedTuple):
    """A sentence and its translation; either may be empty."""

    source: str
    target: str


@dataclass(frozen=True)
class Parallel:
    """Sentence pairs in three parts, and which files they came from."""

    train: list[SentencePair]
    valid: list[SentencePair]
    test: list[SentencePair]
    files: dict[str, str] = field(default_factory=dict)


def read_parallel(path: str | Path, languages: tuple[str, str], test: str, shares: Sequence[float]) -> Parallel:
    """The pairs for training, validation and test.

    path       a folder or a prefix of parallel files by suffix, such as ``train.en`` and ``train.de`` or
               ``multi30k.val.en.gz``; or one pair of files, ``PATH.en`` and ``PATH.de``; or a TSV file
    languages  the suffixes of the files, source first
    test       the name of the test part, such as ``test_2016``, where there are several; "": the only one
    shares     of the three parts, where there is one file or one pair of files; each source sentence, with all
               of its translations, is in one part only

    All files may be gzipped. Raises DataError with file and line for what cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return split_pairs(_read_table(path), shares, str(path))
    whole = _pair_of(path, "", languages)
    if not path.is_dir() and whole:
        return split_pairs(_read_files(*whole), shares, str(path))
    files = {part: _find(path, part, languages, test) for part in PARTS}
    missing = [part for part, pair in files.items() if pair is None]
    single = _single(path) if len(missing) == len(PARTS) else None
    if single is not None:
        return split_pairs(_read_table(single), shares, str(single))
    if missing:
        raise DataError(_nothing(path, missing[0], languages))
    pairs = {part: _read_files(*pair) for part, pair in files.items() if pair}
    names = {part: pair[0].name for part, pair in files.items() if pair}
    return Parallel(pairs["train"], pairs["valid"], pairs["test"], names)


def read_part(path: str | Path, languages: tuple[str, str]) -> list[SentencePair]:
    """Pairs to measure on: a TSV file, or the prefix of a pair of files such as ``test`` of test.en and test.de."""
    if Path(path).is_file():
        return _read_table(Path(path))
    whole = _pair_of(Path(path), "", languages)
    if whole is None:
        raise DataError(
            f"cannot read {path}: expected a TSV file with two columns, or the files {path}.{languages[0]} and "
            f"{path}.{languages[1]} (or with .gz)"
        )
    return _read_files(*whole)


def split_pairs(pairs: list[SentencePair], shares: Sequence[float], name: str) -> Parallel:
    """Three parts, by the unique source sentences in an order that looks random and never changes."""
    sources = sorted({pair.source for pair in pairs}, key=_stable)
    if len(sources) < len(PARTS):
        raise DataError(
            f"{name}: expected at least three different source sentences, to train, validate and test, got "
            f"{len(sources)}"
        )
    total, inner = sum(shares), len(sources) - 1
    first = max(1, min(inner - 1, round(len(sources) * shares[0] / total)))
    second = max(first + 1, min(inner, round(len(sources) * (shares[0] + shares[1]) / total)))
    part_of = {source: (i >= first) + (i >= second) for i, source in enumerate(sources)}
    parts: list[list[SentencePair]] = [[], [], []]
    for pair in pairs:
        parts[part_of[pair.source]].append(pair)
    files = dict.fromkeys(PARTS, f"{Path(name).name}, split by unique source sentence")
    return Parallel(parts[0], parts[1], parts[2], files)


def _stable(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _places(path: Path, name: str) -> list[str]:
    """What the files of a part may begin with: in the folder ``path``, or after the prefix ``path``."""
    if not name:
        return [str(path)]
    return [str(path / name), *([] if path.is_dir() else [f"{path}.{name}"])]


def _pair_of(path: Path, name: str, languages: tuple[str, str]) -> tuple[Path, Path] | None:
    """Both files of a part, if the first one is there. Raises DataError if the second one is not."""
    for begin in _places(path, name):
        found = [_existing(f"{begin}.{language}") for language in languages]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
        if found[0] is not None or found[1] is not None:
            there, gone = (0, 1) if found[0] is not None else (1, 0)
            raise DataError(
                f"{found[there]} is there, but {begin}.{languages[gone]} (or with .gz) is missing; expected a pair "
                "of files, one a language: set data.source and data.target to their suffixes"
            )
    return None


def _existing(name: str) -> Path | None:
    return next((Path(name + ending) for ending in ENDINGS if Path(name + ending).is_file()), None)


def _find(path: Path, part: str, languages: tuple[str, str], test: str) -> tuple[Path, Path] | None:
    names: Sequence[str] = PARTS[part]
    if part == "test":
        names = [test] if test else _tests(path, languages)
        if len(names) > 1:
            raise DataError(
                f"{path}: several test parts, {', '.join(names)}; choose one with data.test, such as "
                f"data.test={names[0]}"
            )
    return next((pair for name in names if (pair := _pair_of(path, name, languages))), None)


def _tests(path: Path, languages: tuple[str, str]) -> list[str]:
    """Names of the test parts: the one called test, or else all that begin with it."""
    folder, prefix = (path, "") if path.is_dir() else (path.parent, f"{path.name}.")
    found = set()
    for file in sorted(folder.glob(f"{prefix}test*.{languages[0]}*")):
        name, _, ending = file.name.removeprefix(prefix).rpartition(f".{languages[0]}")
        if ending in ENDINGS:
            found.add(name)
    return ["test"] if "test" in found else sorted(found)


def _single(path: Path) -> Path | None:
    """The only table of a folder that has no parts."""
    found = (
        [file for file in sorted(path.glob("*.tsv*")) if file.suffix in (".tsv", ".gz")] if path.is_dir() else []
    )
    return found[0] if len(found) == 1 else None


def _nothing(path: Path, part: str, languages: tuple[str, str]) -> str:
    names = " or ".join(PARTS[part])
    return (
        f"{path}: no {part} part; expected files {names} with the suffixes .{languages[0]} and .{languages[1]} "
        f"(gzipped or not) in this folder or after this prefix, or one TSV file; the suffixes are data.source and "
        "data.target"
    )


def _read_files(source: Path, target: Path) -> list[SentencePair]:
    """Two files, a sentence a line."""
    left, right = _lines(source), _lines(target)
    if len(left) != len(right):
        raise DataError(
            f"{source} has {len(left):,} lines and {target} has {len(right):,}; expected as many, line i of one "
            "being the translation of line i of the other"
        )
    return [SentencePair(a.strip(), b.strip()) for a, b in zip(left, right, strict=True)]


def _read_table(path: Path) -> list[SentencePair]:
    """A file with a sentence, a tab and its translation a line; further columns, such as a licence, are left."""
    pairs = []
    for number, line in enumerate(_lines(path), 1):
        columns = line.split("\t")
        if len(columns) < 2:
            if not line.strip():
                continue
            raise DataError(f"{path}:{number}: expected a sentence, a tab and its translation, got {line[:80]!r}")
        pairs.append(SentencePair(columns[0].strip(), columns[1].strip()))
    return pairs


def _lines(path: Path) -> list[str]:
    """The lines of a text; nothing but line feeds ends a line."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"cannot read {path}: not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    text = decode_text(raw, str(path))
    return text.removesuffix("\n").split("\n")
