"""The conditional random field: native is the definition, whatever the sizes, the padding and the scores."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import use_backend
from recurra.errors import DtypeError, PerformanceWarning, ShapeError
from recurra.kernels import dispatch
from recurra.kernels.cpu import build, crf_operation, crfs
from recurra.kernels.crf import CRFCall, likelihood, posterior
from recurra.kernels.crf_paths import best_path
from recurra.kernels.dispatch import Op

native = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")
KINDS = [1, 2, 7, 13, 16, 17, 33, 48, 63, 64, 65, 100]
BATCHES = [(1, 1), (1, 19), (3, 2), (4, 7), (5, 6), (33, 5)]  # B, T
WEIGHTS = ("scores", "transitions", "begins", "ends")


def a_call(batch: int, time: int, kinds: int, scale: float = 2.0, forbidden: float = 0.0) -> CRFCall:
    """Random scores and weights, ragged where there is room, with a path that is allowed."""
    lengths = None if batch < 2 else torch.randint(0, time + 1, (batch,))
    call = CRFCall(
        scale * torch.randn(batch, time, kinds),
        torch.randn(kinds, kinds),
        torch.randn(kinds),
        torch.randn(kinds),
        lengths,
    )
    if forbidden:
        masks = {name: torch.rand(getattr(call, name).shape) < forbidden for name in WEIGHTS[1:]}
        masks["transitions"].fill_diagonal_(False)
        masks["begins"][0] = masks["ends"][0] = False
        call = replace(call, **{name: getattr(call, name).masked_fill(mask, -inf) for name, mask in masks.items()})
    with use_backend("reference"):
        path = best_path(call)
    worse = torch.randint(kinds, path.shape).where(path >= 0, path)
    return replace(call, tags=path if forbidden else worse)


def double(call: CRFCall) -> CRFCall:
    return replace(call, **{name: getattr(call, name).double() for name in WEIGHTS})


def answers(call: CRFCall) -> dict[str, Tensor]:
    """Nats, and all gradients under a fixed upstream gradient."""
    given = {name: getattr(call, name).detach().clone().requires_grad_() for name in WEIGHTS}
    nats = likelihood(replace(call, **given))
    flow = torch.linspace(-1, 2, len(nats)).to(nats)
    found = torch.autograd.grad(nats, list(given.values()), flow)
    return {"nats": nats.detach(), **dict(zip(WEIGHTS, found, strict=True))}


def by(name: str, op: Op, call: CRFCall) -> Any:
    """An op, held to one variant."""
    with use_backend(name), dispatch.record() as log, torch.no_grad():
        found = op(call)
    assert log[-1].ran == name
    return found


def both(run: Callable[[CRFCall], dict[str, Tensor]], call: CRFCall) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the native form finds in float32, and the definition in float64."""
    with use_backend("native"), dispatch.record() as log:
        got = run(call)
    assert {decision.ran for decision in log} == {"native"}
    with use_backend("reference"):
        return got, run(double(call))


def same(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = 2e-5) -> None:
    for name, value in want.items():
        assert got[name].shape == value.shape
        assert got[name].dtype == torch.float32
        scale = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        assert value.isfinite().all()
        assert bool((got[name].double() - value).abs().le(tolerance * scale).all()), name


@native
@pytest.mark.parametrize("kinds", KINDS)
def test_native_likelihood_is_the_definition(kinds: int) -> None:
    torch.manual_seed(kinds)
    for batch, time in BATCHES:
        for forbidden in (0.0, 0.4):
            same(*both(answers, a_call(batch, time, kinds, 2.0, forbidden)))


