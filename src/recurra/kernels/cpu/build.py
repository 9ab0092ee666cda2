"""Compiling a kernel by the system's C++ compiler, once for each source, and loading it with ctypes.

A library is named by the hash of its source, compiler and processor, and kept in the user's cache directory. It
appears there by one rename, so that many processes may build it at once. The directory must belong to the user and
be closed to others for writing, for what lies there is run.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import cache, lru_cache
from pathlib import Path

from recurra.errors import BuildError

__all__ = ["cache_folder", "compiler", "has_bfloat16", "load"]

FLAGS = ("-O2", "-march=native", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
SHARED = ("-shared", "-fPIC", "-pthread", "-Wno-psabi")


@lru_cache(maxsize=1)
def compiler() -> str:
    """The C++ compiler: ``$CXX``, c++, g++ or clang++; "" if there is none."""
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    return next((path for path in map(shutil.which, filter(None, names)) if path), "")


def cache_folder() -> Path:
    """Where compiled kernels are kept: ``$XDG_CACHE_HOME/recurra/kernels``, else ``~/.cache/recurra/kernels``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "recurra" / "kernels"


@cache
def load(source: str) -> ctypes.CDLL:
    """The compiled source, from the cache or built now. Raises BuildError with the reason if that fails."""
    if not compiler():
        raise BuildError("no C++ compiler: set $CXX, or install g++ or clang++")
    folder = cache_folder()
    _make_private(folder)
    path = folder / f"{_key(source)}.so"
    if not path.exists():
        _compile(source, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"cannot load {path}: {error}; delete it to build it anew") from error


def _key(source: str) -> str:
    """A name that changes with the source, the compiler and the processor that -march=native means."""
    parts = [source, _version(compiler()), platform.machine(), _processor(), *FLAGS, *SHARED]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in its own instructions, and does not take longer for them."""
    return any(word in _processor().split() for word in ("avx512_bf16", "amx_bf16", "bf16"))


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError as error:
        raise BuildError(f"cannot make the kernel cache {folder}: {error.strerror}") from error
    mine = os.name != "posix" or found.st_uid == os.getuid()
    if not mine or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BuildError(
            f"{folder} belongs to or can be written by others, so nothing from it is run; chmod 700 it"
        )


def _compile(source: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent) as name:
        code, made = Path(name) / "kernel.cpp", Path(name) / "kernel.so"
        code.write_text(source, encoding="utf-8")
        command = [compiler(), *FLAGS, *SHARED, "-o", str(made), str(code)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:300])
            raise BuildError(f"{compiler()} could not compile the kernel: {first}")
        made.replace(path)
