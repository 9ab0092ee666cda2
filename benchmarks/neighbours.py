"""Processes that keep the cores busy, one on each, and stand still when they are told to."""

import os
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

__all__ = ["Neighbours"]

START = 0.15  # seconds until an interpreter runs


class Neighbours:
    """One busy process on each core that this process may use; none is left behind.

    They begin stopped. ``work(True)`` lets them go on, ``work(False)`` stops them; leaving the block ends them.
    """

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        self.cores, self.working = list(cores), False
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> Self:
        try:
            for core in self.cores:
                command = [sys.executable, "-m", "benchmarks.children.counting", str(core)]
                self.processes.append(subprocess.Popen(command))
            time.sleep(START)
            self._tell(signal.SIGSTOP)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def work(self, working: bool) -> None:
        """Let all of them work, or none."""
        if working != self.working:
            self._tell(signal.SIGCONT if working else signal.SIGSTOP)
            self.working = working
            time.sleep(0.02)  # the scheduler needs a few turns to spread its time evenly

    def _tell(self, what: signal.Signals) -> None:
        for process in self.processes:
            process.send_signal(what)

    def _end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
