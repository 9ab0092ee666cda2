"""Ragged batches: what rows of different lengths cost beside rows that are all full."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recurra
from benchmarks.peers import torch_layers
from benchmarks.peers.torch_layers import KINDS
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, most
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times

__all__ = ["run"]

GRID = [(100, 16, 64), (100, 32, 128), (100, 32, 256)]  # T, B, H
PADDED, RAGGED, TORCH, PACKED = "padded", "ragged", "torch.nn padded", "torch.nn packed"

ABOUT = """
Training. Lengths are spread evenly from T / 4 to T, so a batch holds 62 % of the steps of the padded one. Recurra
takes them as `lengths`, torch.nn as a PackedSequence, packed and unpacked inside the step. First the cost of the
ragged batch beside the padded one, for both (below 1 the short rows save time), then torch's ragged batch by
ours.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    rows = [_row(kind, shape, effort, say) for kind in KINDS for shape in effort.shapes(*GRID)]
    return Section("ragged", "Ragged batches", ABOUT, [Table("", rows)])


def _row(kind: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    sides = _sides(kind, shape)

    def values(times: Times) -> dict[str, Value]:
        return {
            "recurra padded ms": times.time(PADDED),
            "recurra ragged ms": times.time(RAGGED),
            "torch.nn padded ms": times.time(TORCH),
            "torch.nn packed ms": times.time(PACKED),
            "recurra ragged / padded": times.ratio(RAGGED, PADDED, most(0.75)),
            "torch.nn packed / padded": times.ratio(PACKED, TORCH),
            "torch.nn packed / recurra ragged": times.ratio(PACKED, RAGGED),
        }

    say(f"ragged: {kind} {shape_of(*shape)}")
    pairs = [(PADDED, TORCH), (RAGGED, PACKED)]
    return race((kind, shape_of(*shape), ""), sides, values, effort, pairs)


def _sides(kind: str, shape: tuple[int, int, int]) -> dict[str, Side]:
    time, batch, hidden = shape
    theirs, rename = torch_layers.make(kind, hidden), torch_layers.names_of(kind)
    ours = recurra.from_torch(theirs)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, time, hidden, generator=generator)
    lengths = torch.linspace(time / 4, time, batch).round().long()[torch.randperm(batch, generator=generator)]
    x_first = torch_layers.time_first(x)
    return {
        PADDED: Training(ours, lambda: ours(x)[0]),
        RAGGED: Training(ours, lambda: ours(x, lengths=lengths)[0]),
        TORCH: Training(theirs, lambda: theirs(x_first)[0], rename, time_first=True),
        PACKED: Training(theirs, lambda: _packed(theirs, x_first, lengths), rename, time_first=True),
    }


def _packed(layer: nn.RNNBase, x: Tensor, lengths: Tensor) -> Tensor:
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    y: Tensor = pad_packed_sequence(layer(packed)[0], total_length=len(x))[0]
    return y
