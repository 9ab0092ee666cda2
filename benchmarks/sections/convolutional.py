"""Training of layers over maps: against a plain loop in PyTorch, and against their own definition."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import recurra
from benchmarks.agreement import Disagreement
from benchmarks.race import check, race
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Named, Side, Training
from benchmarks.timing import Effort, Times
from recurra import use_backend
from recurra.kernels import dispatch
from recurra.kernels.cpu.build import has_bfloat16

__all__ = ["Loop", "run"]

Shape = tuple[int, int, int, int, int]  # T, B, H, channels, side of the square map
GRID: list[Shape] = [
    (20, 8, 64, 16, 16),  # moving digits of 64 x 64 in patches of 4 x 4
    (20, 8, 64, 64, 16),  # a second layer on top
    (20, 4, 32, 1, 32),
    (10, 8, 32, 16, 16),
]
KERNEL = 3
KINDS: Shape = (10, 4, 32, 16, 16)
ROUGH = 0.1  # how far gradients that went through bfloat16 may be from those that did not: 8 bits, T steps
LOOP, OURS, BRIEF = "loop", "recurra", " bf16"

ABOUT = """
One step of training. Loop is the ConvLSTM as it is usually written in PyTorch: at each step one convolution of x
and h side by side, then the gates as whole tensors. Both sides have the same parameters; float32 is checked to
agree to 2e-5, bfloat16 to 0.1 of the largest number. The columns with bf16 run under `torch.autocast`, where the
processor multiplies bfloat16: the target is for the loop in float32 by recurra in bfloat16, and the last column
compares both under autocast, so that nothing is gained by fewer bits alone. x needs no gradient.

The second table has every layer over maps, on its definition in plain PyTorch and as it runs by default.
"""


class Loop(nn.Module):
    """A ConvLSTM as it is usually written."""

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.conv = nn.Conv2d(channels + hidden, 4 * hidden, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """y ``(B, T, H, M, N)`` of x ``(B, T, C, M, N)``."""
        h = c = x.new_zeros(len(x), self.hidden, *x.shape[3:])
        outputs = []
        for x_t in x.unbind(1):
            i, f, g, o = self.conv(torch.cat([x_t, h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1)

    def take(self, layer: recurra.ConvLSTM) -> "Loop":
        """The same parameters as a layer."""
        with torch.no_grad():
            self.conv.weight.copy_(torch.cat([layer.W, layer.U], 1))
            self.conv.bias.copy_(layer.b)  # type: ignore[union-attr]
        return self

    def rename(self, gradients: Named) -> Named:
        """Gradients by the names of `recurra.ConvLSTM`."""
        weight = gradients["conv.weight"]
        channels = weight.shape[1] - self.hidden
        return {"W": weight[:, :channels], "U": weight[:, channels:], "b": gradients["conv.bias"]}


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Two tables."""
    rows = [_row(shape, effort, say) for shape in dict.fromkeys(_cut(shape, effort) for shape in GRID)]
    kinds = [_kind(name, _cut(KINDS, effort), effort, say) for name in recurra.CONVOLUTIONAL]
    tables = [Table("", rows), Table("Every layer over maps", kinds)]
    return Section("convolutional", "Convolutional recurrences", ABOUT, tables)


def _cut(shape: Shape, effort: Effort) -> Shape:
    time, batch, hidden, channels, side = shape
    ((time, batch, hidden),) = effort.shapes((time, batch, hidden))
    most = effort.largest[2]
    return time, batch, hidden, min(channels, most), min(side, most)


def _label(shape: Shape) -> str:
    time, batch, hidden, channels, side = shape
    return f"T{time} B{batch} C{channels} H{hidden} {side}x{side}"


def _input(shape: Shape) -> Tensor:
    time, batch, _, channels, side = shape
    return torch.randn(batch, time, channels, side, side, generator=torch.Generator().manual_seed(1))


def _row(shape: Shape, effort: Effort, say: Callable[[str], None]) -> Row:
    say(f"convolutional: {_label(shape)}")
    torch.manual_seed(0)
    layer, x = recurra.ConvLSTM(shape[3], shape[2], KERNEL, (shape[4], shape[4])), _input(shape)
    loop = Loop(shape[3], shape[2], KERNEL).take(layer)
    plain: dict[str, Side] = {
        OURS: Training(layer, lambda: layer(x)[0]),
        LOOP: Training(loop, lambda: loop(x), loop.rename),
    }
    brief: dict[str, Side] = {
        OURS + BRIEF: Training(layer, _briefly(lambda: layer(x)[0])),
        LOOP + BRIEF: Training(loop, _briefly(lambda: loop(x)), loop.rename),
    }
    halves = has_bfloat16()

    def values(times: Times) -> dict[str, Value]:
        found = {f"{side} ms": times.time(side) for side in (LOOP, OURS)}
        found["loop / recurra"] = times.ratio(LOOP, OURS)
        if halves:
            found[f"{OURS + BRIEF} ms"] = times.time(OURS + BRIEF)
            found["loop / recurra bf16"] = times.ratio(LOOP, OURS + BRIEF, least(1.5))
            found["loop bf16 / recurra bf16"] = times.ratio(LOOP + BRIEF, OURS + BRIEF)
        return found

    label = ("ConvLSTM", _label(shape), "")
    try:
        if halves:
            check({**plain, **brief}, [(OURS + BRIEF, LOOP), (LOOP + BRIEF, LOOP)], tolerance=ROUGH)
    except Disagreement as disagreement:
        return Row(*label[:2], note=f"not timed: {disagreement}")
    return race(label, {**plain, **(brief if halves else {})}, values, effort, [(OURS, LOOP)])


def _briefly(forward: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return forward()

    return run


def _kind(name: str, shape: Shape, effort: Effort, say: Callable[[str], None]) -> Row:
    say(f"convolutional: {name}")
    torch.manual_seed(0)
    kind: Any = recurra.CONVOLUTIONAL[name]
    layer, x = kind(shape[3], shape[2], KERNEL, (shape[4], shape[4])), _input(shape)

    def defined() -> Tensor:
        with dispatch.record(), use_backend("reference"):  # it is meant, so the row need not say so
            y: Tensor = layer(x)[0]
        return y

    forward = lambda: layer(x)[0]
    sides: dict[str, Side] = {OURS: Training(layer, forward), "definition": Training(layer, defined)}
    pairs = [(OURS, "definition")]
    if has_bfloat16():
        sides[OURS + BRIEF] = Training(layer, _briefly(forward))

    def values(times: Times) -> dict[str, Value]:
        found = {f"{side} ms": times.time(side) for side in sides}
        return {**found, "definition / recurra": times.ratio("definition", OURS)}

    return race((kind.__name__, _label(shape), ""), sides, values, effort, pairs)
