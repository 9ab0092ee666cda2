"""The gated loop and torch's functions for it: ragged rows cut into segments, and what each variant refuses."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra import GRU, LSTM, RNN, Gated, LayerNormLSTM, RecurrentDropout, Zoneout, tree, use_backend
from recurra.kernels.recurrence import Call, define, keep_some, recurrence
from recurra.kernels.torch_functions import cuts

lists = st.lists(st.integers(0, 20), max_size=12)
TORCH_CELLS = {
    "rnn": lambda: RNN(3, 5),
    "rnn relu": lambda: RNN(3, 5, activation="relu"),
    "lstm": lambda: LSTM(3, 5),
    "gru": lambda: GRU(3, 5),
}


def cell(name: str, scale: float = 0.5) -> Gated:
    """A cell in float64 with no parameter at 0."""
    torch.manual_seed(0)
    layer = TORCH_CELLS[name]().double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return layer


def state_of(layer: Gated, batch: int) -> Any:
    torch.manual_seed(1)
    zeros = layer.initial_state(batch, torch.zeros(0, dtype=torch.float64))
    return tree.map(lambda leaf: torch.randn_like(leaf).requires_grad_(), zeros)


def values_and_gradients(layer: Gated, backend: str, x: Tensor, lengths: list[int]) -> list[Tensor]:
    x, state = x.clone().requires_grad_(), state_of(layer, len(x))
    with use_backend(backend):
        y, last = layer(x, state, lengths)
    ends = [y, *tree.leaves(last)]
    torch.manual_seed(2)
    total = sum((end * torch.randn_like(end)).sum() for end in ends)
    inputs = [x, *tree.leaves(state), *layer.parameters()]
    gradients = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
    return [tensor.detach() for tensor in (*ends, *gradients)]


def assert_same(got: list[Tensor], want: list[Tensor], tolerance: float = 1e-10) -> None:
    for a, b in zip(got, want, strict=True):
        assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max()))


@given(lists)
def test_cuts_rise_to_the_longest_row(ends: list[int]) -> None:
    found = cuts(torch.tensor(ends, dtype=torch.int64))
    assert found == sorted(set(found))
    assert found[-1:] == ([max(ends)] if any(ends) else [])
    assert 0 not in found


@given(lists)
def test_cuts_cost_at_most_twice_the_sum_of_lengths(ends: list[int]) -> None:
    lengths, begin, cost = torch.tensor(ends, dtype=torch.int64), 0, 0
    for end in cuts(lengths):
        cost += (end - begin) * int((lengths > begin).sum())
        begin = end
    assert cost <= 2 * sum(ends)


def test_half_of_the_rows_end_in_each_segment() -> None:
    assert cuts(torch.tensor([19, 19, 19])) == [19]
    assert cuts(torch.tensor([1, 2, 3, 4, 5, 6, 7, 8])) == [4, 6, 7, 8]
    assert cuts(torch.tensor([0, 0, 0, 5])) == [5]


@pytest.mark.parametrize("name", TORCH_CELLS)
@settings(max_examples=12, deadline=None)
@given(ends=st.lists(st.integers(0, 7), min_size=1, max_size=6), more=st.integers(0, 2))
def test_torch_variant_equals_the_definition_on_ragged_rows(name: str, ends: list[int], more: int) -> None:
    time = max(1, max(ends) + more)  # whole columns of padding too
    layer = cell(name)
    x = torch.randn(len(ends), time, 3, dtype=torch.float64)
    want = values_and_gradients(layer, "reference", x, ends)
    assert_same(values_and_gradients(layer, "torch", x, ends), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cell_state_is_held_however_large_the_weights(dtype: torch.dtype) -> None:
    """Padding holds c by closing the input gate; no other term may be strong enough to open it."""
    layer = cell("lstm", scale=1e4).to(dtype)
    x = 1e4 * torch.randn(3, 9, 3, dtype=dtype)
    state = tree.map(lambda leaf: leaf.detach().to(dtype), state_of(layer, 3))
    with use_backend("torch"):
        _, last = layer(x, state, [4, 0, 9])
        _, alone = layer(x[:1, :4], tree.rows(state, slice(0, 1)))
    assert torch.equal(last.c[1], state.c[1])
    assert torch.allclose(last.c[0], alone.c[0], rtol=1e-6)


def test_a_watched_row_does_not_depend_on_how_rows_are_cut() -> None:
    layer, x = cell("lstm"), torch.randn(8, 20, 3, dtype=torch.float64)
    state = tree.detach(state_of(layer, 8))
    want = layer(x[:1, :6], tree.rows(state, slice(0, 1)))[1]
    for others in ([20] * 7, [0] * 7, [6] * 7, [1, 2, 3, 4, 5, 7, 20]):
        _, last = layer(x, state, [6, *others])
        found = [leaf[:1].detach() for leaf in last]
        assert_same(found, [leaf.detach() for leaf in want])


def run_of(layer: Gated, x: Tensor, **more: Any) -> Call:
    return Call(layer, x, layer.initial_state(len(x), x), layer.weights(), **more)


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        (LSTM, {}, ""),
        (LSTM, {"lengths": torch.tensor([2, 0])}, ""),
        (LayerNormLSTM, {}, "no function for this equation"),
        (GRU, {"dropout": torch.ones(2, 5)}, "no dropout of the recurrent product"),
        (GRU, {"keep": tree.State(h=torch.zeros(1, 1, 1))}, "no zoneout"),
    ],
)
def test_torch_says_why_it_refuses(kind: type[Gated], more: dict[str, Any], reason: str) -> None:
    x = torch.randn(2, 4, 3, dtype=torch.float64)  # float64 is not for the fused kernel
    variant, refused = recurrence.choose(run_of(kind(3, 5).double(), x, **more))
    assert (variant.name == "torch") == (not reason)
    assert reason in refused.get("torch", "")


def test_a_users_cell_does_not_inherit_torchs_function() -> None:
    """Whoever changes the equation of an LSTM by a subclass must not get torch's."""

    class Coupled(LSTM):
        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            f = torch.sigmoid(x.f + u.f)
            c = f * s.c + (1 - f) * torch.tanh(x.g + u.g)
            return tree.State(h=torch.sigmoid(x.o + u.o) * torch.tanh(c), c=c)

    assert recurrence.choose(run_of(Coupled(3, 5), torch.randn(2, 4, 3)))[0].name == "fused"
    assert recurrence.choose(run_of(Coupled(3, 5).double(), torch.randn(2, 4, 3).double()))[0].name == "reference"


