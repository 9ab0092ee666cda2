"""Both directions at once beside one direction."""

from collections.abc import Callable

import torch

import recurra
from benchmarks.peers import torch_layers
from benchmarks.peers.torch_layers import KINDS
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, most
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times

__all__ = ["run"]

GRID = [(1000, 1, 64), (1000, 1, 128), (100, 4, 64), (100, 4, 128)]  # T, B, H
ONE, BOTH, TORCH_ONE, TORCH_BOTH = "one", "both", "torch one", "torch both"

ABOUT = """
Training of `Bidirectional(X, X)` by that of one X alone, on both libraries: with a core for each direction, 1
would be free and 2 is what two calls cost on one core. Then torch's two directions by ours.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    rows = [_row(kind, shape, effort, say) for kind in KINDS for shape in effort.shapes(*GRID)]
    return Section("bidirectional", "Bidirectional", ABOUT, [Table("", rows)])


def _row(kind: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    def values(times: Times) -> dict[str, Value]:
        return {
            "recurra one ms": times.time(ONE),
            "recurra both ms": times.time(BOTH),
            "torch.nn one ms": times.time(TORCH_ONE),
            "torch.nn both ms": times.time(TORCH_BOTH),
            "recurra both / one": times.ratio(BOTH, ONE, most(1.25)),
            "torch.nn both / one": times.ratio(TORCH_BOTH, TORCH_ONE),
            "torch.nn both / recurra both": times.ratio(TORCH_BOTH, BOTH),
        }

    say(f"bidirectional: {kind} {shape_of(*shape)}")
    pairs = [(ONE, TORCH_ONE), (BOTH, TORCH_BOTH)]
    return race((kind, shape_of(*shape), ""), _sides(kind, shape), values, effort, pairs)


def _sides(kind: str, shape: tuple[int, int, int]) -> dict[str, Side]:
    time, batch, hidden = shape
    torch_one = torch_layers.make(kind, hidden)
    torch_both = torch_layers.make(kind, hidden, bidirectional=True)
    one, both = recurra.from_torch(torch_one), recurra.from_torch(torch_both)
    x = torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))
    x_first = torch_layers.time_first(x)
    rename = torch_layers.names_of(kind)
    rename_both = torch_layers.names_of(kind, ahead="_l0", back="_l0_reverse")
    return {
        ONE: Training(one, lambda: one(x)[0]),
        BOTH: Training(both, lambda: both(x)[0]),
        TORCH_ONE: Training(torch_one, lambda: torch_one(x_first)[0], rename, time_first=True),
        TORCH_BOTH: Training(torch_both, lambda: torch_both(x_first)[0], rename_both, time_first=True),
    }
