"""Recompute keeps the laws, gives the gradients of its layer, and takes less memory on the way."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from recurra import GRU, LSTM, RNN, Bidirectional, Dropout, Recompute, Stack, Zoneout
from recurra.errors import ConfigError
from recurra.testing import check_layer


@pytest.mark.parametrize("steps", [None, 3])
def test_laws_hold(steps: int | None) -> None:
    check_layer(lambda: Recompute(Stack(GRU(3, 5), Zoneout(RNN(5, 4), 0.2)), steps))


@pytest.mark.parametrize("lengths", [None, [40, 0, 17]])
def test_values_and_gradients_are_those_of_the_layer(lengths: Any) -> None:
    torch.manual_seed(0)
    layer, x = Stack(LSTM(3, 5), Dropout(0.3), GRU(5, 4)), torch.randn(3, 40, 3)
    state = layer.initial_state(3, x)

    def gradients(run: Any) -> list[torch.Tensor]:
        layer.zero_grad()
        y, last = run(x, state, lengths)
        (y.square().sum() + last[0].c.sum()).backward()
        return [y.detach(), *[p.grad.clone() for p in layer.parameters()]]

    torch.testing.assert_close(gradients(Recompute(layer, 7)), gradients(layer), atol=1e-6, rtol=1e-5)


def test_less_is_kept() -> None:
    """The tensors that autograd holds for the way back, counted."""
    layer, x = GRU(8, 32), torch.randn(4, 400, 8)

    def held(run: Any) -> int:
        seen: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run(x)
        return sum(seen.values())

    assert held(Recompute(layer)) < 0.3 * held(layer)


def test_what_cannot_be_recomputed_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a causal recurrent layer, got Bidirectional"):
        Recompute(Bidirectional(GRU(3, 5), GRU(3, 5)))
    with pytest.raises(ConfigError, match="expected steps to be a whole number of at least 1, got 0"):
        Recompute(GRU(3, 5), 0)


LIMITED = """
import resource, sys, torch
from pathlib import Path
from recurra import GRU, Readout, Recompute, Stack

torch.set_num_threads(1)
torch.manual_seed(0)
layer = Stack(GRU(4, 128), GRU(128, 128), GRU(128, 128), Readout(128, 1))


def train(layer, steps):
    y, _ = layer(torch.randn(4, steps, 4))
    y.square().mean().backward()
    return torch.stack([p.grad.norm() for p in layer.parameters()]).isfinite().all()


train(layer, 10)  # everything is loaded
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, resource.RLIM_INFINITY))
assert train(layer, STEPS)
try:
    train(layer, 3 * STEPS)
except (MemoryError, RuntimeError) as error:
    print("too long:", type(error).__name__)
assert train(Recompute(layer), 10 * STEPS)
print("ten times as long")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are set as Linux does")
def test_ten_times_as_long_a_sequence_fits_into_the_same_memory() -> None:
    code = LIMITED.replace("STEPS", "2000")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "too long" in done.stdout
    assert "ten times as long" in done.stdout
