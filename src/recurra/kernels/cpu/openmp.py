"""The OpenMP library that torch has loaded, whose threads kernels share.

Torch's threads wait for their next work by spinning. Threads of our own would have to fight them for the cores, and
a loop that meets once a step would stand still meanwhile.
"""

import ctypes
import re
from functools import lru_cache
from pathlib import Path

__all__ = ["addresses"]

NAMES = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")  # GNU's, and LLVM's and Intel's too


@lru_cache(maxsize=1)
def addresses() -> tuple[ctypes.c_void_p, ...]:
    """Where these functions are, or nulls if torch runs without them: then kernels start threads of their own."""
    for path in sorted(_loaded(), key=lambda path: "torch" not in path):
        try:
            library = ctypes.CDLL(path)
            return tuple(ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in NAMES)
        except (OSError, AttributeError):
            continue
    return tuple(ctypes.c_void_p() for _ in NAMES)


def _loaded() -> set[str]:
    """Files of OpenMP libraries in this process, where the system tells."""
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {line.split(maxsplit=5)[-1] for line in mapped if re.search(r"/lib(gomp|iomp5|omp)\b[^/]*$", line)}
