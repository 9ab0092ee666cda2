"""How long the first call of a cell waits for its kernel."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.results import Row, Section, Table, Value, most
from benchmarks.timing import Effort, spread
from recurra.kernels.cpu import build

__all__ = ["run"]

KINDS = ("GRU", "LSTM")

ABOUT = """
In a process of its own with an empty cache folder, then in others that find the cache filled. Tracing turns the
equation and its gradient into C++, which is done in every process; then the C++ is compiled, or loaded. The
products that all cells share are one more source, once for all. Importing torch is not counted.
"""
ABSENT = "There is no C++ compiler, so nothing was measured."


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    title = "Compiling"
    if not build.compiler():
        return Section("compiling", title, ABSENT, [])
    rows = []
    for kind in KINDS:
        say(f"compiling: {kind}")
        rows.append(_row(kind, effort.starts))
    return Section("compiling", title, ABOUT, [Table("", rows)])


def _row(kind: str, starts: int) -> Row:
    cold: list[dict[str, float]] = []
    warm: list[dict[str, float]] = []
    for _ in range(starts):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_measure(kind, folder))
            warm.append(_measure(kind, folder))
    return Row(kind, "", _values(cold, warm))


def _values(cold: list[dict[str, float]], warm: list[dict[str, float]]) -> dict[str, Value]:
    pick = lambda found, name, scale=1.0: [scale * one[name] for one in found]
    return {
        "compile s": spread(pick(cold, "cell"), "s", most(1)),
        "cached load ms": spread(pick(warm, "cell", 1e3), "ms", most(20)),
        "shared products: compile s": spread(pick(cold, "products"), "s"),
        "shared products: cached load ms": spread(pick(warm, "products", 1e3), "ms"),
        "trace ms": spread(pick(warm, "trace", 1e3), "ms"),
        "first call, empty cache s": spread(pick(cold, "call"), "s"),
        "first call, filled cache s": spread(pick(warm, "call"), "s"),
    }


def _measure(kind: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.children.first_call", kind]
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found
