"""Attention against its equations written as loops, and all steps at once against one step at a time."""

import math

import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError, LengthsError, ShapeError
from recurra.heads.attention import ATTENTIONS, Additive, Attention, Coverage, Dot, General, Memory, overlap

LENGTHS = torch.tensor([5, 0, 1, 3])


def make(kind: str, coverage: bool = False, query: int = 6, memory: int = 6) -> Attention:
    torch.manual_seed(3)
    attention = ATTENTIONS[kind](query, memory)
    attention = Coverage(attention) if coverage else attention
    for p in attention.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return attention.double()


def inputs(query: int = 6, memory: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    q = torch.randn(4, 7, query, generator=random, dtype=torch.float64)
    return q, torch.randn(4, 5, memory, generator=random, dtype=torch.float64)


KINDS = pytest.mark.parametrize("kind", sorted(ATTENTIONS))
COVERAGE = pytest.mark.parametrize("coverage", [False, True], ids=["plain", "coverage"])


def score(attention: Attention, q: Tensor, m: Tensor, covered: Tensor) -> Tensor:
    """One score by the equation in the class's docstring."""
    extra = attention.w * covered if isinstance(attention, Coverage) else 0.0
    inner = attention.attention if isinstance(attention, Coverage) else attention
    if isinstance(inner, Additive):
        hidden = inner.W.weight @ q + inner.U.weight @ m + inner.U.bias + extra
        return inner.v @ hidden.tanh()
    key = m if isinstance(inner, Dot) else inner.W.weight @ m
    return q @ (inner.scale * key + extra)


@KINDS
@COVERAGE
@torch.no_grad()
def test_the_equations_as_loops(kind: str, coverage: bool) -> None:
    attention, (q, m) = make(kind, coverage), inputs()
    context, weights = attention(q, attention.remember(m, LENGTHS))
    for b, length in enumerate(LENGTHS.tolist()):
        covered = torch.zeros(5, dtype=torch.float64)
        for t in range(7):
            scores = [float(score(attention, q[b, t], m[b, i], covered[i])) for i in range(length)]
            total = sum(math.exp(s) for s in scores)
            expected = torch.zeros(5, dtype=torch.float64)
            expected[:length] = torch.tensor([math.exp(s) / total for s in scores], dtype=torch.float64)
            assert torch.allclose(weights[b, t], expected, atol=1e-12)
            assert torch.allclose(context[b, t], expected @ m[b], atol=1e-12)
            covered += expected
    assert not weights[1].any(), "a source of length 0 is looked at nowhere"


@KINDS
@COVERAGE
def test_steps_equal_all_at_once_with_gradients(kind: str, coverage: bool) -> None:
    attention, (q, m) = make(kind, coverage), inputs()
    q, m = q.requires_grad_(), m.requires_grad_()
    leaves = [q, m, *attention.parameters()]
    context, weights = attention(q, attention.remember(m, LENGTHS))
    whole = torch.autograd.grad((context.sin() + weights.sum(-1, keepdim=True)).sum(), leaves)
    memory, covered, total = attention.remember(m, LENGTHS), torch.zeros(4, 5, dtype=torch.float64), 0.0
    for t in range(7):
        one = attention.step(q[:, t], memory, covered)
        assert torch.allclose(one.context, context[:, t])
        assert torch.allclose(one.weights, weights[:, t])
        covered = covered + one.weights
        total = total + (one.context.sin() + one.weights.sum(-1, keepdim=True)).sum()
    for a, b in zip(whole, torch.autograd.grad(total, leaves), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@KINDS
@COVERAGE
@torch.no_grad()
def test_neighbouring_rows_share_a_source(kind: str, coverage: bool) -> None:
    attention, (q, m) = make(kind, coverage), inputs()
    covered = torch.rand(12, 5, dtype=torch.float64)
    shared = attention.step(q[:, :3].flatten(0, 1), attention.remember(m, LENGTHS), covered)
    own = attention.remember(m.repeat_interleave(3, 0), LENGTHS.repeat_interleave(3))
    each = attention.step(q[:, :3].flatten(0, 1), own, covered)
    assert torch.allclose(shared.context, each.context)
    assert torch.allclose(shared.weights, each.weights)


@KINDS
@COVERAGE
def test_padding_is_never_read(kind: str, coverage: bool) -> None:
    attention, (q, m) = make(kind, coverage), inputs()
    clean, poisoned = m.clone().requires_grad_(), m.clone()
    for row, length in zip(poisoned, LENGTHS.tolist(), strict=True):
        row[length:] = torch.nan
    poisoned.requires_grad_()
    results = [attention(q, attention.remember(values, LENGTHS)) for values in (clean, poisoned)]
    assert torch.equal(results[0].context, results[1].context)
    by_poisoned = torch.autograd.grad(results[1].context.sin().sum(), [poisoned, *attention.parameters()])
    by_clean = torch.autograd.grad(results[0].context.sin().sum(), [clean, *attention.parameters()])
    for a, b in zip(by_clean, by_poisoned, strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_coverage_keeps_attention_from_coming_back() -> None:
    attention = Coverage(Dot(2, 2))
    attention.w.copy_(torch.tensor([-30.0, 0.0]))
    m = torch.tensor([[[2.0, 0.0], [1.9, 0.1], [1.8, 0.2]]])
    weights = attention(torch.tensor([[[5.0, 0.0]] * 3]), attention.remember(m)).weights[0]
    assert sorted(weights.argmax(1).tolist()) == [0, 1, 2], "each step looks somewhere new"
    assert float(overlap(weights[None]).sum()) < float(overlap(weights[:1].expand(3, -1)[None]).sum())


def test_overlap_is_the_sum_of_least_values() -> None:
    weights = torch.tensor([[[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]])
    assert overlap(weights)[0].tolist() == [0.0, 0.5 + 0.25, 0.75]


@torch.no_grad()
def test_a_large_size_begins_soft_where_the_product_is_scaled() -> None:
    torch.manual_seed(0)
    q, m = torch.randn(2, 3, 400), torch.randn(2, 9, 400)
    plain, scaled = Dot(400, 400), Dot(400, 400, 400**-0.5)
    assert float(plain(q, plain.remember(m)).weights.amax()) > 0.999
    assert float(scaled(q, scaled.remember(m)).weights.amax()) < 0.9
    one, two = General(400, 400), General(400, 400, 0.5)
    two.W = one.W
    assert torch.allclose(two.remember(m).keys * 2, one.remember(m).keys)
    for name in ("dot", "general"):
        assert ATTENTIONS[f"scaled_{name}"](16, 16).scale == 0.25
        assert ATTENTIONS[name](16, 16).scale == 1


@torch.no_grad()
def test_other_sizes_no_steps_and_half_precision() -> None:
    for attention in (Additive(3, 5), Additive(3, 5, 7), General(3, 5)):
        memory = attention.remember(torch.randn(2, 4, 5))
        assert attention(torch.randn(2, 6, 3), memory).context.shape == (2, 6, 5)
        assert memory.keys.shape == (2, 4, attention.key_size)
        for form in (attention, Coverage(attention)):
            assert form(torch.randn(2, 0, 3), memory).weights.shape == (2, 0, 4)
            with torch.autocast("cpu", torch.bfloat16):
                half = form(torch.randn(2, 6, 3), form.remember(torch.randn(2, 4, 5)))
            assert half.weights.dtype == torch.float32, "a softmax in half precision loses small weights"
            assert torch.allclose(half.weights.sum(-1), torch.ones(2, 6))


def test_what_does_not_fit_is_refused() -> None:
    attention = General(3, 5)
    memory = attention.remember(torch.randn(2, 4, 5))
    assert isinstance(memory, Memory)
    with pytest.raises(ShapeError, match=r"General: expected values \(B, S, 5\), got \(2, 4, 6\)"):
        attention.remember(torch.randn(2, 4, 6))
    with pytest.raises(LengthsError, match="lengths: expected 0 <= length <= T=4"):
        attention.remember(torch.randn(2, 4, 5), torch.tensor([5, 1]))
    with pytest.raises(ShapeError, match=r"queries \(B, T, 3\) for 2 sources, got \(3, 1, 3\)"):
        attention(torch.randn(3, 1, 3), memory)
    with pytest.raises(ShapeError, match=r"queries \(N, 3\) for 2 sources, got \(3, 3\)"):
        attention.step(torch.randn(3, 3), memory)
    with pytest.raises(ShapeError, match=r"queries \(N, 3\)"):
        attention.step(torch.randn(4, 2), memory)
    with pytest.raises(
        ConfigError, match="Dot: expected query and memory of the same size, got 3 and 5; use General"
    ):
        Dot(3, 5)
    with pytest.raises(ConfigError, match="Additive: expected memory_size of at least 1, got 0"):
        Additive(3, 0)