@native
@pytest.mark.parametrize("kinds", KINDS)
def test_native_posterior_and_best_path_are_the_definition(kinds: int) -> None:
    torch.manual_seed(kinds)
    for batch, time in BATCHES:
        for forbidden in (0.0, 0.4):
            call = a_call(batch, time, kinds, 2.0, forbidden)
            got, want = by("native", posterior, call), by("reference", posterior, double(call))
            same({"marginals": got.marginals}, {"marginals": want.marginals})
            lowered = [value - value.amax(-1, keepdim=True) for value in (got.behind.double(), want.behind)]
            torch.testing.assert_close(*lowered, atol=2e-5, rtol=2e-5)
            assert torch.equal(by("native", best_path, call), by("reference", best_path, double(call)))


@native
@pytest.mark.parametrize("scale", [30.0, 300.0, 1e4])
def test_extreme_scores(scale: float) -> None:
    """Far beyond what exp can hold: the likely ways are forbidden, and what is left is e^-20000."""
    torch.manual_seed(0)
    for kinds in (2, 5, 17, 40):
        for forbidden in (0.0, 0.5):
            call = a_call(5, 9, kinds, scale, forbidden)
            call = replace(call, scores=call.scores.round())
            with use_backend("reference"):
                call = replace(call, tags=best_path(double(call)))
            got, want = both(answers, call)
            same(got, want, 1e-5 + 5e-7 * scale)  # at 20,000 float32 has steps of 0.002
            found = by("native", posterior, call).marginals
            same(
                {"p": found}, {"p": by("reference", posterior, double(call)).marginals}, 2e-5 * max(1, scale / 100)
            )
            assert torch.equal(by("native", best_path, call), call.tags)


@native
def test_weights_far_apart() -> None:
    """Transitions that differ by more than exp can hold."""
    torch.manual_seed(0)
    for kinds in (2, 5, 17):
        call = a_call(4, 7, kinds)
        call = replace(call, transitions=(100 * call.transitions).round(), begins=100 * call.begins)
        same(*both(answers, call), 1e-4)


@native
def test_rows_without_a_path() -> None:
    torch.manual_seed(0)
    call = a_call(5, 6, 7)
    call.scores[:, 2, :3] = -inf
    call.scores[1, 3] = -inf
    call = replace(call, lengths=torch.tensor([6, 6, 3, 0, 2]))
    got, want = by("native", best_path, call), by("reference", best_path, call)
    assert torch.equal(got, want)
    assert (got[1] == -1).all()
    assert (got[0] >= 0).all()
    marginals = by("native", posterior, call).marginals
    torch.testing.assert_close(marginals, by("reference", posterior, call).marginals, atol=1e-5, rtol=1e-5)
    assert not marginals[1].any()
    nats = by("native", likelihood, replace(call, tags=got))
    assert nats[1] == inf
    torch.testing.assert_close(nats, by("reference", likelihood, replace(call, tags=got)))


@native
def test_what_is_no_tag_costs_infinity() -> None:
    call = replace(a_call(4, 5, 3), lengths=torch.tensor([5, 5, 5, 2]))
    call.tags.clamp_(min=0)
    call.tags[0, 4], call.tags[1, 0], call.tags[2, 2], call.tags[3, 3] = 3, -1, 1 << 40, 99
    for name in ("native", "reference"):
        nats = by(name, likelihood, call)
        assert (nats[:3] == inf).all()
        assert nats[3].isfinite()
    with use_backend("native"):
        answers(call)  # nothing is written outside


@native
def test_padding_is_never_read() -> None:
    torch.manual_seed(0)
    for kinds in (3, 16, 19):
        call = replace(a_call(4, 7, kinds), lengths=torch.tensor([7, 0, 1, 5]))
        call = replace(call, tags=call.tags.clamp(min=0))
        padding = torch.arange(7) >= call.lengths[:, None]
        with use_backend("native"):
            want, path = answers(call), best_path(call)
            marginals = by("native", posterior, call)
            for value in (float("nan"), inf):
                spoiled = replace(
                    call,
                    scores=call.scores.masked_fill(padding[..., None], value),
                    tags=call.tags.masked_fill(padding, -1 << 40),
                )
                got = answers(spoiled)
                assert all(torch.equal(got[name], tensor) for name, tensor in want.items())
                assert torch.equal(best_path(spoiled), path)
                found = by("native", posterior, spoiled)
                assert torch.equal(found.marginals, marginals.marginals)
                assert torch.equal(found.behind, marginals.behind)
        for value in (want["scores"], marginals.marginals, marginals.behind):
            assert not value[padding].any()
        assert (path[padding] == -1).all()


