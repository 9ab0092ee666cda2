"""The linear recurrence: every variant is the loop, forward and back, real and complex, whole and ragged."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import check_stable, linear_scan, use_backend
from recurra.errors import DtypeError, LengthsError, ShapeError, UnstableError
from recurra.kernels import dispatch
from recurra.kernels.cpu import build, scans
from recurra.kernels.scan import ScanCall, define, double, gradients, scan

native = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")
SIZES = [(1, 33, 8), *product((3,), (1, 2, 19, 33), (1, 5, 19, 33, 130))]  # B, T, H
TOLERANCE = 2e-5


def coefficients(
    batch: int, time: int, hidden: int, dtype: torch.dtype, constant: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """|a| < 1; complex ones turn."""
    a = torch.rand(hidden if constant else (batch, time, hidden), dtype=torch.float64)
    if dtype.is_complex:
        a = torch.polar(a, 6 * torch.rand_like(a))
    others = torch.randn(batch, time, hidden, dtype=dtype), torch.randn(batch, hidden, dtype=dtype)
    return a.to(dtype), *others


def ends(batch: int, time: int) -> Tensor:
    """Lengths that hold 0 and T where there is room for both."""
    return torch.tensor([time, 0, max(0, time - 2)][:batch])


def answers(run: Callable[[ScanCall], Any], call: ScanCall) -> dict[str, Tensor]:
    """States, the last one and all gradients under fixed upstream gradients."""
    given = {"a": call.a, "b": call.b, "first": call.first}
    given = {name: value.detach().clone().requires_grad_() for name, value in given.items()}
    h, last = run(ScanCall(**given, lengths=call.lengths))
    generator = torch.Generator().manual_seed(1)
    flows = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in (h, last)]
    found = torch.autograd.grad([h, last], list(given.values()), flows, materialize_grads=True)
    return {"h": h.detach(), "last": last.detach(), **dict(zip(given, found, strict=True))}


def same(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    for name, value in want.items():
        assert got[name].shape == value.shape
        assert got[name].dtype == value.dtype
        if value.numel():
            scale = max(1.0, float(value.abs().max()))
            assert float((got[name] - value).abs().max()) <= tolerance * scale, name


def by(name: str) -> Callable[[ScanCall], Any]:
    """The op, held to one variant."""

    def run(call: ScanCall) -> Any:
        with use_backend(name), dispatch.record() as log:
            found = scan(call)
        assert log[-1].ran == name
        return found

    return run


@native
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=["real", "complex"])
def test_native_is_the_loop(dtype: torch.dtype, constant: bool) -> None:
    torch.manual_seed(0)
    for batch, time, hidden in SIZES:
        for lengths in (None, ends(batch, time)):
            call = ScanCall(*coefficients(batch, time, hidden, dtype, constant), lengths)
            same(answers(by("native"), call), answers(define, call), TOLERANCE)


@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
def test_doubling_is_the_loop(dtype: torch.dtype, constant: bool) -> None:
    torch.manual_seed(0)
    for batch, time, hidden in SIZES[::3]:
        for lengths in (None, ends(batch, time)):
            call = ScanCall(*coefficients(batch, time, hidden, dtype, constant), lengths)
            same(answers(by("doubling"), call), answers(define, call), 1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
def test_slopes_and_their_slopes(dtype: torch.dtype, constant: bool) -> None:
    torch.manual_seed(0)
    for time, lengths in ((1, None), (5, None), (6, torch.tensor([6, 0, 3]))):
        given = [value.requires_grad_() for value in coefficients(3, time, 2, dtype, constant)]
        run = lambda a, b, first, ends=lengths: double(ScanCall(a, b, first, ends))
        assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("constant", [False, True], ids=["varying", "constant"])
def test_written_gradients_are_those_of_the_loop(dtype: torch.dtype, constant: bool) -> None:
    torch.manual_seed(0)
    for lengths in (None, torch.tensor([7, 0, 1])):
        call = ScanCall(*coefficients(3, 7, 4, dtype, constant), lengths)
        want = answers(define, call)
        generator = torch.Generator().manual_seed(1)
        flows = [torch.randn(want[name].shape, generator=generator, dtype=dtype) for name in ("h", "last")]
        found = gradients(call, want["h"], *flows)
        same(dict(zip(("a", "b", "first"), found, strict=True)), {n: want[n] for n in ("a", "b", "first")}, 1e-10)


@native
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=["real", "complex"])
def test_gradients_of_native_gradients(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    call = ScanCall(*coefficients(3, 9, 5, dtype), torch.tensor([9, 0, 4]))

    def second(run: Callable[[ScanCall], Any]) -> dict[str, Tensor]:
        given = [value.detach().clone().requires_grad_() for value in (call.a, call.b, call.first)]
        h, last = run(ScanCall(*given, call.lengths))
        height = h.abs().square().sum() + last.abs().square().sum()
        first = torch.autograd.grad(height, given, create_graph=True)
        found = torch.autograd.grad(sum(value.abs().square().sum() for value in first), given)
        return dict(zip(("a", "b", "first"), found, strict=True))

    same(second(by("native")), second(define), 1e-4)


@pytest.mark.parametrize("name", ["reference", "doubling", pytest.param("native", marks=native)])
def test_padding_is_never_read_and_zero_in_the_end(name: str) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([7, 0, 1, 5])
    a, b, first = coefficients(4, 7, 19, torch.float32)
    padding = torch.arange(7) >= lengths[:, None]
    want = answers(by(name), ScanCall(a, b, first, lengths))
    for value in (float("nan"), float("inf")):
        spoiled = [tensor.masked_fill(padding[..., None], value) for tensor in (a, b)]
        given = [tensor.requires_grad_() for tensor in (*spoiled, first.clone())]
        h, last = by(name)(ScanCall(*given, lengths))
        generator = torch.Generator().manual_seed(1)
        flows = [torch.randn(tensor.shape, generator=generator) for tensor in (h, last)]
        flows[0].masked_fill_(padding[..., None], value)
        found = torch.autograd.grad([h, last], given, flows)
        got = {"h": h, "last": last, **dict(zip(("a", "b", "first"), found, strict=True))}
        for key, tensor in want.items():
            assert torch.equal(got[key], tensor), key
        for key in ("h", "a", "b"):
            assert not got[key][padding].any()


@native
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64], ids=["real", "complex"])
def test_memory_layout_does_not_matter(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    a, b, first = coefficients(3, 19, 24, dtype)
    want = answers(define, ScanCall(a, b, first))
    both = torch.cat([a, b], 2)
    wide = torch.stack([a, b], 3)
    layouts = {
        "halves of one tensor": both.split(24, 2),
        "time first": [value.transpose(0, 1).contiguous().transpose(0, 1) for value in (a, b)],
        "every second channel": wide.unbind(3),
        "conjugated twice": [value.conj().resolve_conj().conj() for value in (a, b)],
    }
    for name, (left, right) in layouts.items():
        given = [left.detach().requires_grad_(), right.detach().requires_grad_(), first.clone().requires_grad_()]
        h, last = by("native")(ScanCall(*given))
        flows = [torch.ones(()).expand(h.shape).to(dtype), torch.ones(()).expand(last.shape).to(dtype)]
        found = torch.autograd.grad([h, last], given, flows)
        torch.testing.assert_close(h, want["h"], msg=name)
        loop = [value.detach().clone().requires_grad_() for value in (a, b, first)]
        plain = torch.autograd.grad(define(ScanCall(*loop)), loop, flows)
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    one = ScanCall(a[:1].expand(3, -1, -1), b[:1].expand(3, -1, -1), first[:1].expand(3, -1))
    torch.testing.assert_close(by("native")(one), define(one))


@native
def test_threads_share_rows_and_channels() -> None:
    """The same bits, however the work is cut."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    try:
        for batch, hidden in ((1, 130), (5, 300), (2, 17), (3, 1)):
            call = ScanCall(*coefficients(batch, 3000, hidden, torch.float32), torch.arange(batch) * 700)
            torch.set_num_threads(1)
            want = answers(by("native"), call)
            torch.set_num_threads(3)
            assert all(torch.equal(value, want[name]) for name, value in answers(by("native"), call).items())
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["reference", "doubling", "native"])
@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (0, 0, 3)])
def test_nothing_to_do(name: str, shape: tuple[int, int, int]) -> None:
    a, b, first = coefficients(*shape, torch.float32)
    with use_backend(name):
        found = answers(scan, ScanCall(a, b, first))
    assert found["h"].shape == shape
    assert torch.equal(found["last"], first)
    assert found["a"].shape == shape


