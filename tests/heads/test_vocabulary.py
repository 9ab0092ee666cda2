"""The loss in blocks against torch's cross entropy of the whole, with all gradients."""

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

from recurra.heads import vocabulary
from recurra.heads.vocabulary import vocabulary_loss


def tensors(rows: int, hidden: int, kinds: int, dtype: torch.dtype = torch.float64):
    random = torch.Generator().manual_seed(rows)
    h, W, b = (
        torch.randn(*shape, generator=random, dtype=dtype).requires_grad_()
        for shape in ((rows, hidden), (kinds, hidden), (kinds,))
    )
    return h, W, b, torch.randint(kinds, (rows,), generator=random)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("cached", [1, 70, 1 << 20])
@pytest.mark.parametrize("rows", [0, 1, 19])
def test_blocks_equal_the_whole(smoothing: float, cached: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "CACHED", cached)
    h, W, b, y = tensors(rows, 5, 33)
    ours = vocabulary_loss(h, W, b, y, smoothing)
    theirs = cross_entropy(linear(h, W, b), y, reduction="sum", label_smoothing=smoothing)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    gradients = (torch.autograd.grad(3 * loss, (h, W, b)) for loss in (ours, theirs))
    for mine, other in zip(*gradients, strict=True):
        assert torch.allclose(mine, other, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(vocabulary_loss(h, W, b, y, smoothing), ours.detach())


def test_large_logits_do_not_overflow() -> None:
    h, W, b, y = tensors(3, 2, 7, torch.float32)
    loss = vocabulary_loss(h * 1e4, W, b, y, 0.1)
    assert torch.allclose(loss, cross_entropy(linear(h * 1e4, W, b), y, reduction="sum", label_smoothing=0.1))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, (h, W, b)))


def test_autocast_multiplies_in_half_and_sums_in_whole() -> None:
    h, W, b, y = tensors(40, 16, 300, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        half = vocabulary_loss(h, W, b, y, 0.1)
    whole = vocabulary_loss(h, W, b, y, 0.1)
    assert half.dtype == torch.float32
    assert torch.allclose(half, whole, rtol=5e-3)
    assert not torch.equal(half, whole)
    pairs = zip(*(torch.autograd.grad(loss, (h, W, b)) for loss in (half, whole)), strict=True)
    for mine, other in pairs:
        assert mine.dtype == torch.float32
        assert float((mine - other).norm() / other.norm()) < 0.02
