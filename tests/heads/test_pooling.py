"""Poolings against brute force over the valid steps of each row, and against themselves step by step."""

import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError, LengthsError, ShapeError
from recurra.heads.pooling import (
    POOLINGS,
    AttentivePooling,
    Concatenation,
    LastPooling,
    MaxPooling,
    MeanPooling,
    Pooling,
    pooling,
)

LENGTHS = torch.tensor([5, 1, 0, 19])


def attentive(size: int) -> Pooling:
    return AttentivePooling(size, units=7, hops=3)


ALL = pytest.mark.parametrize(
    "make",
    [*POOLINGS.values(), attentive, lambda size: LastPooling(size, 4), lambda size: pooling("last+max+mean", size)],
    ids=[*POOLINGS, "hops", "both ends", "concatenation"],
)


def outputs(poison: float = torch.nan) -> Tensor:
    torch.manual_seed(3)
    y = torch.randn(4, 23, 6, dtype=torch.float64)
    for row, length in zip(y, LENGTHS, strict=True):
        row[length:] = poison
    return y


def by_hand(pool: Pooling, steps: Tensor) -> Tensor:
    """The pooled vector of the steps ``(T, size)`` of one row."""
    if not len(steps):
        return steps.new_zeros(pool.output_size)
    if isinstance(pool, Concatenation):
        return torch.cat([by_hand(part, steps) for part in pool.parts])
    if isinstance(pool, LastPooling):
        ahead = pool.size - pool.back
        return torch.cat([steps[-1, :ahead], steps[0, ahead:]])
    if isinstance(pool, AttentivePooling):
        scores = torch.stack(
            [pool.query.weight @ (pool.hidden.weight @ y + pool.hidden.bias).tanh() for y in steps]
        )
        weights = scores.exp() / scores.exp().sum(0)
        return torch.cat([sum(w * y for w, y in zip(hop, steps, strict=True)) for hop in weights.T])
    return steps.max(0).values if isinstance(pool, MaxPooling) else sum(steps) / len(steps)


@ALL
def test_equals_brute_force_over_valid_steps(make) -> None:
    pool, y = make(6).double(), outputs()
    found = pool(y, LENGTHS)
    assert found.shape == (4, pool.output_size)
    expected = torch.stack([by_hand(pool, row[:length]) for row, length in zip(y, LENGTHS, strict=True)])
    assert torch.allclose(found, expected, atol=1e-12)


@ALL
def test_padding_is_not_read_not_even_by_a_gradient(make) -> None:
    pool = make(6).double()
    gradients = []
    for poison in (0.0, torch.nan):
        y = outputs(poison).requires_grad_()
        found = torch.autograd.grad(pool(y, LENGTHS).square().sum(), [y, *pool.parameters()])
        assert all(part.isfinite().all() for part in found)
        gradients.append(found)
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
    assert not gradients[0][0][2].any()


@ALL
def test_steps_equal_the_whole(make) -> None:
    pool, y = make(6).double(), outputs(0.5)
    if any(isinstance(part, LastPooling) and part.back for part in pool.modules()):
        pytest.skip("a network that reads backwards has no steps")
    state = pool.initial_state(4, y)
    for t in range(y.shape[1]):
        found, state = pool.step(y[:, t], state)
        assert torch.allclose(found, pool(y[:, : t + 1]), atol=1e-12)


@ALL
def test_no_steps_at_all_give_zeros(make) -> None:
    pool = make(6)
    assert torch.equal(pool(torch.empty(2, 0, 6)), torch.zeros(2, pool.output_size))
    assert pool(torch.empty(0, 3, 6), []).shape == (0, pool.output_size)


def test_attention_survives_scores_that_overflow() -> None:
    pool = AttentivePooling(2, units=2)
    with torch.no_grad():
        pool.query.weight.fill_(3e4)
        pool.hidden.weight.copy_(torch.eye(2))
        pool.hidden.bias.zero_()
    y = torch.tensor([[[9.0, 9.0], [-9.0, -9.0], [9.0, 9.0]]])
    assert torch.equal(pool(y), torch.tensor([[9.0, 9.0]]))
    state = pool.initial_state(1, y)
    for t in range(3):
        found, state = pool.step(y[:, t], state)
    assert torch.equal(found, torch.tensor([[9.0, 9.0]]))


def test_weights_of_attention_add_up_to_one() -> None:
    weights = attentive(6).double().weights(outputs(), LENGTHS)
    assert torch.allclose(weights.sum(1), (LENGTHS > 0).double()[:, None].expand(4, 3))
    assert not weights[1, 1:].any()


def test_names_and_mistakes() -> None:
    both = pooling("max + mean", 6)
    assert [type(part) for part in both.parts] == [MaxPooling, MeanPooling]
    assert both.output_size == 12
    assert pooling("last", 6, back=3).back == 3
    with pytest.raises(ConfigError, match="unknown 'maximum' in 'maximum\\+mean'; did you mean 'max'"):
        pooling("maximum+mean", 6)
    with pytest.raises(ConfigError, match="expected different ones"):
        pooling("max+max", 6)
    with pytest.raises(ShapeError, match=r"MaxPooling: expected y of shape \(B, T, 6\), got \(2, 6\)"):
        MaxPooling(6)(torch.zeros(2, 6))
    with pytest.raises(LengthsError, match="got 4 in row 1"):
        MaxPooling(6)(torch.zeros(2, 3, 6), [3, 4])
    with pytest.raises(ShapeError, match="poolings of one size"):
        Concatenation(MaxPooling(6), MaxPooling(5))
