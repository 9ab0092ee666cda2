"""Layers made of layers equal what their parts compute, put together by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from recurra import GRU, LSTM, RNN, Bidirectional, Dropout, Readout, Recurrent, Residual, Stack, tree, use_backend
from recurra.errors import ConfigError, NotCausalError, ShapeError

LENGTHS = [6, 0, 1, 4]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with use_backend("reference"):
        yield


def sequences(features: int = 3) -> torch.Tensor:
    return torch.randn(4, 6, features)


def test_stack_feeds_each_layer_the_outputs_below() -> None:
    below, above = LSTM(3, 5), GRU(5, 4)
    stack, x = Stack(below, above), sequences()
    y, (low, high) = stack(x, None, LENGTHS)
    middle, want_low = below(x, None, LENGTHS)
    want, want_high = above(middle, None, LENGTHS)
    assert torch.equal(y, want)
    for got, expected in zip(tree.leaves((low, high)), tree.leaves((want_low, want_high)), strict=True):
        assert torch.equal(got, expected)


def test_stack_knows_its_shapes_through_layers_that_take_any() -> None:
    stack = Stack(Dropout(0.1), LSTM(3, 5), Dropout(0.1), Residual(Dropout(0.1)), Readout(5, 2), Dropout(0.1))
    assert stack.input_shape == (3,)
    assert stack.output_shape == (2,)
    assert Stack(Dropout(0.1)).input_shape is None
    with pytest.raises(ShapeError, match=r"Stack: expected x of shape \(B, T, 3\), got \(4, 6, 4\)"):
        stack(sequences(4))


def test_stack_is_a_sequence_of_its_layers() -> None:
    layers = [LSTM(3, 5), Dropout(0.1), Readout(5, 2)]
    stack = Stack(*layers)
    assert list(stack) == layers
    assert len(stack) == 3
    assert stack[-1] is layers[-1]
    assert "layers.0.W" in stack.state_dict()


def test_an_empty_stack_passes_x_on() -> None:
    x = sequences()
    y, state = Stack()(x)
    assert torch.equal(y, x)
    assert state == ()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Stack(LSTM(3, 5), GRU(4, 2)), ShapeError, r"Stack: layer 1 \(GRU\) expects \(4,\).*gives \(5,\)"),
        (lambda: Stack(LSTM(3, 5), Dropout(0.1), GRU(4, 2)), ShapeError, r"layer 2 \(GRU\) expects \(4,\)"),
        (lambda: Stack(LSTM(3, 5), nn.Linear(5, 2)), ConfigError, "got Linear; a linear layer is recurra.Readout"),
        (lambda: Residual(nn.Dropout(0.1)), ConfigError, "Residual: expected recurrent layers, got Dropout"),
        (lambda: Residual(GRU(3, 5)), ShapeError, r"equal input and output, got \(3,\) -> \(5,\)"),
        (lambda: Bidirectional(GRU(3, 5), GRU(4, 5)), ShapeError, r"got input \(3,\) and \(4,\)"),
        (
            lambda: Bidirectional(GRU(3, 5), GRU(3, 4), "sum"),
            ShapeError,
            r"needs equal outputs, got \(5,\) and \(4,\)",
        ),
        (lambda: Bidirectional(GRU(3, 5), GRU(3, 5), "max"), ConfigError, "merge to be one of .*got 'max'"),
        (lambda: Bidirectional(*[GRU(3, 5)] * 2), ConfigError, "both directions are the same object"),
    ],
)
def test_layers_that_do_not_fit_are_refused(
    make: Callable[[], Recurrent], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_residual_adds_its_input() -> None:
    layer, x = GRU(3, 3), sequences()
    y, state = Residual(layer)(x, None, LENGTHS)
    want, want_state = layer(x, None, LENGTHS)
    valid = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
    assert torch.equal(y, (x + want) * valid[..., None])
    assert torch.equal(state.h, want_state.h)


def test_residual_gives_gradients_a_way_past_the_layer() -> None:
    layer = Residual(GRU(3, 3))
    nn.init.zeros_(layer.layer.W)
    x = sequences().requires_grad_()
    layer(x)[0].sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("merge", ["concat", "sum", "mean"])
def test_bidirectional_reads_each_row_from_both_ends(merge: str) -> None:
    ahead, back = GRU(3, 5), GRU(3, 5)
    layer, x = Bidirectional(ahead, back, merge), sequences()
    y, (first, second) = layer(x, None, LENGTHS)
    for row, end in enumerate(LENGTHS):
        a, last_a = ahead(x[row : row + 1, :end])
        b, last_b = back(x[row : row + 1, :end].flip(1))
        b = b.flip(1)
        want = {"concat": torch.cat([a, b], 2), "sum": a + b, "mean": (a + b) / 2}[merge]
        torch.testing.assert_close(y[row, :end], want[0])
        assert not y[row, end:].any()
        torch.testing.assert_close(first.h[row], last_a.h[0])
        torch.testing.assert_close(second.h[row], last_b.h[0])


def test_bidirectional_shapes() -> None:
    assert Bidirectional(LSTM(3, 5), GRU(3, 4)).output_shape == (9,)
    assert Bidirectional(LSTM(3, 5), GRU(3, 5), "sum").output_shape == (5,)
    both = Stack(Bidirectional(LSTM(3, 5), GRU(3, 4)), Readout(9, 2))
    assert both(sequences())[0].shape == (4, 6, 2)


@pytest.mark.parametrize(
    "layer",
    [
        Bidirectional(RNN(3, 3), RNN(3, 3), "sum"),
        Stack(Bidirectional(RNN(3, 2), RNN(3, 2)), GRU(4, 2)),
        Residual(Bidirectional(RNN(3, 3), RNN(3, 3), "mean")),
    ],
)
def test_what_needs_the_future_has_no_step(layer: Recurrent) -> None:
    assert layer.causal is False
    with pytest.raises(NotCausalError, match="needs the whole sequence and has no single step; call it on x"):
        layer.step(torch.randn(4, 3))
    with pytest.raises(RuntimeError, match="train a causal layer"):
        layer.step(torch.randn(4, 3), layer.initial_state(4))


def test_causal_layers_make_causal_stacks() -> None:
    assert Stack(LSTM(3, 5), Residual(GRU(5, 5)), Readout(5, 2)).causal


def test_wrappers_print_what_they_hold() -> None:
    text = repr(Stack(Bidirectional(RNN(3, 2), RNN(3, 2), "sum"), Residual(GRU(2, 2))))
    for part in ("Stack(", "merge='sum'", "(ahead): RNN", "(back): RNN", "Residual("):
        assert part in text


def test_a_deep_stack_states_its_memory_by_name() -> None:
    stack: Any = Stack(LSTM(3, 5), Dropout(0.1), Stack(GRU(5, 4), Readout(4, 2)))
    assert tree.names(stack.initial_state(2)) == ["0.h", "0.c", "1.seed", "1.time", "2.0.h"]
