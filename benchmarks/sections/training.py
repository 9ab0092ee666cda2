"""Training steps of one layer against torch.nn and JAX, over the grid of shapes."""

import copy
from collections.abc import Callable

import torch

import recurra
from benchmarks.peers import peer, torch_layers
from benchmarks.peers.torch_layers import KINDS
from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Target, Value, least
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times

__all__ = ["run"]

SINGLE = [(1000, 1, 32), (1000, 1, 64), (1000, 1, 128)]  # T, B, H
BATCHES = [(100, 16, 64), (100, 32, 128), (100, 32, 256), (64, 32, 512), (128, 64, 256)]
WITH_JAX = [*SINGLE, (100, 16, 64), (100, 32, 128)]
TWINS = [(1000, 1, 64), (100, 32, 128)]
TORCH, JAX = "torch.nn / recurra", "JAX / recurra"
PLAIN, GATED = "GRU and RNN", "LSTM"  # groups

ABOUT = """
One forward and backward pass of a layer with as many inputs as units: y, the mean of its squares, the gradients
of all parameters. x has no gradient, on any side. torch.nn and JAX get x time first, the layout they like best,
recurra batch first. JAX is `lax.scan` under `jit(value_and_grad(...))`, the input's product taken over all steps
at once. A ratio above 1 means that recurra is faster. The last table is `recurra.fuse(layer)` by the layer that
it was made of.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """All tables."""
    single, batches = effort.shapes(*SINGLE), effort.shapes(*BATCHES)
    with_jax = effort.shapes(*WITH_JAX)
    tables = [
        Table("One row", [_row(kind, shape, with_jax, effort, say) for kind in KINDS for shape in single]),
        Table(
            "Batches",
            [_row(kind, shape, with_jax, effort, say) for kind in KINDS for shape in batches],
            {PLAIN: {TORCH: least(1.8)}, GATED: {TORCH: least(1.15)}},
        ),
        Table("Twins", [_twin(kind, shape, effort, say) for kind in KINDS for shape in effort.shapes(*TWINS)]),
    ]
    return Section("training", "Training", ABOUT, tables)


def _row(
    kind: str,
    shape: tuple[int, int, int],
    with_jax: list[tuple[int, int, int]],
    effort: Effort,
    say: Callable[[str], None],
) -> Row:
    sides = sides_of(kind, shape)
    jax = peer("jax")
    if jax is not None and shape in with_jax:
        x, cell = _input(shape), recurra.from_torch(torch_layers.make(kind, shape[2]))
        sides["JAX"] = jax.Training(kind, cell, x)
    target = _targets(kind, shape[1] == 1)

    def values(times: Times) -> dict[str, Value]:
        found = {f"{name} ms": times.time(name) for name in sides}
        found[TORCH] = times.ratio("torch.nn", "recurra", target[TORCH])
        if "JAX" in sides:
            found[JAX] = times.ratio("JAX", "recurra", target[JAX])
        return found

    say(f"training: {kind} {shape_of(*shape)}")
    return race((kind, shape_of(*shape), GATED if kind == "LSTM" else PLAIN), sides, values, effort)


def _targets(kind: str, single: bool) -> dict[str, Target]:
    if single:
        return {TORCH: least(2 if kind == "LSTM" else 25), JAX: least(2)}
    return dict.fromkeys((TORCH, JAX), least(0.95 if kind == "LSTM" else 1.3))


def _input(shape: tuple[int, int, int]) -> torch.Tensor:
    time, batch, hidden = shape
    return torch.randn(batch, time, hidden, generator=torch.Generator().manual_seed(1))


def sides_of(kind: str, shape: tuple[int, int, int]) -> dict[str, Side]:
    """Recurra's layer and torch's, with the same weights, training on the same batch."""
    theirs, x = torch_layers.make(kind, shape[2]), _input(shape)
    ours, x_first = recurra.from_torch(theirs), torch_layers.time_first(x)
    return {
        "recurra": Training(ours, lambda: ours(x)[0]),
        "torch.nn": Training(theirs, lambda: theirs(x_first)[0], torch_layers.names_of(kind), time_first=True),
    }


def _twin(kind: str, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    theirs, x = torch_layers.make(kind, shape[2]), torch_layers.time_first(_input(shape))
    twin = recurra.fuse(copy.deepcopy(theirs), report=None)
    sides: dict[str, Side] = {
        "twin": Training(twin, lambda: twin(x)[0], time_first=True),
        "torch.nn": Training(theirs, lambda: theirs(x)[0], time_first=True),
    }

    def values(times: Times) -> dict[str, Value]:
        shown = {f"{name} ms": times.time(name) for name in sides}
        return {**shown, "torch.nn / twin": times.ratio("torch.nn", "twin", least(0.95))}

    say(f"training: {kind} twin {shape_of(*shape)}")
    return race((f"{kind} twin", shape_of(*shape), ""), sides, values, effort)
