"""Recurra's layers against torch.nn's: training time of one layer, plain, ragged, bidirectional, and as twins."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recurra
from benchmarks.timing import Comparison, compare

__all__ = ["Row", "run"]

SHAPES = [(1000, 1, 64), (100, 16, 64), (100, 32, 128), (64, 32, 512)]  # T, B, H


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    time: int
    batch: int
    hidden: int
    result: Comparison


def run(rounds: int, say: Callable[[str], None]) -> list[Row]:
    """All comparisons, each behind a check that both sides agree."""
    rows = []
    for kind in ("RNN", "LSTM", "GRU"):
        for time, batch, hidden in SHAPES:
            for name in ("padded", "ragged", "bidirectional", "twin"):
                if name in ("ragged",) and batch == 1:
                    continue
                ours, theirs = _pair(kind, name, time, batch, hidden)
                rows.append(Row(f"{kind} {name}", time, batch, hidden, compare(ours, theirs, rounds)))
                say(f"{rows[-1].name:<20} T={time} B={batch} H={hidden}  x{rows[-1].result.ratio:.2f}")
    return rows


def _pair(kind: str, name: str, time: int, batch: int, hidden: int) -> tuple[Callable, Callable]:
    torch.manual_seed(0)
    theirs = getattr(nn, kind)(hidden, hidden, batch_first=True, bidirectional=name == "bidirectional")
    x = torch.randn(batch, time, hidden)
    lengths = torch.randint(time // 4, time + 1, (batch,)) if name == "ragged" else None
    if name == "twin":
        twin = recurra.fuse(copy.deepcopy(theirs), report=None)
        ours, run_ours = twin, lambda: twin(x)[0]
    else:
        ours = recurra.from_torch(theirs)
        run_ours = lambda: ours(x, lengths=lengths)[0]
    run_theirs = (lambda: theirs(x)[0]) if lengths is None else lambda: _packed(theirs, x, lengths)
    torch.testing.assert_close(run_ours(), run_theirs(), atol=2e-5, rtol=2e-5)
    return _training(run_ours, ours), _training(run_theirs, theirs)


def _packed(layer: nn.RNNBase, x: Tensor, lengths: Tensor) -> Tensor:
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def _training(forward: Callable[[], Tensor], layer: nn.Module) -> Callable[[], None]:
    def step() -> None:
        layer.zero_grad()
        forward().square().mean().backward()

    return step