@pytest.mark.parametrize("name", ["doubling", pytest.param("native", marks=native)])
def test_extreme_coefficients_stay_finite(name: str) -> None:
    """Products that vanish, exact zeros, and memories that do not fade: nothing divides, nothing cancels."""
    b, first = torch.ones(1, 4096, 3), torch.full((1, 3), 2.0)
    for value, last in ((0.0, 1.0), (1e-30, 1.0), (0.5, 2.0), (1.0, 4098.0)):
        call = ScanCall(torch.full_like(b, value), b, first)
        found = answers(by(name), call)
        assert all(tensor.isfinite().all() for tensor in found.values())
        torch.testing.assert_close(found["last"], torch.full((1, 3), last))


@native
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch.func.jvp's own
def test_what_watches_gets_the_doubling_form() -> None:
    torch.manual_seed(0)
    a, b, first = coefficients(2, 5, 3, torch.float32)
    want = define(ScanCall(a, b, first))[0]

    def run(b: Tensor) -> Tensor:
        with dispatch.record() as log:
            h, _ = linear_scan(a, b, first)
        assert log[-1].ran == "doubling"
        assert "torch.func" in log[-1].refused["native"]
        return h

    torch.testing.assert_close(torch.func.vmap(run)(torch.stack([b, b]))[1], want)
    h, tangent = torch.func.jvp(run, (b,), (torch.ones_like(b),))
    torch.testing.assert_close(h, want)
    torch.testing.assert_close(tangent, define(ScanCall(a, torch.ones_like(b), torch.zeros_like(first)))[0])
    slopes = torch.func.grad(lambda b: run(b).sum())(b)
    torch.testing.assert_close(slopes, answers_of_sum(a, b, first))


