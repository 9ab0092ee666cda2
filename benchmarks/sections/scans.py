"""The linear recurrence h = a h + b against its other forms, and training of a layer made of it against a GRU."""

import copy
import dataclasses
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch._higher_order_ops.associative_scan import associative_scan

import recurra
from benchmarks.agreement import Disagreement, agree
from benchmarks.peers import peer, torch_layers
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Inference, Side, Training
from benchmarks.timing import Effort, Times, compare, spread
from recurra.kernels.scan import ScanCall, define, double

__all__ = ["run"]

OPERATION = {  # T, B, H
    "real": [(4096, 1, 64), (4096, 1, 256), (512, 16, 256), (4096, 8, 256)],
    "complex": [(4096, 1, 64), (512, 16, 256)],
}
LAYERS = [(4096, 1, 64), (4096, 1, 128), (4096, 1, 256), (4096, 4, 128)]
KINDS = {"real": torch.float32, "complex": torch.complex64}
THEIRS = "minGRU-pytorch"

ABOUT = """
First the operation alone: h_t = a_t h_{t-1} + b_t, forward, without gradients; Gelem/s are thousands of millions of
numbers of h a second. The loop is the definition, one operation of torch a step; doubling is our own form in plain
PyTorch; JAX is `lax.associative_scan` under `jit`; torch.associative_scan has no compiled form on the processor and
runs as its generic one.

Then one training step at T = 4096, as in the first section: MinGRU, which is such a recurrence, by layers of the
same width, recurra's GRU and torch.nn.GRU. minGRU-pytorch is the same layer in sums of logarithms, which grow with
T: it is timed although it does not agree, and how far both are from float64 stands below the table.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Two tables."""
    short = dataclasses.replace(effort, budget=effort.budget / 4)
    grid = [(kind, shape) for kind, shapes in OPERATION.items() for shape in effort.shapes(*shapes)]
    rows = [_operation(*question, short, say) for question in grid]
    slow = dataclasses.replace(effort, budget=effort.budget * 0.7, fewest=min(effort.fewest, 3))
    layers = [_layer(shape, slow, say) for shape in effort.shapes(*LAYERS)]
    return Section("scans", "Linear recurrences", ABOUT, [Table("The operation", rows), Table("Training", layers)])


def _both(early: tuple[Tensor, Tensor], late: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return late[0] * early[0], late[0] * early[1] + late[1]


def _real(values: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones, which the gate can compare."""
    return torch.view_as_real(values) if values.is_complex() else values


def _operation(kind: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    say(f"scans: {kind} {shape_of(*shape)}")
    time, batch, hidden = shape
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(batch, time, hidden, generator=generator)
    b = torch.randn(batch, time, hidden, generator=generator, dtype=KINDS[kind])
    a = torch.polar(a, 6 * torch.rand(a.shape, generator=generator)) if b.is_complex() else a
    call = ScanCall(a, b, b.new_zeros(batch, hidden))
    generic = partial(associative_scan, _both, (a, b), 1, combine_mode="generic")
    sides: dict[str, Side] = {
        "recurra": Inference(lambda: _real(recurra.linear_scan(a, b)[0])),
        "loop": Inference(lambda: _real(define(call)[0])),
        "doubling": Inference(lambda: _real(double(call)[0])),
        "torch.associative_scan": Inference(lambda: _real(generic()[1])),
    }
    jax = peer("jax", "jax_associative")
    if jax is not None:
        sides["JAX"] = jax.Recurrence(a, b)

    def values(times: Times) -> dict[str, Value]:
        speeds = [b.numel() / second / 1e9 for second in times.seconds["recurra"]]
        ratios = {f"{name} / recurra": times.ratio(name, "recurra") for name in sides if name != "recurra"}
        return {"recurra Gelem/s": spread(speeds, "Gelem/s", least(1.2) if kind == "real" else None), **ratios}

    return race((kind, shape_of(*shape), ""), sides, values, effort)


def _layer(shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    say(f"scans: training {shape_of(*shape)}")
    time, batch, hidden = shape
    x = torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    ours, gru = recurra.MinGRU(hidden, hidden), torch_layers.make("GRU", hidden)
    sides: dict[str, Side] = {"MinGRU": _training(ours, x), "GRU": _training(recurra.from_torch(gru), x)}
    first = x.transpose(0, 1).contiguous()
    sides["torch.nn.GRU"] = Training(gru, lambda: gru(first)[0])
    label, note = ("MinGRU", shape_of(*shape)), ""
    try:
        exact = _training(copy.deepcopy(ours).double(), x.double()).result()
        error = agree(sides["MinGRU"].result(), exact)  # values and gradients
    except Disagreement as disagreement:
        return Row(*label, note=f"not timed: {disagreement}")
    theirs = peer("minGRU-pytorch")
    if theirs is not None:
        twin = theirs.twin(ours)
        sides[THEIRS] = Training(twin, lambda: twin(x))
        apart = _apart(sides[THEIRS], exact)
        note = f"y of {THEIRS} is off by {apart:.0e} of its largest number, MinGRU (gradients too) by {error:.0e}"
    times = compare(sides, effort)
    found = {"MinGRU ms": times.time("MinGRU"), "GRU / MinGRU": times.ratio("GRU", "MinGRU", least(5))}
    found["torch.nn.GRU / MinGRU"] = times.ratio("torch.nn.GRU", "MinGRU", least(20))
    if THEIRS in sides:
        found[f"{THEIRS} / MinGRU"] = times.ratio(THEIRS, "MinGRU")
    return Row(*label, found, "", error, note)


def _training(layer: recurra.Recurrent, x: Tensor) -> Training:
    return Training(layer, lambda: layer(x)[0])


def _apart(theirs: Side, exact: dict[str, Tensor]) -> float:
    """How far y is from that in float64, whatever the tolerance."""
    return agree({"y": theirs.result()["y"]}, {"y": exact["y"]}, float("inf"))
