"""What the measurements were made with: processor, threads, compiler, versions."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

from benchmarks.peers import PEERS
from recurra.kernels.cpu import build

__all__ = ["describe"]


def describe() -> dict[str, str]:
    """Names and values, in words."""
    return {
        "processor": f"{_processor()} ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})",
        "cores": str(_cores()),
        "threads": str(torch.get_num_threads()),
        "level 2 cache": _second_cache(),
        "system": platform.system(),
        "compiler": _compiler(),
        "Python": platform.python_version(),
        **{name: _version(name) for name in ("recurra", "torch", *PEERS)},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or "unknown"


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _second_cache() -> str:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"


def _compiler() -> str:
    if not build.compiler():
        return "none"
    done = subprocess.run([build.compiler(), "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]
