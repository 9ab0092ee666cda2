"""Features of sound: whole files and live, against Kaldi's own code."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import peer
from benchmarks.race import race
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Named, Side
from benchmarks.timing import Effort, Times
from recurra.data.features import Cepstra, FilterBanks, Spectral

__all__ = ["run"]

KINDS = [("FilterBanks", 8_000, 40), ("FilterBanks", 16_000, 80), ("Cepstra", 8_000, 13), ("Cepstra", 16_000, 13)]
THEIRS = "kaldi-native-fbank"
SECONDS, BLOCK = 10.0, 0.1  # of sound, and of a block of a stream
ERROR = 1e-4  # of logarithms of power, where the power is a sum of many numbers that nearly cancel

ABOUT = """
Ten seconds of noise as log-mel filter banks or cepstra, 25 milliseconds every 10: as a whole, and live in blocks of
100 milliseconds. kaldi-native-fbank is Kaldi's code in C++ behind Python; it has one thread, gets its samples as a
list, which it takes twice as fast as an array, and is not asked for the frames that it has computed. Recurra
computes in plain torch and gives the tensor; the check compares all frames. It computes 32 frames even where a
stream brings ten, so that a stream has the same bits as the whole; live it is the slower one, at less than a
thousandth of real time.
"""


class Whole:
    """Features of ours, of the whole or of blocks."""

    def __init__(self, features: Spectral, blocks: tuple[Tensor, ...]) -> None:
        self.features, self.blocks = features, blocks

    def __call__(self) -> Tensor:
        state, frames = self.features.initial(), []
        for block in self.blocks:
            made, state = self.features.push(block, state)
            frames.append(made)
        return torch.cat([*frames, self.features.finish(state)])

    def result(self) -> Named:
        """y."""
        return {"y": self()}


class Theirs:
    """The same from Kaldi."""

    def __init__(self, kaldi: ModuleType, stream: Callable[..., Any], blocks: list[list[float]]) -> None:
        self.kaldi, self.stream, self.blocks = kaldi, stream, blocks

    def __call__(self) -> Any:
        return self.stream(*self.blocks)

    def result(self) -> Named:
        """y."""
        return {"y": self.kaldi.frames(self())}


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Two tables."""
    seconds = min(SECONDS, effort.largest[0] / 10)
    tables = [
        Table("Whole sounds", [_row(*kind, seconds, 0.0, effort, say) for kind in KINDS]),
        Table("Live, 100 ms at a time", [_row(*kind, seconds, BLOCK, effort, say) for kind in KINDS]),
    ]
    return Section("features", "Features of sound", ABOUT, tables)


def _row(
    kind: str, rate: int, size: int, seconds: float, block: float, effort: Effort, say: Callable[[str], None]
) -> Row:
    say(f"features: {kind} {rate} F{size}, {f'{block:g} s at a time' if block else 'whole'}")
    samples = 0.1 * torch.randn(round(seconds * rate), generator=torch.Generator().manual_seed(1))
    blocks = samples.split(round(block * rate) or len(samples))
    features = Cepstra(rate, size) if kind == "Cepstra" else FilterBanks(rate, size)
    sides: dict[str, Side] = {"recurra": Whole(features, blocks)}
    kaldi = peer(THEIRS)
    if kaldi is not None:
        lists = [part.tolist() for part in blocks]
        sides[THEIRS] = Theirs(kaldi, kaldi.Stream(kind, rate, size), lists)
    label = (kind, f"{rate // 1000} kHz F{size}", "")
    return race(label, sides, lambda times: _values(times, list(sides), not block), effort, tolerance=ERROR)


def _values(times: Times, names: list[str], whole: bool) -> dict[str, Value]:
    found = {f"{name} ms": times.time(name) for name in names}
    if THEIRS in names:
        found[f"{THEIRS} / recurra"] = times.ratio(THEIRS, "recurra", least(1) if whole else None)
    return found