@native
def test_a_nan_stays_in_its_row() -> None:
    torch.manual_seed(0)
    call = replace(a_call(6, 7, 5), lengths=None)
    call = replace(call, tags=call.tags.clamp(min=0))
    with use_backend("native"):
        want = answers(call)
        call.scores[2, 3, 1] = float("nan")
        got = answers(call)
        best_path(call)
    others = torch.arange(6) != 2
    assert got["nats"][2].isnan()
    assert torch.equal(got["nats"][others], want["nats"][others])
    assert torch.equal(got["scores"][others], want["scores"][others])


@native
def test_memory_layout_does_not_matter() -> None:
    torch.manual_seed(0)
    call = replace(a_call(3, 6, 5), lengths=None)
    call = replace(call, tags=call.tags.clamp(min=0))
    with use_backend("native"):
        want = answers(call)
        turned = {
            "time first": call.scores.transpose(0, 1).contiguous().transpose(0, 1),
            "every second": torch.stack([call.scores, call.scores], 3)[..., 0],
        }
        for scores in turned.values():
            given = scores.detach().requires_grad_()
            loss = likelihood(replace(call, scores=given, transitions=call.transitions.T.contiguous().T))
            flow = torch.linspace(-1, 2, 3)
            assert torch.equal(loss, want["nats"])
            assert torch.equal(torch.autograd.grad(loss, given, flow)[0], want["scores"])


@native
def test_the_number_of_threads_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crfs, "LITTLE", 0)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    try:
        for batch, kinds in ((2, 5), (37, 13), (19, 70)):
            call = a_call(batch, 30, kinds)
            with use_backend("native"):
                torch.set_num_threads(1)
                want, path = answers(call), best_path(call)
                torch.set_num_threads(3)
                got = answers(call)
                assert all(torch.equal(got[name], value) for name, value in want.items())
                assert torch.equal(best_path(call), path)
    finally:
        torch.set_num_threads(threads)


@native
def test_long_rows() -> None:
    """Ten thousand steps, in float32 as in float64."""
    torch.manual_seed(0)
    call = replace(a_call(1, 10_000, 3), lengths=None)
    got = by("native", likelihood, call)
    want = by("reference", likelihood, double(call))
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)
    marginals = by("native", posterior, call).marginals
    torch.testing.assert_close(marginals.sum(-1), torch.ones(1, 10_000))


@native
def test_gradients_of_native_gradients() -> None:
    torch.manual_seed(0)
    call = replace(a_call(3, 5, 4), lengths=torch.tensor([5, 0, 2]))
    call = replace(call, tags=call.tags.clamp(min=0))

    def second(call: CRFCall) -> dict[str, Tensor]:
        given = {name: getattr(call, name).detach().clone().requires_grad_() for name in WEIGHTS}
        loss = likelihood(replace(call, **given)).square().sum()
        first = torch.autograd.grad(loss, list(given.values()), create_graph=True)
        found = torch.autograd.grad(sum(value.square().sum() for value in first), list(given.values()))
        return dict(zip(WEIGHTS, found, strict=True))

    same(*both(second, call), 1e-4)


@native
def test_only_some_gradients_are_wanted() -> None:
    call = replace(a_call(3, 5, 4), lengths=None)
    call = replace(call, tags=call.tags.clamp(min=0), transitions=call.transitions.requires_grad_())
    with use_backend("native"):
        (once,) = torch.autograd.grad(likelihood(call).sum(), call.transitions)
        (first,) = torch.autograd.grad(likelihood(call).sum(), call.transitions, create_graph=True)
    torch.testing.assert_close(first, once)
    assert torch.autograd.grad(first.square().sum(), call.transitions)[0].any()


