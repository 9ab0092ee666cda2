"""Heads over notes against brute force: every frame of a tiny keyboard, and the papers' formula key by key."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from recurra.heads.notes import NADE, FrameDistribution, IndependentNotes, NoteHead

KEYS = 6
EVERY_FRAME = torch.tensor(list(itertools.product([0.0, 1.0], repeat=KEYS)), dtype=torch.float64)


def heads() -> list[NoteHead]:
    torch.manual_seed(3)
    found = [IndependentNotes(5, KEYS).double(), NADE(5, KEYS, units=7).double()]
    for head in found:
        for p in head.parameters():
            torch.nn.init.normal_(p)
    return found


def key_by_key(head: NADE, h: Tensor, frame: Tensor) -> Tensor:
    """The equations of the docstring for one frame, one key after the other."""
    total, a = torch.zeros((), dtype=h.dtype), head.context(h)
    for i, v in enumerate(frame.flip(0)):
        p = torch.sigmoid(head.write.weight[i] @ a.clamp(min=0) + head.bias(h)[i])
        total = total + Bernoulli(p).log_prob(v)
        a = a + v * head.read[i]
    return total


@pytest.mark.parametrize("head", heads(), ids=lambda head: type(head).__name__)
def test_all_frames_together_have_probability_one(head: NoteHead) -> None:
    h = torch.randn(3, 5, dtype=torch.float64)
    p = head.log_prob(h[:, None].expand(3, 64, 5), EVERY_FRAME.expand(3, 64, KEYS)).exp()
    assert p.shape == (3, 64)
    assert torch.allclose(p.sum(1), torch.ones(3, dtype=torch.float64), atol=1e-12)
    assert not torch.allclose(p[0], p[1], atol=1e-3), "h is heard"


def test_independent_notes_equal_torch_distributions() -> None:
    head, h = heads()[0], torch.randn(64, 5, dtype=torch.float64)
    expected = Bernoulli(logits=head.logits(h)).log_prob(EVERY_FRAME).sum(-1)
    assert torch.allclose(head.log_prob(h, EVERY_FRAME), expected, atol=1e-12)


def test_nade_equals_its_equations_with_gradients() -> None:
    head = heads()[1]
    h = torch.randn(64, 5, dtype=torch.float64, requires_grad=True)
    ours = head.log_prob(h, EVERY_FRAME)
    theirs = torch.stack([key_by_key(head, a, v) for a, v in zip(h, EVERY_FRAME, strict=True)])
    assert torch.allclose(ours, theirs, atol=1e-12)
    weights, values = torch.randn(64, dtype=torch.float64), [h, *head.parameters()]
    for a, b in zip(*(torch.autograd.grad(y @ weights, values) for y in (ours, theirs)), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_nade_sees_the_notes_above_only() -> None:
    head, h = heads()[1], torch.randn(5, dtype=torch.float64)
    lower = EVERY_FRAME[:, 1:].unique(dim=0)  # all frames of the keys above the lowest
    both = [head.log_prob(h.expand(32, 5), torch.cat([lower.new_full((32, 1), v), lower], 1)) for v in (0.0, 1.0)]
    assert torch.allclose(torch.logaddexp(*both).exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    odds = (both[1] - both[0]).unique()
    assert len(odds) > 16, "the lowest key depends on those above it"


@pytest.mark.parametrize("head", heads(), ids=lambda head: type(head).__name__)
@pytest.mark.parametrize("shape", [(0,), (1,), (2, 3)])
def test_shapes(head: NoteHead, shape: tuple[int, ...]) -> None:
    h, frame = torch.randn(*shape, 5, dtype=torch.float64), torch.ones(*shape, KEYS, dtype=torch.float64)
    assert head.log_prob(h, frame).shape == shape
    assert head.draw(h).shape == frame.shape
    if shape == (2, 3):
        assert torch.allclose(head.log_prob(h, frame)[1, 2], head.log_prob(h[1, 2], frame[1, 2]))


@pytest.mark.parametrize("head", heads(), ids=lambda head: type(head).__name__)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_drawn_frames_are_as_frequent_as_they_are_probable(head: NoteHead, temperature: float) -> None:
    h, count = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 4, 40_000
    drawn = head.draw(h.expand(count, 5), temperature, torch.Generator().manual_seed(7))
    number = (drawn @ (2.0 ** torch.arange(KEYS - 1, -1, -1, dtype=drawn.dtype))).long()
    share = number.bincount(minlength=64) / count
    cold = scaled(head, temperature)
    p = cold.log_prob(h.expand(64, 5), EVERY_FRAME).exp()
    deviations = (share - p) / (p * (1 - p) / count).sqrt()
    assert float(deviations.abs().max()) < 4.5


def scaled(head: NoteHead, temperature: float) -> NoteHead:
    """The same head with every logit divided by the temperature."""
    other = heads()[0 if isinstance(head, IndependentNotes) else 1]
    last = [other.logits] if isinstance(other, IndependentNotes) else [other.write, other.bias]
    with torch.no_grad():
        for p in (p for layer in last for p in layer.parameters()):
            p /= temperature
    return other


def test_temperature_zero_takes_the_likelier_value_of_each_key() -> None:
    independent, nade = heads()
    h = torch.randn(20, 5, dtype=torch.float64)
    best = independent.log_prob(h[:, None].expand(20, 64, 5), EVERY_FRAME.expand(20, 64, KEYS)).argmax(1)
    assert torch.equal(independent.draw(h, 0.0), EVERY_FRAME[best])
    assert torch.equal(nade.draw(h, 0.0), nade.draw(h, 1e-9))


@torch.no_grad()
def test_frame_distribution_is_one_row_of_the_head() -> None:
    head, h = heads()[1], torch.randn(2, 5, dtype=torch.float64)
    one = FrameDistribution(head, h[1])
    assert one.log_prob(EVERY_FRAME[9].byte()) == pytest.approx(float(head.log_prob(h, EVERY_FRAME[[0, 9]])[1]))
    assert one.draw(generator=torch.Generator().manual_seed(1)).shape == (KEYS,)
