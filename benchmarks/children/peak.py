"""The peak memory of one training step, in bytes: ``python -m benchmarks.children.peak recurra LSTM T B H``."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import recurra
from benchmarks.peers import torch_layers
from benchmarks.steps import Training

__all__ = ["readable", "rise"]

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def readable() -> bool:
    """Whether the system tells the peak of the resident memory, and can set it back."""
    return STATUS.exists() and RESET.exists() and "VmHWM" in STATUS.read_text(encoding="utf-8")


def main() -> None:
    """Print the bytes."""
    side, kind, *sizes = sys.argv[1:]
    time, batch, hidden = map(int, sizes)
    layer = torch_layers.make(kind, hidden)
    module, run = _forward(side, layer)
    x = torch.randn(time, batch, hidden) if side == "torch.nn" else torch.randn(batch, time, hidden)
    few = x[:3] if side == "torch.nn" else x[:, :3]
    Training(module, lambda: run(few.contiguous()))()
    print(rise(Training(module, lambda: run(x))))


def rise(step: Callable[[], object]) -> int:
    """By how many bytes the resident memory rises at most while a step runs."""
    RESET.write_text("5", encoding="utf-8")
    begin = _field("VmRSS")
    step()
    return _field("VmHWM") - begin


def _forward(side: str, layer: torch.nn.RNNBase) -> tuple[torch.nn.Module, Callable[[Tensor], Tensor]]:
    if side == "torch.nn":
        return layer, lambda x: layer(x)[0]
    ours: torch.nn.Module = recurra.from_torch(layer)
    if side == "Recompute":
        ours = vars(recurra)["Recompute"](ours)
    return ours, lambda x: ours(x)[0]


def _field(name: str) -> int:
    """Bytes."""
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
