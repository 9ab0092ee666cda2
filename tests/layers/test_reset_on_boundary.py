"""Memory cleared at boundaries: pieces side by side equal one step after another."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    GatedDelta,
    Readout,
    Recurrent,
    ResetOnBoundary,
    Stack,
    Stepwise,
    Stream,
    VariationalDropout,
    Zoneout,
    tree,
)
from recurra.errors import BoundaryError, ConfigError, ShapeError
from recurra.testing import check_layer


class Marked(Stepwise):
    """The last feature made a boundary, since laws are examined with random numbers: 1 where it is large."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.input_shape = self.output_shape = (size,)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return ()

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return torch.cat([x[..., :-1], (x[..., -1:] > 0.5).to(x)], -1), ()


TIME = ("padded row", "unread padding", "last state gradient", "steps", "chunks", "training", "no future")
LAYERS: dict[str, tuple[Callable[[], Recurrent], tuple[str, ...] | None]] = {
    "rnn": (lambda: RNN(3, 4), None),
    "learned first state": (lambda: GRU(3, 5, initial="learned"), (*TIME, "initial state")),
    "matrix memory": (lambda: GatedDelta(3, 6, heads=2), TIME),
    "noise": (
        lambda: Stack(VariationalDropout(0.3), Zoneout(RNN(3, 4), 0.3), Readout(4, 2)),
        (*TIME, "renewed state", "no hidden memory"),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_laws(name: str) -> None:
    make, laws = LAYERS[name]
    check_layer(lambda: Stack(Marked(4), ResetOnBoundary(make())), only=laws)


def marked(batch: int, time: int, share: float, features: int = 3) -> Tensor:
    """x in float64 with boundaries at a share of its steps."""
    generator = torch.Generator().manual_seed(round(100 * share))
    first = torch.rand(batch, time, 1, generator=generator) < share
    x = torch.randn(batch, time, features, generator=generator, dtype=torch.float64)
    return torch.cat([x, first.double()], -1)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("lengths", [None, [40, 0, 1, 17]])
def test_pieces_equal_one_step_after_another(share: float, lengths: list[int] | None) -> None:
    torch.manual_seed(0)
    layer = ResetOnBoundary(LSTM(3, 5, dtype=torch.float64, initial="learned"))
    start = tree.map(lambda leaf: torch.randn_like(leaf).requires_grad_(), layer.initial_state(4, marked(4, 1, 0)))
    x = marked(4, 40, share)
    ends = None if lengths is None else torch.tensor(lengths)
    results = []
    for run in (lambda x: layer(x, start, ends), lambda x: Stepwise.sequence(layer, x, start, ends)):
        given = x.clone().requires_grad_()
        y, state = run(given)
        y = y if ends is None else y.masked_fill(torch.arange(40)[:, None] >= ends[:, None, None], 0)
        leaves = [y, *tree.leaves(state)]
        flows = [torch.randn(leaf.shape, generator=torch.Generator().manual_seed(1)).double() for leaf in leaves]
        into = [given, *tree.leaves(start), *layer.parameters()]
        found = torch.autograd.grad(leaves, into, flows, allow_unused=True)
        nothing = [torch.zeros_like(tensor) for tensor in into]
        results.append([*leaves, *(n if g is None else g for n, g in zip(nothing, found, strict=True))])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def test_documents_are_read_as_if_alone() -> None:
    torch.manual_seed(0)
    layer = GatedDelta(3, 4, heads=2)
    documents = [torch.randn(1, length, 3) for length in (5, 1, 9)]
    first = torch.zeros(1, 15)
    first[0, [0, 5, 6]] = 1
    y, _ = ResetOnBoundary(layer)(torch.cat([torch.cat(documents, 1), first[..., None]], -1))
    want = torch.cat([layer(document)[0] for document in documents], 1)
    torch.testing.assert_close(y, want, atol=1e-6, rtol=1e-5)


def test_a_document_runs_on_into_the_next_call() -> None:
    layer, x = ResetOnBoundary(RNN(3, 4, dtype=torch.float64)), marked(2, 30, 0.1)
    whole, last = layer(x)
    state, outputs = None, []
    for part in x.split(7, 1):
        y, state = layer(part, state)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(state, last)


def test_pieces_run_side_by_side() -> None:
    """A call for each power of two among the lengths, whatever their number, and little padding."""
    inner = RNN(3, 4)
    calls: list[tuple[int, int]] = []
    inner.register_forward_pre_hook(lambda module, given: calls.append(tuple(given[0].shape[:2])))
    x = torch.zeros(1, 1024, 4)
    x[0, 512:, 3] = 1  # one document of 512 steps and 512 of a single one
    ResetOnBoundary(inner)(x)
    assert sorted(calls) == [(1, 512), (512, 1)]
    calls.clear()
    x = marked(8, 500, 0.05).float()
    ResetOnBoundary(inner)(x)
    assert len(calls) <= 9
    assert sum(rows * steps for rows, steps in calls) < 2 * 8 * 500 + 500


def test_noise_begins_again_with_the_document() -> None:
    torch.manual_seed(0)
    layer = ResetOnBoundary(VariationalDropout(0.5))
    x = torch.cat([torch.ones(1, 8, 20), torch.zeros(1, 8, 1)], -1)
    x[0, 4, -1] = 1
    y, state = layer(x)
    assert torch.equal(y[0, 4], y[0, 0])
    z, _ = layer(x, layer.renew(state))
    assert not torch.equal(z[0, 4], y[0, 4])


def test_a_stream_forgets_too() -> None:
    layer = RNN(3, 4)
    stream = Stream(ResetOnBoundary(layer))
    stream.push(torch.randn(1, 4).index_fill(1, torch.tensor([3]), 0))
    x = torch.randn(1, 3)
    y = stream.push(torch.cat([x, torch.ones(1, 1)], -1))
    torch.testing.assert_close(y, layer.step(x)[0].detach())


def test_what_is_no_boundary_is_refused() -> None:
    layer = ResetOnBoundary(RNN(3, 4))
    x = torch.zeros(2, 5, 4)
    x[1, 3, 3] = 0.5
    with pytest.raises(BoundaryError, match=r"last feature of x to be 0 or 1, got 0.5 in row 1 at step 3"):
        layer(x)
    layer(x, None, [5, 3])  # in the padding nobody looks
    x[1, 3, 3] = torch.nan
    with pytest.raises(BoundaryError, match="got nan"):
        layer(x)
    with pytest.raises(ShapeError, match=r"expected x of shape \(B, T, 4\), got \(2, 5, 3\)"):
        layer(x[..., :3])


def test_layers_that_cannot_be_reset_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected a causal recurrent layer, got Bidirectional"):
        ResetOnBoundary(Bidirectional(RNN(3, 4), RNN(3, 4)))
    with pytest.raises(ConfigError, match="got Linear"):
        ResetOnBoundary(torch.nn.Linear(3, 4))  # type: ignore[arg-type]
    frames = Dropout(0.1)
    frames.input_shape = (3, 4, 4)
    with pytest.raises(ShapeError, match=r"got Dropout of \(3, 4, 4\)"):
        ResetOnBoundary(frames)
