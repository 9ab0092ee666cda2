"""What the first call of a cell waits for, in seconds: ``python -m benchmarks.children.first_call GRU``."""

import ctypes
import json
import sys
import time
from typing import Any

import torch

from recurra import LAYERS
from recurra.kernels.cpu import build, emit, known

__all__: list[str] = []


def main() -> None:
    """Print what tracing, and compiling or loading, took of the first training step."""
    parts = {"trace": 0.0, "cell": 0.0, "products": 0.0}
    _watch(parts)
    kind: Any = LAYERS[sys.argv[1].lower()]
    cell, x = kind(64, 64), torch.randn(1, 8, 64)
    begin = time.perf_counter()
    cell(x)[0].sum().backward()
    print(json.dumps({**parts, "call": time.perf_counter() - begin}))


def _watch(parts: dict[str, float]) -> None:
    """Put a clock around the two functions that do the work, where the kernels look them up."""
    trace, load = known.trace, build.load

    def timed_trace(cell: Any) -> Any:
        begin = time.perf_counter()
        try:
            return trace(cell)
        finally:
            parts["trace"] += time.perf_counter() - begin

    def timed_load(source: str) -> ctypes.CDLL:
        name, begin = "products" if source == emit.products() else "cell", time.perf_counter()
        try:
            return load(source)
        finally:
            parts[name] += time.perf_counter() - begin

    known.trace, build.load = timed_trace, timed_load  # type: ignore[assignment]


if __name__ == "__main__":
    main()
