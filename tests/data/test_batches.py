"""Batches of rows: every row once an epoch, the same for the same number, little padding, noise by epoch."""

from itertools import chain
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from recurra.data.batches import RowBatches
from recurra.errors import ConfigError


class Rows(NamedTuple):
    numbers: Tensor
    lengths: Tensor
    noise: Tensor


LENGTHS = torch.randperm(97, generator=torch.Generator().manual_seed(1)).add(1).tolist()


def collate(rows: list[int], random: torch.Generator) -> Rows:
    noise = torch.rand(len(rows), generator=random)
    return Rows(torch.tensor(rows), torch.tensor([LENGTHS[row] for row in rows]), noise)


def batches(batch: int, **settings: object) -> RowBatches:
    return RowBatches(range(97), LENGTHS, collate, batch, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{}, {"pool": 3}, {"unit": "steps"}, {"unit": "steps", "pool": 4}])
def test_an_epoch_holds_every_row_once_in_another_order(settings: dict[str, object]) -> None:
    source = batches(150 if "unit" in settings else 8, shuffled=True, **settings)
    epochs = [list(chain(*(b.numbers.tolist() for b in source.epoch(number)))) for number in (0, 1, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(97))
    assert epochs[0] != epochs[1] == epochs[2]


def test_noise_is_that_of_the_epoch_and_the_batch() -> None:
    source = batches(8, shuffled=True)
    first, again, other = source.epoch(3), source.epoch(3), source.epoch(4)
    assert torch.equal(first[5].noise, again[5].noise)
    assert not torch.equal(first[5].noise, first[6].noise)
    assert not torch.equal(first[5].noise, other[5].noise)


def test_steps_bound_the_padded_size_and_batches_are_full() -> None:
    for shuffled in (False, True):
        source = batches(150, unit="steps", shuffled=shuffled, pool=100)
        sizes = [len(b.lengths) * int(b.lengths.max()) for b in source.epoch(0)]
        assert max(sizes) <= 150
        assert sum(LENGTHS) / sum(sizes) > 0.9
    assert [len(b.lengths) for b in batches(50, unit="steps").epoch(0) if int(b.lengths.max()) > 50] == [1] * 47


def test_unshuffled_rows_come_shortest_first() -> None:
    lengths = [length for b in batches(8).epoch(0) for length in b.lengths.tolist()]
    assert lengths == sorted(LENGTHS)


@pytest.mark.parametrize("unit", ["rows", "steps"])
def test_processes_share_every_batch(unit: str) -> None:
    whole = batches(96, unit=unit, shuffled=True, pool=2)
    shares = [whole.shard(rank, 2) for rank in (0, 1)]
    for one, two, both in zip(
        *(s.epoch(2) for s in shares), (b for b in whole.epoch(2) if len(b[0]) > 1), strict=True
    ):
        assert sorted([*one.numbers.tolist(), *two.numbers.tolist()]) == sorted(both.numbers.tolist())
        assert not torch.equal(one.noise[:1], two.noise[:1]), "each process has its own noise"


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="a length for each row, got 97, 3"):
        RowBatches(range(3), LENGTHS, collate, 8)
    with pytest.raises(ConfigError, match="batch and pool >= 1, got 0 and 1"):
        batches(0)
    with pytest.raises(ConfigError, match="a multiple of the 3 processes"):
        batches(8).shard(0, 3)
