"""Ragged batches against loops over rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra import lengths as ragged
from recurra.errors import LengthsError

T = 7
lists = st.lists(st.integers(0, T), max_size=5)


def numbers(batch: int, *features: int) -> torch.Tensor:
    """1, 2, 3, ... as ``(B, T, *features)``: no two alike, none 0."""
    shape = (batch, T, *features)
    return 1.0 + torch.arange(torch.Size(shape).numel()).view(shape)


def as_tensor(ends: list[int]) -> torch.Tensor:
    return torch.tensor(ends, dtype=torch.int64)


@given(lists)
def test_mask_is_true_before_the_end(ends: list[int]) -> None:
    found = ragged.mask(as_tensor(ends), T)
    assert found.shape == (len(ends), T)
    assert found.tolist() == [[t < end for t in range(T)] for end in ends]


@given(lists)
def test_blank_replaces_the_padding(ends: list[int]) -> None:
    x = numbers(len(ends), 2, 3)
    found = ragged.blank(x, as_tensor(ends))
    for row, end in enumerate(ends):
        assert torch.equal(found[row, :end], x[row, :end])
        assert not found[row, end:].any()


def test_blank_reads_no_nan_forwards_or_backwards() -> None:
    x = torch.full((2, 3, 1), float("nan"))
    x[0, :2] = 1
    x.requires_grad_()
    y = ragged.blank(x, as_tensor([2, 0]))
    assert y.flatten().tolist() == [1, 1, 0, 0, 0, 0]
    (flow,) = torch.autograd.grad(y, x, torch.full_like(y, float("nan")))
    assert flow[0, 2:].tolist() == [[0]]
    assert flow[1].tolist() == [[0]] * 3


def test_without_lengths_nothing_is_padding() -> None:
    x = numbers(2, 3)
    assert ragged.blank(x, None) is x
    assert torch.equal(ragged.reverse(x, None), x.flip(1))
    assert torch.equal(ragged.last(x, None, torch.zeros(2, 3)), x[:, -1])


@given(lists)
def test_reverse_turns_each_row_and_leaves_its_padding(ends: list[int]) -> None:
    x = numbers(len(ends), 2)
    found = ragged.reverse(x, as_tensor(ends))
    for row, end in enumerate(ends):
        assert torch.equal(found[row], torch.cat([x[row, :end].flip(0), x[row, end:]]))
    assert torch.equal(ragged.reverse(found, as_tensor(ends)), x)


@given(lists)
def test_last_is_the_last_valid_step_or_the_row_of_empty(ends: list[int]) -> None:
    y, empty = numbers(len(ends), 2, 2), -numbers(len(ends), 2, 2)[:, 0]
    found = ragged.last(y, as_tensor(ends), empty)
    for row, end in enumerate(ends):
        assert torch.equal(found[row], y[row, end - 1] if end else empty[row])


def test_last_of_no_steps_is_empty() -> None:
    empty = torch.ones(2, 3)
    assert ragged.last(torch.zeros(2, 0, 3), as_tensor([0, 0]), empty) is empty
    assert ragged.last(torch.zeros(2, 0, 3), None, empty) is empty


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8])
def test_check_takes_whole_numbers_of_any_width(dtype: torch.dtype) -> None:
    found = ragged.check(torch.tensor([0, 1, 7], dtype=dtype), 3, T)
    assert found.dtype == torch.int64
    assert found.tolist() == [0, 1, 7]


def test_check_takes_lists_and_an_empty_batch() -> None:
    assert ragged.check([7, 0], 2, T).tolist() == [7, 0]
    assert ragged.check(as_tensor([]), 0, T).shape == (0,)
    assert ragged.check([0, 0], 2, 0).tolist() == [0, 0]


def test_check_takes_an_empty_list_for_an_empty_batch() -> None:
    assert ragged.check([], 0, T).shape == (0,)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ([7, 8, 0], "expected 0 <= length <= T=7, got 8 in row 1; pad x to the longest row"),
        ([7, 0, -1], "expected 0 <= length <= T=7, got -1 in row 2"),
        ([7, 0], r"expected one length a row, shape \(3,\), got shape \(2,\)"),
        ([[7], [0], [1]], r"expected one length a row, shape \(3,\), got shape \(3, 1\)"),
        (3, r"shape \(3,\), got shape \(\)"),
        ([1.0, 2.0, 3.0], "expected whole numbers, got torch.float32; use lengths.long()"),
        ([True, False, True], "expected whole numbers, got torch.bool"),
    ],
)
def test_check_says_what_is_wrong(given_: object, message: str) -> None:
    with pytest.raises(LengthsError, match=message):
        ragged.check(given_, 3, T)
    with pytest.raises(ValueError, match="lengths: expected"):
        ragged.check(given_, 3, T)
