"""An entry of the catalogue: a data set, the packages that carry it, and where its files are kept."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recurra.data.packages import Package

__all__ = ["Preparation", "Source", "copy", "root"]

# ``prepare(folder, target)`` reads unpacked files below ``folder`` and writes plain files into ``target``. It may
# return what it left out on purpose and how often, such as {"repeated texts": 12}: that is kept in the record.
Preparation = Callable[[Path, Path], Mapping[str, int] | None]


def root() -> Path:
    """The folder of all data sets."""
    if given := os.environ.get("RECURRA_DATA"):
        return Path(given).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "recurra" / "data"


def copy(folder: Path, target: Path) -> None:
    """The simplest preparation: the unpacked files as they are."""
    shutil.copytree(folder, target, dirs_exist_ok=True)


@dataclass(frozen=True)
class Source:
    """A data set: what it is, who may use it, the packages that carry it, and how to make plain files of them.

    ``members`` are patterns for the files to unpack, where ``*`` stands for anything; each fits a file of one
    package at least. ``prepare(folder, target)`` reads those below ``folder`` and writes plain files into
    ``target``; raise ``edition`` when it changes.
    """

    name: str
    summary: str
    licence: str
    origin: str
    packages: tuple[Package, ...]
    members: tuple[str, ...]
    prepare: Preparation = copy
    edition: int = 1

    @property
    def version(self) -> str:
        """The versions of the packages, each once, fit for the name of a folder; "drawn" if there is none."""
        return "+".join(dict.fromkeys(package.version.replace(":", "-") for package in self.packages)) or "drawn"

    @property
    def folder(self) -> Path:
        """Where the prepared files are, or will be."""
        return root() / f"{self.name}-{self.version}-{self.edition}"

    @property
    def size(self) -> int:
        """What there is to fetch, in bytes."""
        return sum(package.size for package in self.packages)
