"""What each kind of dropout drops, by brute force from the masks themselves."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import (
    GRU,
    LSTM,
    Dropout,
    Readout,
    RecurrentDropout,
    Stack,
    State,
    VariationalDropout,
    Zoneout,
    tree,
    use_backend,
)
from recurra.errors import ConfigError
from recurra.layers.noise import dropped

B, T, H = 5, 9, 20


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with use_backend("reference"):
        yield


def ones() -> Tensor:
    return torch.ones(B, T, H)


def test_dropout_drops_other_units_at_every_step_and_scales_the_rest() -> None:
    y, state = Dropout(0.25)(ones())
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1 / 0.75]))
    zero = y == 0
    assert not any(torch.equal(zero[:, t], zero[:, t + 1]) for t in range(T - 1))
    assert not any(torch.equal(zero[b], zero[b + 1]) for b in range(B - 1))
    assert state.time.tolist() == [T] * B


def test_variational_dropout_drops_the_same_units_at_every_step() -> None:
    y, _ = VariationalDropout(0.25)(ones())
    torch.testing.assert_close(y.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert not any(torch.equal(y[b], y[b + 1]) for b in range(B - 1))


@pytest.mark.parametrize("layer", [Dropout(0.3), VariationalDropout(0.3)])
def test_mean_is_kept(layer: Any) -> None:
    y, _ = layer(torch.ones(400, 1, 500))
    assert abs(y.mean().item() - 1) < 0.01


@pytest.mark.parametrize("layer", [Dropout(0.3), VariationalDropout(0.3)])
def test_evaluation_drops_nothing(layer: Any) -> None:
    x = torch.randn(B, T, H)
    assert torch.equal(layer.eval()(x)[0], x)


@pytest.mark.parametrize("layer", [Dropout(0.3), VariationalDropout(0.3)])
def test_each_call_without_a_state_draws_anew(layer: Any) -> None:
    assert not torch.equal(layer(ones())[0], layer(ones())[0])


def test_a_carried_state_keeps_the_variational_choice_until_renewed() -> None:
    layer = VariationalDropout(0.5)
    y, state = layer(ones())
    assert torch.equal(layer(ones(), state)[0], y)
    assert not torch.equal(layer(ones(), layer.renew(state))[0], y)


def test_dropout_goes_on_counting_after_lengths() -> None:
    layer = Dropout(0.5)
    start = layer.initial_state(3, torch.empty(0))
    whole, _ = layer(torch.ones(3, 12, H), start)
    _, state = layer(torch.ones(3, 5, H), start, [5, 0, 2])
    later, _ = layer(torch.ones(3, 4, H), state)
    for row, begin in enumerate([5, 0, 2]):
        assert torch.equal(later[row], whole[row, begin : begin + 4])


def test_dropped_features_get_no_gradient() -> None:
    x = ones().requires_grad_()
    y, _ = Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def mask_of(seed: Tensor, p: float) -> Tensor:
    keep = ~dropped(p, seed, torch.zeros_like(seed), (H,))
    return keep.double() / (1 - p)


def test_recurrent_dropout_masks_h_before_u_and_nothing_else() -> None:
    cell = LSTM(3, H, dtype=torch.float64)
    layer, x = RecurrentDropout(cell, 0.4), torch.randn(B, T, 3, dtype=torch.float64)
    state = layer.initial_state(B, x)
    y, last = layer(x, state)
    mask, inner = mask_of(state.seed, 0.4), state.layer
    for t in range(T):
        i, f, g, o = ((mask * inner.h) @ cell.U.T + x[:, t] @ cell.W.T + cell.b).chunk(4, -1)
        c = f.sigmoid() * inner.c + i.sigmoid() * g.tanh()
        inner = State(h=o.sigmoid() * c.tanh(), c=c)
        torch.testing.assert_close(y[:, t], inner.h, rtol=0, atol=1e-12)
    torch.testing.assert_close(last.layer.c, inner.c, rtol=0, atol=1e-12)
    assert torch.equal(last.seed, state.seed)


def test_recurrent_dropout_is_the_cell_in_evaluation() -> None:
    cell, x = GRU(3, H), torch.randn(B, T, 3)
    assert torch.equal(RecurrentDropout(cell, 0.4).eval()(x)[0], cell(x)[0])


def test_zoneout_keeps_units_exactly_or_moves_them_fully() -> None:
    cell = GRU(3, H, dtype=torch.float64)
    layer, x = Zoneout(cell, 0.4), torch.randn(B, T, 3, dtype=torch.float64)
    state = layer.initial_state(B, x)
    y, last = layer(x, state)
    h, kept = state.layer, 0
    for t in range(T):
        keep = dropped(0.4, state.seed, torch.full((B,), t), (H,))
        _, moved = cell.step(x[:, t], h)
        h = State(h=torch.where(keep, h.h, moved.h))
        torch.testing.assert_close(y[:, t], h.h, rtol=0, atol=1e-12)
        kept += int(keep.sum())
    assert 0.3 < kept / (B * T * H) < 0.5
    assert last.time.tolist() == [T] * B


def test_zoneout_has_a_rate_for_each_state_and_masks_of_their_own() -> None:
    layer = Zoneout(LSTM(3, 500), {"c": 0.5, "h": 0.1})
    assert layer.p == {"h": 0.1, "c": 0.5}
    state = layer.initial_state(1)
    keep = layer._keep(state, torch.zeros(1, dtype=torch.int64))
    assert 0.05 < keep.h.float().mean() < 0.16
    assert 0.43 < keep.c.float().mean() < 0.57
    same = Zoneout(LSTM(3, 500), 0.5)
    keep = same._keep(state, torch.zeros(1, dtype=torch.int64))
    assert not torch.equal(keep.h, keep.c)


def test_zoneout_in_evaluation_keeps_the_expected_share() -> None:
    cell = LSTM(3, H, dtype=torch.float64)
    layer, x = Zoneout(cell, {"h": 0.1, "c": 0.5}).eval(), torch.randn(B, T, 3, dtype=torch.float64)
    y, _ = layer(x)
    state = cell.initial_state(B, x)
    for t in range(T):
        _, moved = cell.step(x[:, t], state)
        state = State(h=0.1 * state.h + 0.9 * moved.h, c=0.5 * state.c + 0.5 * moved.c)
        torch.testing.assert_close(y[:, t], state.h, rtol=0, atol=1e-12)


def test_renew_keeps_the_memory_and_draws_other_noise() -> None:
    layer = Stack(
        RecurrentDropout(LSTM(3, H), 0.4),
        Zoneout(GRU(H, H), 0.4),
        Dropout(0.4),
        VariationalDropout(0.4),
        Readout(H, 2),
    )
    _, state = layer(torch.randn(B, T, 3))
    new = layer.renew(state)
    for name, before, after in zip(tree.names(state), tree.leaves(state), tree.leaves(new), strict=True):
        assert torch.equal(before, after) != name.endswith("seed"), name


@pytest.mark.parametrize("rate", [1.0, -0.5, True, "half"])
@pytest.mark.parametrize("kind", [Dropout, VariationalDropout])
def test_bad_rates_are_refused(kind: Any, rate: Any) -> None:
    with pytest.raises(ConfigError, match=f"{kind.__name__}: expected a rate 0 <= p < 1"):
        kind(rate)


def test_wrappers_of_cells_refuse_what_is_no_cell() -> None:
    for kind in (RecurrentDropout, Zoneout):
        with pytest.raises(ConfigError, match=f"{kind.__name__}: expected a rate"):
            kind(GRU(3, 5), 1.5)
        with pytest.raises(ConfigError, match=f"{kind.__name__}: expected a Gated cell such as LSTM, got Readout"):
            kind(Readout(3, 5))
    with pytest.raises(ConfigError, match=r"Zoneout: expected a rate for each of \('h', 'c'\), got \('h',\)"):
        Zoneout(LSTM(3, 5), {"h": 0.1})


def test_layers_print_their_rates() -> None:
    assert repr(Dropout(0.25)) == "Dropout(p=0.25)"
    assert "h=0.1, c=0.5" in repr(Zoneout(LSTM(3, 5), {"h": 0.1, "c": 0.5}))
    assert "p=0.3" in repr(RecurrentDropout(LSTM(3, 5), 0.3))
