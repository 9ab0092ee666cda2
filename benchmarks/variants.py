"""The fused kernel against torch's functions: the same call by both variants, training, one table.

python -m benchmarks.variants
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.timing import compare
from recurra import GRU, LSTM, RNN
from recurra.kernels import torch_functions
from recurra.kernels.cpu import fused
from recurra.kernels.recurrence import Call
from recurra.layers import Gated

SHAPES = [
    (1000, 1, 32),
    (1000, 1, 64),
    (1000, 1, 128),
    (100, 16, 64),
    (100, 32, 128),
    (100, 32, 256),
    (64, 32, 512),
]


def main() -> None:
    """Print the table: time of torch's function divided by that of the fused kernel."""
    print("| | " + " | ".join(f"T{t} B{b} H{h}" for t, b, h in SHAPES) + " |")
    print("|---" * (len(SHAPES) + 1) + "|")
    for kind in (GRU, RNN, LSTM):
        ratios = [compare(*_pair(kind, *shape), rounds=9).ratio for shape in SHAPES]
        print(f"| {kind.__name__} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def _pair(kind: type[Gated], time: int, batch: int, hidden: int) -> tuple[Callable[[], None], Callable[[], None]]:
    torch.manual_seed(0)
    cell, x = kind(hidden, hidden), torch.randn(batch, time, hidden)

    def training(run: Callable[[Call], tuple[torch.Tensor, Any]]) -> Callable[[], None]:
        def step() -> None:
            cell.zero_grad()
            run(Call(cell, x, cell.initial_state(batch, x), cell.weights()))[0].square().mean().backward()

        return step

    gradients = []
    for variant in (fused, torch_functions):  # both agree before either is timed
        training(variant.run)()
        gradients.append(cell.U.grad.clone())
    torch.testing.assert_close(*gradients, atol=2e-5, rtol=2e-4)
    return training(fused.run), training(torch_functions.run)


if __name__ == "__main__":
    main()
