"""Getting bytes: one URL, or one command that fetches a file, with a progress bar on a terminal."""

import base64
import http.client
import os
import re
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from recurra.errors import DataError

__all__ = ["download", "opened", "run", "without_password"]

BLOCK = 2**16  # bytes read at a time
PAUSE = 0.1  # seconds between two looks at what a command has fetched
ERROR = re.compile(r"error|e:|npm err(or|!) (?!code|syscall|errno)", re.IGNORECASE)  # of pip, apt, npm
WAIT = 30.0  # seconds without a byte after which a server counts as silent


@contextmanager
def _meter(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error for ``total`` bytes; the value is called with the bytes so far. Silent elsewhere."""
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(TextColumn("{task.description}"), *columns, console=console, disable=not console.is_terminal)
    with bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))


def run(command: Sequence[str], folder: Path, size: int, environment: Mapping[str, str]) -> str:
    """Run a command that fetches ``size`` bytes into ``folder``, where it runs. Returns "" or why it failed."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            said = _watch(process, folder, size)
        except BaseException:
            process.kill()
            raise
    return _reason(said.decode(errors="replace")) or f"exit code {process.returncode}" if process.returncode else ""


def _watch(process: "subprocess.Popen[bytes]", folder: Path, size: int) -> bytes:
    with _meter("fetching", size) as update:
        while True:
            try:
                return process.communicate(timeout=PAUSE)[0]
            except subprocess.TimeoutExpired:
                update(_size(folder))


def _size(folder: Path) -> int:
    """Bytes below a folder in which another process makes and removes files meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):  # which passes over folders that vanish
        for name in names:
            with suppress(OSError):
                total += os.path.getsize(os.path.join(parent, name))
    return total


def _reason(output: str) -> str:
    """What a program's output says about why it gave up: its first line of error in words, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if ERROR.match(line)]
    lost = ["no connection to the index"] if "connection broken by" in output else []
    return "; ".join(lost + (errors[:1] or lines[-1:]))


def download(url: str, target: Path, size: int, certificates: str | None = None) -> None:
    """Write the ``size`` bytes that a URL answers to ``target``. Raises DataError if it answers anything else."""
    done = 0
    with opened(url, "*/*", certificates) as answer, target.open("wb") as copy:
        with _meter("fetching", size) as update:
            while block := _read(answer, url):
                done += len(block)
                if done > size:
                    raise DataError(f"{without_password(url)} is longer than the {size:,} bytes expected")
                copy.write(block)
                update(done)
    if done < size:
        raise DataError(f"{without_password(url)} broke off after {done:,} of {size:,} bytes")


def _read(answer: IO[bytes], url: str) -> bytes:
    try:
        return answer.read(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{without_password(url)} broke off: {error or type(error).__name__}") from error


def opened(url: str, accept: str, certificates: str | None = None) -> IO[bytes]:
    """The answer to a URL that may hold ``user:password@``. ``certificates`` is a file of trusted authorities.

    The password goes to the named host alone, not to another that it redirects to. Raises DataError.
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    try:
        request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)), headers={"Accept": accept})
        if user:
            token = base64.b64encode(unquote(user).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        context = ssl.create_default_context(cafile=certificates) if parts.scheme == "https" else None
        return urllib.request.urlopen(request, timeout=WAIT, context=context)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DataError(f"{without_password(url)}: {reason or type(error).__name__}") from error


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
