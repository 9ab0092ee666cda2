"""Two threads that meet once a step, put on one core, where each must wait for the other to be given it."""

import os
import subprocess
import sys

import pytest

from recurra.kernels.cpu import build

SCRIPT = """
import os, torch
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from recurra import GRU
from recurra.kernels.cpu import loops

torch.set_num_threads(2)
layer, x = GRU(8, 96), torch.randn(1, 2000, 8)


def run(own):
    loops.OWN_FIRST = own
    layer.zero_grad()
    y, _ = layer(x)
    y.square().sum().backward()
    return [y.detach(), layer.U.grad.clone()]


want = run(1 << 40)
for _ in range(3):
    assert all(torch.equal(a, b) for a, b in zip(run(0), want, strict=True))
print("same bits")
"""


@pytest.mark.skipif(not build.compiler() or sys.platform != "linux", reason="needs a compiler and Linux")
def test_threads_on_one_core_give_the_same_bits() -> None:
    """However they yield to each other, and part in the middle of a sequence: the bits of one thread alone."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=120, env=os.environ
    )
    assert done.stdout.strip() == "same bits", done.stderr[-2000:]