def answers_of_sum(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    b = b.clone().requires_grad_()
    return torch.autograd.grad(define(ScanCall(a, b, first))[0].sum(), b)[0]


@native
def test_the_operation_is_what_torch_expects() -> None:
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for dtype in (torch.float32, torch.float64):
        given = [value.requires_grad_() for value in coefficients(2, 7, 3, dtype)]
        torch.library.opcheck(scans._operation, (*given, None), test_utils=checks)
        torch.library.opcheck(scans._operation, (*given, torch.tensor([7, 2])), test_utils=checks)


def test_explain_names_every_refusal() -> None:
    with dispatch.record() as log:
        linear_scan(*coefficients(1, 3, 2, torch.float64)[:2])
    assert str(log[0]).startswith("scan of H=2 on B=1, T=3: doubling ran")
    assert "computes in float32 and complex64, b is torch.float64" in str(log[0])


def test_wrong_tensors_are_refused() -> None:
    a, b, first = coefficients(2, 5, 3, torch.float32)
    with pytest.raises(ShapeError, match=r"expected a of shape \(2, 5, 3\) as b, or \(3,\), got \(2, 5, 1\)"):
        linear_scan(a[..., :1], b, first)
    with pytest.raises(ShapeError, match=r"expected a of shape .*, got \(2,\)"):
        linear_scan(torch.ones(2), b, first)
    with pytest.raises(ShapeError, match=r"expected b of shape \(B, T, H\), got \(5, 3\)"):
        linear_scan(a, b[0], first)
    with pytest.raises(ShapeError, match=r"expected a first state of shape \(2, 3\), got \(3,\)"):
        linear_scan(a, b, first[0])
    with pytest.raises(DtypeError, match=r"got torch.float64, torch.float32 and torch.float32; use a.to"):
        linear_scan(a.double(), b, first)
    with pytest.raises(DtypeError, match="real or complex"):
        linear_scan(a.int(), b.int(), first.int())
    with pytest.raises(LengthsError, match="0 <= length <= T=5, got 6 in row 1"):
        linear_scan(a, b, first, [5, 6])


def test_growing_coefficients_are_legal_and_found_when_asked() -> None:
    a = torch.full((2, 5, 3), 0.5)
    check_stable(a)
    a[1, 2, 0], a[1, 4, 2] = 1.5, -2.25
    h, _ = linear_scan(a, torch.ones_like(a))
    assert h.isfinite().all()
    with pytest.raises(UnstableError, match=r"got 2\.25 at row 1, step 4, channel 2 \(2 of 30 are too large\)"):
        check_stable(a)
    check_stable(a, limit=2.25)
    with pytest.raises(UnstableError, match=r"got 1\.41421 at channel 1"):
        check_stable(torch.tensor([1.0 + 0j, 1 + 1j]))
    with pytest.raises(UnstableError, match="nan at channel 0"):
        check_stable(torch.tensor([float("nan")]))
