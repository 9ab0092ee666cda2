"""The transducer: its loss and gradients against plain PyTorch, in time and in memory."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.children.peak import readable
from benchmarks.peers.plain_transducer import plain_loss
from benchmarks.race import race
from benchmarks.results import Row, Section, Table, Value, least, most
from benchmarks.steps import Named, Side
from benchmarks.timing import Effort, Times, spread
from recurra.kernels import transducer_blocks
from recurra.kernels.transducer import TransducerCall, transducer

__all__ = ["Learning", "call_of", "run"]

SIZES = [(8, 100, 40, 32, 128), (8, 100, 20, 256, 256), (4, 250, 60, 64, 256)]  # B, T, U, V, J
OURS, BLOCKS, PLAIN = "recurra", "blocks", "plain"
RUNS: dict[str, Callable[[TransducerCall], Tensor]] = {
    OURS: transducer,
    BLOCKS: transducer_blocks.run,
    PLAIN: plain_loss,
}
NAMES = ("encoded", "predicted", "weight", "bias")
PLAIN_ERROR = 2e-4  # plain sums of logarithms in float32 are off by so much after 300 steps

ABOUT = """
The loss of a transducer (RNN-T) with the gradients of everything: tanh of a sum, a product to V logits at each of
B x T x (U + 1) nodes, and the sum over all ways. Plain is PyTorch as one writes it: all logits at once,
`log_softmax`, the ways diagonal by diagonal. Recurra's native kernel has the logits of 32 nodes at a time. Blocks
is its variant in plain PyTorch, for processors without a compiler, for GPUs and for float64: little memory rather
than little time.

New: weights as they are drawn, where nearly every node is on some likely way. Trained: logits far apart, so that
few ways are likely, as after training; the native kernel leaves out nodes that one way in 1e9 or less goes through.
Memory is the rise of the resident memory during one step, each in a process of its own.
"""


class Learning:
    """The loss and its gradients by one side."""

    def __init__(self, side: str, call: TransducerCall) -> None:
        self.run = RUNS[side]
        self.leaves = {name: getattr(call, name).detach().requires_grad_() for name in NAMES}
        self.call = replace(call, **self.leaves)

    def __call__(self) -> tuple[Tensor, ...]:
        nats: Tensor = self.run(self.call)
        return nats.detach(), *torch.autograd.grad(nats.sum(), list(self.leaves.values()))

    def result(self) -> Named:
        """nats and gradients."""
        return dict(zip(("nats", *NAMES), self(), strict=True))


def call_of(batch: int, time: int, longest: int, kinds: int, joint: int, scale: float = 0.1) -> TransducerCall:
    """A call of random numbers; its rows are from three quarters of the longest on."""
    random = torch.Generator().manual_seed(1)
    shapes = ((batch, time, joint), (batch, longest + 1, joint), (kinds, joint), (kinds,))
    encoded, predicted, weight, bias = (torch.randn(shape, generator=random) for shape in shapes)
    tokens = torch.randint(1, kinds, (batch, longest), generator=random)
    lengths = torch.linspace(time, 0.75 * time, batch).round().long()
    sizes = torch.linspace(longest, 0.75 * longest, batch).round().long()
    return TransducerCall(encoded, predicted, scale * weight, bias, tokens, lengths, sizes)


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Two tables."""
    sizes = list(dict.fromkeys(_cut(size, effort) for size in SIZES))
    times = [_time(kind, size, effort, say) for size in sizes for kind in ("new", "trained")]
    tables = [Table("Loss and gradients", times)]
    if readable():
        tables.append(Table("Memory", [_memory(size, effort.starts, say) for size in sizes]))
    return Section("transducer", "Transducer", ABOUT, tables)


def _cut(size: tuple[int, ...], effort: Effort) -> tuple[int, ...]:
    batch, time, longest, kinds, joint = size
    most_time, most_batch, most_size = effort.largest
    return min(batch, most_batch), min(time, most_time), min(longest, most_time), kinds, min(joint, most_size)


def _shape(size: tuple[int, ...]) -> str:
    return " ".join(f"{letter}{number}" for letter, number in zip("BTUVJ", size, strict=True))


def _time(kind: str, size: tuple[int, ...], effort: Effort, say: Callable[[str], None]) -> Row:
    say(f"transducer: {kind} {_shape(size)}")
    call = call_of(*size, scale=0.1 if kind == "new" else 1.0)  # type: ignore[misc]
    sides: dict[str, Side] = {name: Learning(name, call) for name in RUNS}

    def values(times: Times) -> dict[str, Value]:
        found = {f"{name} ms": times.time(name) for name in sides}
        return found | {
            "plain / recurra": times.ratio(PLAIN, OURS, least(2)),
            "plain / blocks": times.ratio(PLAIN, BLOCKS),
        }

    return race((kind, _shape(size), ""), sides, values, effort, tolerance=PLAIN_ERROR)


def _memory(size: tuple[int, ...], starts: int, say: Callable[[str], None]) -> Row:
    say(f"transducer: memory {_shape(size)}")
    peaks = {side: [_peak(side, size) for _ in range(starts)] for side in RUNS}
    values = {f"{side} MB": spread(peaks[side], "MB") for side in RUNS}
    for side in (OURS, BLOCKS):
        pairs = zip(peaks[side], peaks[PLAIN], strict=True)
        values[f"{side} / plain"] = spread([a / b for a, b in pairs], "x", most(0.5))
    return Row("loss and gradients", _shape(size), values)


def _peak(side: str, size: tuple[int, ...]) -> float:
    """Megabytes."""
    command = [sys.executable, "-m", "benchmarks.children.transducer_peak", side, *map(str, size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return max(float(done.stdout) / 1e6, 1e-3)  # nothing at all would have no ratio