def test_zoneout_keeps_a_share_of_each_state() -> None:
    layer, x = cell("lstm"), torch.randn(2, 4, 3, dtype=torch.float64)
    keep = tree.State(h=torch.rand(2, 4, 5).double(), c=torch.rand(2, 4, 5).double())
    y, last = define(run_of(layer, x, keep=keep))
    state = layer.initial_state(2, x)
    for t in range(4):
        _, after = layer.step(x[:, t], state)
        mixed = [k[:, t] * a + (1 - k[:, t]) * b for k, a, b in zip(keep, state, after, strict=True)]
        state = tree.State(h=mixed[0], c=mixed[1])
        assert torch.allclose(y[:, t], state.h, atol=1e-14)
    assert torch.allclose(last.c, state.c, atol=1e-14)


def test_keep_is_the_share_of_the_old() -> None:
    before, after = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 6.0, 7.0])
    assert keep_some(torch.tensor([1.0, 0.0, 0.5]), before, after).tolist() == [1, 6, 5]


def test_a_call_describes_itself() -> None:
    call = run_of(GRU(3, 5), torch.randn(2, 4, 3), lengths=torch.tensor([1, 2]))
    assert str(call) == "GRU(3 -> 5) on B=2, T=4, ragged"


def test_wrappers_of_a_cell_explain_themselves() -> None:
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    dropped, kept = RecurrentDropout(LSTM(3, 5)).double(), Zoneout(GRU(3, 5)).double()
    assert "torch refused: torch's functions have no dropout of the recurrent product" in dropped.explain(x)
    assert "torch refused: torch's functions have no zoneout" in kept.explain(x)
    assert "torch ran" in dropped.eval().explain(x)
