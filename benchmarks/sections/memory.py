"""The peak memory of a training step."""

import subprocess
import sys
from collections.abc import Callable

import recurra
from benchmarks.children.peak import readable
from benchmarks.race import shape_of
from benchmarks.results import Row, Section, Table, Target, Value, most
from benchmarks.timing import Effort, spread

__all__ = ["run"]

SHAPE = (400, 64, 256)  # T, B, H
KINDS = ("GRU", "LSTM")

ABOUT = """
Each in a process of its own: the layer trains on a very short batch first, so that libraries and kernels are
loaded, then the peak of the resident memory is set back, one step is run, and the difference between peak and
begin is noted (VmHWM and VmRSS of /proc/self/status). It holds y, what is kept for the backward pass, gradients
and buffers, not x and the weights. Recompute keeps some states only and computes the others again; its second
ratio is by recurra's own layer.
"""
ABSENT = "This system does not tell the peak of a process's memory, so nothing was measured."
RECOMPUTE = "Recompute"


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    title = "Memory of a training step"
    if not readable():
        return Section("memory", title, ABSENT, [])
    shape = effort.shapes(SHAPE)[0]
    rows = []
    for kind in KINDS:
        say(f"memory: {kind} {shape_of(*shape)}")
        rows.append(_row(kind, shape, effort.starts))
    about = ABOUT if RECOMPUTE in recurra.__all__ else ABOUT.rpartition(" Recompute keeps")[0] + "\n"
    return Section("memory", title, about, [Table("", rows)])


def _row(kind: str, shape: tuple[int, int, int], starts: int) -> Row:
    sides = ["recurra", "torch.nn"] + [RECOMPUTE] * (RECOMPUTE in recurra.__all__)
    peaks = {side: [_peak(side, kind, shape) for _ in range(starts)] for side in sides}
    values = {f"{side} MB": spread(peaks[side], "MB") for side in sides}
    values["recurra / torch.nn"] = _ratio(peaks, "recurra", "torch.nn", most(1))
    if RECOMPUTE in sides:
        values["Recompute / torch.nn"] = _ratio(peaks, RECOMPUTE, "torch.nn", None)
        values["Recompute / recurra"] = _ratio(peaks, RECOMPUTE, "recurra", most(0.6))
    return Row(kind, shape_of(*shape), values)


def _ratio(peaks: dict[str, list[float]], above: str, below: str, target: Target | None) -> Value:
    pairs = zip(peaks[above], peaks[below], strict=True)
    return spread([a / b for a, b in pairs], "x", target)


def _peak(side: str, kind: str, shape: tuple[int, int, int]) -> float:
    """Megabytes."""
    command = [sys.executable, "-m", "benchmarks.children.peak", side, kind, *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return max(float(done.stdout) / 1e6, 1e-3)  # nothing at all would have no ratio
