"""What is inside a package: a wheel or zip, a tarball, or a Debian package, read without installing anything.

A Debian package is an ``ar`` archive: a line ``!<arch>``, then for each part a header of 60 bytes (name 16, four
numbers 32, size in decimal digits 10, two end bytes) and its bytes, padded to an even length. ``data.tar.*`` is the
part that holds the files.
"""

import importlib
import io
import lzma
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from recurra.errors import DataError

__all__ = ["LIMIT", "Member", "members", "unpack"]

LIMIT = 2**31  # bytes: what one data set may unpack to
BLOCK = 2**20  # bytes copied at a time
BROKEN = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its name as written there, whether it is a plain file, and its bytes."""

    name: str
    plain: bool
    open: Callable[[], IO[bytes]]


def unpack(archives: Path | Sequence[Path], patterns: Sequence[str], target: Path, limit: int = LIMIT) -> None:
    """Write the members whose names fit a pattern below ``target``, folders and all; nothing else is written.

    In a pattern ``*`` stands for any characters, ``/`` too. Several archives are unpacked over each other. Raises
    DataError for a member that would leave ``target``, is a link or comes twice, for more than ``limit`` bytes, for
    a pattern that nothing fits, and for an archive that is broken.
    """
    archives = [archives] if isinstance(archives, Path) else list(archives)
    unused = set(patterns)
    for archive in archives:
        try:
            for member in members(archive):
                name = str(PurePosixPath(member.name))
                fitting = {pattern for pattern in patterns if fnmatchcase(name, pattern)}
                if fitting:
                    limit -= _write(member, _inside(target, member, archive), limit, archive)
                unused -= fitting
        except BROKEN as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
            raise DataError(f"{archive.name} is broken ({reason}); delete {archive} and fetch it again") from error
    if unused:
        carriers = " and ".join(archive.name for archive in archives)
        raise DataError(f"{carriers} has no file like {', '.join(sorted(unused))}")


def _inside(target: Path, member: Member, archive: Path) -> Path:
    """Where a member goes. What is not a plain file with a harmless name is refused, not repaired."""
    parts = PurePosixPath(member.name).parts
    if not member.plain or not parts or ".." in parts or set(member.name) & set("\\:\0") or parts[0] == "/":
        raise DataError(
            f"{archive.name}: refused to unpack {member.name!r}: expected a plain file inside the data folder"
        )
    return target.joinpath(*parts)


def _write(member: Member, path: Path, limit: int, archive: Path) -> int:
    """Copy a member to a new file and return its size."""
    if path.exists():
        raise DataError(f"{archive.name}: refused to unpack {member.name!r}: it comes twice")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with member.open() as source, path.open("wb") as copy:
        while block := source.read(BLOCK):
            size += len(block)
            if size > limit:
                raise DataError(f"{archive.name}: refused to unpack {member.name!r}: over the size limit")
            copy.write(block)
    return size


def members(archive: Path) -> Iterator[Member]:
    """The files of an archive in order, read as you go. Raises DataError for an unknown kind of archive."""
    if archive.suffix in (".whl", ".zip"):
        yield from _zip(archive)
    elif archive.suffix == ".deb":
        yield from _tar(_deb(archive))
    elif archive.suffix == ".tgz" or archive.name.endswith((".tar.gz", ".tar.bz2", ".tar.xz")):
        with archive.open("rb") as file:
            yield from _tar(file)
    else:
        raise DataError(f"{archive.name}: expected a .whl, .zip, .tgz, .tar.gz, .tar.bz2, .tar.xz or .deb file")


def _zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if not info.is_dir():
                kind = stat.S_IFMT(info.external_attr >> 16)
                yield Member(info.filename, kind in (0, stat.S_IFREG), partial(file.open, info))


def _tar(stream: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=stream, mode="r:*") as file:
        for info in file:
            if not info.isdir():
                yield Member(info.name, info.isreg(), partial(_extract, file, info))


def _extract(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], file.extractfile(info))  # None is for folders and links alone


def _deb(archive: Path) -> IO[bytes]:
    """The part ``data.tar.*`` of a Debian package, as a tar stream that Python can read."""
    with archive.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise DataError(f"{archive.name} is broken (no Debian package); delete {archive} and fetch it again")
        while len(header := file.read(60)) == 60:
            name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), _number(header[48:58])
            if name.startswith("data.tar"):
                data = file.read(size)
                return _zst(data, archive) if name.endswith(".zst") else io.BytesIO(data)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise DataError(f"{archive.name} is broken (it holds no data.tar); delete {archive} and fetch it again")


def _number(field: bytes) -> int:
    try:
        return int(field)
    except ValueError:
        raise tarfile.ReadError("a header without a size") from None


def _zst(data: bytes, archive: Path) -> IO[bytes]:
    """Unpack Zstandard with the first of three that is there: Python 3.14, the library, the program."""
    with suppress(ImportError):
        return io.BytesIO(importlib.import_module("compression.zstd").decompress(data))
    with suppress(ImportError):
        reader = importlib.import_module("zstandard").ZstdDecompressor().stream_reader(io.BytesIO(data))
        return io.BytesIO(reader.read())
    if program := shutil.which("zstd"):
        done = subprocess.run([program, "-dcq"], input=data, capture_output=True, check=False)
        if done.returncode:
            raise tarfile.ReadError(done.stderr.decode(errors="replace").strip())
        return io.BytesIO(done.stdout)
    raise DataError(f"{archive.name} is compressed by Zstandard; install it with: pip install zstandard")