@native
def test_refusals_say_why() -> None:
    call = a_call(3, 5, 4)
    wanted = replace(call, scores=call.scores.clone().requires_grad_())
    for op, given, reason in (
        (likelihood, double(call), "computes in float32, the scores are torch.float64"),
        (best_path, a_call(1, 2, 513), "takes up to 512 tags, here are 513"),
        (posterior, wanted, "the native posterior has no gradients; use torch.no_grad()"),
    ):
        with dispatch.record() as log:
            op(given)
        assert log[0].ran == "reference"
        assert reason in log[0].refused["native"]
    assert posterior.choose(call)[0].name == "native"
    assert "crf of K=4 on B=3, T=5, ragged" in str(call)


def test_without_a_compiler_the_definition_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crfs, "accepts", lambda call: "no C++ compiler")
    monkeypatch.setattr(likelihood, "variants", [dispatch.Variant("native", crfs.likelihood, crfs.accepts)])
    with pytest.warns(PerformanceWarning, match="crf of K=4 .* runs as the reference loop.*no C\\+\\+ compiler"):
        likelihood(replace(a_call(3, 5, 4)))
    likelihood(double(a_call(3, 5, 4)))  # nothing faster could be hoped for in float64


def test_wrong_calls_are_refused() -> None:
    call = a_call(3, 5, 4)
    with pytest.raises(ShapeError, match=r"expected transitions of shape \(4, 4\), got \(3, 4\)"):
        replace(call, transitions=call.transitions[:3])
    with pytest.raises(ShapeError, match=r"expected ends of shape \(4,\), got \(3,\)"):
        replace(call, ends=call.ends[:3])
    with pytest.raises(ShapeError, match=r"expected scores of shape \(B, T, 4\), got \(3, 5\)"):
        replace(call, scores=call.scores[..., 0])
    with pytest.raises(DtypeError, match=r"in one real type, got \['torch.float32', 'torch.float64'\]"):
        replace(call, ends=call.ends.double())


# What watches.


@native
def test_the_operations_are_what_torch_expects() -> None:
    torch.manual_seed(0)
    call = a_call(3, 5, 4)
    call = replace(call, tags=call.tags.clamp(min=0))
    given = [getattr(call, name).requires_grad_() for name in WEIGHTS]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for lengths in (None, call.lengths):
        torch.library.opcheck(crf_operation._likelihood, (*given, lengths, call.tags), test_utils=checks)
        plain = [tensor.detach() for tensor in given]
        torch.library.opcheck(crf_operation._posterior, (*plain, lengths), test_utils=checks)
        torch.library.opcheck(crf_operation._best_path, (*plain, lengths), test_utils=checks)


@native
def test_a_compiler_sees_one_operation() -> None:
    torch.manual_seed(0)
    call = a_call(3, 40, 4)
    call = replace(call, tags=call.tags.clamp(min=0))
    seen: list[str] = []

    def look(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    def run(*given: Tensor) -> Tensor:
        return likelihood(replace(call, **dict(zip(WEIGHTS, given, strict=True)))).sum()

    given = [getattr(call, name).requires_grad_() for name in WEIGHTS]
    want = torch.autograd.grad(run(*given), given)
    got = torch.autograd.grad(torch.compile(run, backend=look, fullgraph=True)(*given), given)
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)
    assert any("recurra" in name for name in seen)
    assert len(seen) < 10
    with torch.no_grad():
        found = torch.compile(
            lambda: (best_path(call), posterior(call).marginals), backend="eager", fullgraph=True
        )()
    assert torch.equal(found[0], best_path(call))
    torch.testing.assert_close(found[1], by("native", posterior, call).marginals)
