"""Noise by hashing: it belongs to (seed, step, unit), and behaves as random numbers do.

The bounds are about five standard deviations of what independent draws would give, and the seeds are fixed.
"""

import math

import pytest
import torch

from recurra import use_backend
from recurra.errors import ConfigError
from recurra.layers.noise import check_rate, draw_seed, dropped

B, T, H = 64, 50, 64


def draws(p: float = 0.5, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return dropped(p, draw_seed(B, torch.empty(0)), torch.arange(T).expand(B, T), (H,))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


@pytest.mark.parametrize("p", [0.01, 0.1, 0.25, 0.5, 0.9, 0.999])
def test_rate_is_as_asked(p: float) -> None:
    found = draws(p).double()
    assert abs(found.mean().item() - p) < 5 * math.sqrt(p * (1 - p) / found.numel())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_row_step_and_unit_has_the_rate(axis: int) -> None:
    others = [i for i in range(3) if i != axis]
    means = draws(0.3).double().mean(others)
    count = B * T * H // len(means)
    assert (means - 0.3).abs().max() < 5 * math.sqrt(0.3 * 0.7 / count)
    assert means.std() > 0.3 * math.sqrt(0.3 * 0.7 / count), "too even to be random"


@pytest.mark.parametrize("distance", [1, 2, 3, 16])
def test_neighbours_in_row_step_and_unit_are_independent(distance: int) -> None:
    found = draws()
    bound = 5 / math.sqrt(found.numel() / 2)
    assert abs(correlation(found[distance:], found[:-distance])) < bound
    assert abs(correlation(found[:, distance:], found[:, :-distance])) < bound
    assert abs(correlation(found[:, :, distance:], found[:, :, :-distance])) < bound


def test_consecutive_seeds_are_independent() -> None:
    """Zoneout takes seed, seed + 1, ... for the tensors of one state."""
    seeds, step = torch.arange(20000), torch.zeros(20000, dtype=torch.int64)
    one, two = (dropped(0.5, seeds + i, step, (4,)) for i in range(2))
    assert abs(correlation(one, two)) < 5 / math.sqrt(80000)
    assert abs(one.double().mean().item() - 0.5) < 5 * 0.5 / math.sqrt(80000)


def test_pairs_of_units_take_all_four_values_equally_often() -> None:
    found = draws().long()
    for other in (1, 5, 32):
        pairs = (2 * found[..., other:] + found[..., :-other]).flatten().bincount(minlength=4).double()
        assert (pairs / pairs.sum() - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / float(pairs.sum()))


def test_a_number_depends_on_seed_step_and_unit_alone() -> None:
    torch.manual_seed(0)
    seed, steps = draw_seed(B, torch.empty(0)), torch.arange(T).expand(B, T)
    whole = dropped(0.5, seed, steps, (H,))
    assert torch.equal(dropped(0.5, seed[7:9], steps[7:9, 20:], (H,)), whole[7:9, 20:])
    assert torch.equal(dropped(0.5, seed, steps[:, 13], (H,)), whole[:, 13])
    assert torch.equal(dropped(0.5, seed, steps, (H // 2,)), whole[..., : H // 2])
    assert torch.equal(dropped(0.5, seed, steps, (8, H // 8)).flatten(2), whole)


def test_a_higher_rate_drops_what_a_lower_one_does() -> None:
    low, high = draws(0.2), draws(0.6)
    assert bool((high | ~low).all())
    assert high.sum() > low.sum()


def lowbias32(z: int) -> int:
    """Wellons' mixer on Python's own integers."""
    z ^= z >> 16
    z = z * 0x7FEB352D % 2**32
    z ^= z >> 15
    z = z * 0x846CA68B % 2**32
    return z ^ z >> 16


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 1), (12345, 7), (2**31 - 1, 1000), (2**31, 2**31 + 5)])
def test_numbers_are_the_documented_hash(seed: int, step: int) -> None:
    """A saved state holds seeds: another hash would continue it with other masks."""
    start = lowbias32(seed ^ lowbias32(step % 2**32))
    signed = [(lowbias32(start ^ lowbias32(unit + 1)) + 2**31) % 2**32 for unit in range(33)]
    for p in (0.1, 0.5, 0.9):
        found = dropped(p, torch.tensor([seed]), torch.tensor([step]), (33,))
        assert found[0].tolist() == [number < int(p * 2**32) for number in signed]


def test_seeds_come_from_torchs_generator() -> None:
    torch.manual_seed(4)
    one, two = draw_seed(5, torch.empty(0)), draw_seed(5, torch.empty(0))
    torch.manual_seed(4)
    assert torch.equal(draw_seed(5, torch.empty(0)), one)
    assert not torch.equal(one, two)
    assert one.dtype == torch.int64
    assert bool(((one >= 0) & (one < 2**31)).all())


@pytest.mark.parametrize("p", [1, 1.0, -0.1, True, "0.5", None, float("nan")])
def test_a_rate_is_a_number_below_one(p: object) -> None:
    with pytest.raises(ConfigError, match="Zoneout: expected a rate 0 <= p < 1, got"):
        check_rate("Zoneout", p)


def test_rates_may_be_whole_zero() -> None:
    assert check_rate("Dropout", 0) == 0.0
    assert not draws(0.0).any()


@pytest.mark.parametrize("shape", [(7,), (64,), (3, 33)])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.99])
def test_compiled_bits_are_the_same(p: float, shape: tuple[int, ...]) -> None:
    seed, step = torch.randint(2**31, (40,)), torch.arange(100).expand(40, 100)
    with use_backend("reference"):
        want = dropped(p, seed, step, shape)
    assert torch.equal(dropped(p, seed, step, shape), want)
