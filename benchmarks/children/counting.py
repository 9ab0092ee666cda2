"""A process that counts on one core until its parent is gone: ``python -m benchmarks.children.counting CORE``."""

import ctypes
import os
import signal
import sys

__all__: list[str] = []

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl


def main() -> None:
    """Count, and look from time to time whether somebody still wants it."""
    parent = os.getppid()
    if sys.platform == "linux":  # a stopped process cannot look: the system ends it with its parent
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(sys.argv[1])})
    while os.getppid() == parent:
        for _ in range(1_000_000):
            pass


if __name__ == "__main__":
    main()
