"""The transducer: the definition is the sum over all ways, and every variant is the definition."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import inf

import pytest
import torch
from torch import Tensor

from recurra import use_backend
from recurra.errors import DtypeError, PerformanceWarning, ShapeError
from recurra.kernels import dispatch, lattice, transducer_blocks
from recurra.kernels.cpu import build, transducers
from recurra.kernels.transducer import TransducerCall, define, define_arcs, steps, transducer

native = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")
NUMBERS = ("encoded", "predicted", "weight", "bias")
SMALL = [(1, 1, 0), (1, 1, 3), (1, 4, 1), (2, 3, 3), (3, 5, 4)]  # B, T, U
LARGE = [(1, 1, 0, 2, 1), (3, 4, 3, 5, 6), (2, 19, 15, 17, 33), (5, 33, 16, 50, 64), (9, 7, 31, 100, 17)]  # + V, J


def a_call(
    batch: int, time: int, longest: int, kinds: int = 4, joint: int = 3, scale: float = 1.0
) -> TransducerCall:
    """Random numbers in float64, ragged where there is room, with an empty row where there are three."""
    lengths = torch.randint(1, time + 1, (batch,))
    sizes = torch.randint(0, longest + 1, (batch,))
    lengths[0], sizes[0] = time, longest
    if batch > 2:
        lengths[1] = sizes[1] = 0
    shapes = ((batch, time, joint), (batch, longest + 1, joint), (kinds, joint), (kinds,))
    numbers = [scale * torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return TransducerCall(*numbers, torch.randint(1, kinds, (batch, longest)), lengths, sizes)


def all_ways(call: TransducerCall, row: int) -> dict[tuple[int, ...], Tensor]:
    """The log probability of every way of a row, by the frames at which it writes each token."""
    time, size = int(call.lengths[row]), int(call.token_lengths[row])
    log_p = ((call.encoded[row][:, None] + call.predicted[row]).tanh() @ call.weight.T + call.bias).log_softmax(-1)
    found = {}
    for moments in combinations(range(time + size - 1), size) if time else ():  # of all steps but the last, a blank
        t, u, total, frames = 0, 0, log_p.new_zeros(()), ()
        for moment in range(time + size):
            if moment in moments:
                total, frames, u = total + log_p[t, u, call.tokens[row, u]], (*frames, t), u + 1
            else:
                total, t = total + log_p[t, u, 0], t + 1
        found[frames] = total
    return found


def brute_force(call: TransducerCall) -> Tensor:
    """``-log p(tokens)``, way by way."""
    rows = []
    for row, (time, size) in enumerate(zip(call.lengths.tolist(), call.token_lengths.tolist(), strict=True)):
        none = torch.tensor(inf if size else 0.0, dtype=torch.float64)
        rows.append(-torch.stack(list(all_ways(call, row).values())).logsumexp(0) if time else none)
    return torch.stack(rows)


def answers(run: Callable[[TransducerCall], Tensor], call: TransducerCall) -> dict[str, Tensor]:
    """Nats, and all gradients under a fixed upstream gradient."""
    given = {name: getattr(call, name).detach().clone().requires_grad_() for name in NUMBERS}
    nats = run(replace(call, **given))
    flow = torch.linspace(-1, 2, len(nats)).to(nats)
    found = torch.autograd.grad(nats, list(given.values()), flow, materialize_grads=True)
    return {"nats": nats.detach()} | dict(zip(NUMBERS, found, strict=True))


def single(call: TransducerCall) -> TransducerCall:
    return replace(call, **{name: getattr(call, name).float() for name in NUMBERS})


def same(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    for name, value in want.items():
        assert got[name].shape == value.shape
        scale = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        assert bool((got[name].double() - value).abs().le(tolerance * scale).all()), name


@pytest.mark.parametrize("run", [define, transducer_blocks.run])
def test_the_likelihood_is_the_sum_over_all_ways(run: Callable[[TransducerCall], Tensor]) -> None:
    torch.manual_seed(0)
    for size in SMALL:
        call = a_call(*size)
        same(answers(run, call), answers(brute_force, call), 1e-12)


@native
def test_native_is_the_sum_over_all_ways() -> None:
    torch.manual_seed(0)
    for size in SMALL:
        call = a_call(*size)
        same(answers(transducers.run, single(call)), answers(brute_force, call), 1e-6)


@native
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 60.0])
def test_native_is_the_definition(size: tuple[int, ...], scale: float) -> None:
    """Flat and peaked, and with sums that leave the range of e^2a e^2p."""
    torch.manual_seed(1)
    call = single(a_call(*size, scale=min(scale, 5.0)))
    call = replace(call, encoded=scale * call.encoded)
    exact = replace(call, **{name: getattr(call, name).double() for name in NUMBERS})
    same(answers(transducers.run, call), answers(define, exact), 2e-5)


def test_blocks_of_any_size_are_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    call = a_call(3, 7, 4, 6, 5)
    for numbers in (1, 400, 1000, 1 << 20):
        monkeypatch.setattr(transducer_blocks, "MOST", numbers)
        same(answers(transducer_blocks.run, call), answers(define, call), 1e-12)
    got, want = transducer_blocks.arcs(call), define_arcs(call)
    torch.testing.assert_close((got.blank, got.token), (want.blank, want.token))


@native
def test_long_rows() -> None:
    """Two thousand frames: the sums over ways are e^-8000."""
    torch.manual_seed(0)
    call = a_call(1, 2000, 3, 60, 4)
    got, want = transducers.run(single(call)), define(call)
    assert want > 4000
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("run", [define, transducer_blocks.run, pytest.param(transducers.run, marks=native)])
def test_padding_is_never_read(run: Callable[[TransducerCall], Tensor]) -> None:
    torch.manual_seed(0)
    call = single(a_call(4, 7, 5, 6, 19))
    want = answers(run, call)
    frames = torch.arange(7) >= call.lengths[:, None]
    places = torch.arange(6) > call.token_lengths[:, None]
    for value in (float("nan"), inf):
        got = answers(
            run,
            replace(
                call,
                encoded=call.encoded.masked_fill(frames[..., None], value),
                predicted=call.predicted.masked_fill(places[..., None], value),
                tokens=call.tokens.masked_fill(places[:, 1:], 1 << 40),
            ),
        )
        assert all(torch.equal(got[name], tensor) for name, tensor in want.items())
    assert not want["encoded"][frames].any()
    assert not want["predicted"][places].any()


@pytest.mark.parametrize("run", [define, transducer_blocks.run, pytest.param(transducers.run, marks=native)])
def test_what_cannot_be_costs_infinity(run: Callable[[TransducerCall], Tensor]) -> None:
    call = single(a_call(4, 3, 2))
    call = replace(call, lengths=torch.tensor([0, 3, 3, 0]), token_lengths=torch.tensor([1, 2, 2, 0]))
    call.tokens[1, 1] = 4
    got = answers(run, call)
    assert got["nats"].isinf().tolist() == [True, True, False, False]
    assert got["nats"][3] == 0
    assert not got["encoded"][[0, 1, 3]].any()
    assert got["encoded"][2].any()


@native
def test_a_nan_stays_in_its_row() -> None:
    torch.manual_seed(0)
    call = single(a_call(5, 4, 3, 5, 20))
    want = transducers.run(call)
    call.encoded[3, 0, 17] = float("nan")
    got = answers(transducers.run, call)
    assert got["nats"][3].isnan()
    assert got["encoded"][3].isnan().any()
    others = torch.arange(5) != 3
    assert torch.equal(got["nats"][others], want[others])
    assert not got["encoded"][others].isnan().any()


@native
def test_the_number_of_threads_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transducers, "LITTLE", 0)
    torch.manual_seed(0)
    call, threads = single(a_call(13, 9, 5, 20, 33)), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        want = answers(transducers.run, call)
        torch.set_num_threads(3)
        got = answers(transducers.run, call)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(got[name], value) for name, value in want.items())


@native
def test_memory_layout_does_not_matter() -> None:
    torch.manual_seed(0)
    call = single(a_call(3, 5, 4, 6, 7))
    turned = call.encoded.transpose(0, 1).contiguous().transpose(0, 1)
    weight = call.weight.T.contiguous().T
    assert torch.equal(transducers.run(replace(call, encoded=turned, weight=weight)), transducers.run(call))


@pytest.mark.parametrize("run", [transducer_blocks.run, pytest.param(transducers.run, marks=native)])
def test_gradients_of_gradients(run: Callable[[TransducerCall], Tensor]) -> None:
    torch.manual_seed(0)

    def second(run: Callable[[TransducerCall], Tensor], call: TransducerCall) -> dict[str, Tensor]:
        given = {name: getattr(call, name).detach().clone().requires_grad_() for name in NUMBERS}
        loss = run(replace(call, **given)).square().sum()
        first = torch.autograd.grad(loss, list(given.values()), create_graph=True)
        found = torch.autograd.grad(sum(slope.square().sum() for slope in first), list(given.values()))
        return dict(zip(NUMBERS, found, strict=True))

    call = a_call(3, 3, 2)
    same(second(run, single(call)), second(brute_force, call), 1e-4)


def test_steps_and_best_ways_are_those_of_all_ways() -> None:
    torch.manual_seed(0)
    for size in SMALL:
        call = a_call(*size)
        arcs = define_arcs(call)
        frames, nats = lattice.best_way(arcs)
        shares = lattice.posterior(arcs)
        for row in range(size[0]):
            ways = all_ways(call, row)
            length = int(call.token_lengths[row])
            assert (frames[row, length:] == -1).all()
            if not ways:
                assert nats[row] == 0
                continue
            best = max(ways, key=lambda way: float(ways[way]))
            assert tuple(frames[row, :length].tolist()) == best
            assert float(nats[row]) == pytest.approx(-float(ways[best]))
            whole = torch.stack(list(ways.values())).logsumexp(0)
            want = torch.zeros_like(shares.token[row])
            for way, log_p in ways.items():
                for u, t in enumerate(way):
                    want[t, u] += (log_p - whole).exp()
            torch.testing.assert_close(shares.token[row], want)


def test_what_has_no_way() -> None:
    call = replace(a_call(1, 2, 1), lengths=torch.tensor([0]))
    frames, nats = lattice.best_way(define_arcs(call))
    assert frames.tolist() == [[-1]]
    assert nats.tolist() == [inf]


@native
def test_who_runs_and_why_others_do_not() -> None:
    call = a_call(2, 3, 2)
    for given, ran, reason in (
        (single(call), "native", ""),
        (call, "blocks", "computes in float32, the frames are torch.float64"),
    ):
        with dispatch.record() as log:
            transducer(given)
        assert log[0].ran == ran
        assert reason in log[0].refused.get("native", "")
    wanted = replace(call, weight=call.weight.clone().requires_grad_())
    assert "no gradients; use torch.no_grad()" in steps.choose(wanted)[1]["blocks"]
    assert steps.choose(call)[0].name == "blocks"
    assert str(call) == "transducer of V=4, J=3 on B=2, T=3, U=2"
    with use_backend("reference"):
        assert transducer.choose(call)[0].name == "reference"


@native
def test_functions_of_torch_see_the_definition() -> None:
    call = a_call(2, 3, 2)
    slope = torch.func.grad(lambda bias: transducer(replace(call, bias=bias)).sum())
    with pytest.warns(PerformanceWarning, match="runs as the reference loop"):
        got = slope(call.bias)
    given = call.bias.clone().requires_grad_()
    torch.testing.assert_close(got, torch.autograd.grad(define(replace(call, bias=given)).sum(), given)[0])


def test_without_a_compiler_the_blocks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        transducer,
        "variants",
        [dispatch.Variant("native", transducers.run, lambda call: "none"), *transducer.variants[1:]],
    )
    assert transducer.choose(single(a_call(2, 3, 2)))[0].name == "blocks"


def test_wrong_calls_are_refused() -> None:
    call = a_call(3, 5, 4)
    with pytest.raises(ShapeError, match=r"expected predicted of shape \(3, 5, 3\), got \(3, 4, 3\)"):
        replace(call, predicted=call.predicted[:, 1:])
    with pytest.raises(ShapeError, match=r"expected weight of shape \(3, 3\), got \(4, 3\)"):
        replace(call, bias=call.bias[1:])
    with pytest.raises(ShapeError, match=r"tokens \(B, U\), got \(3, 5, 3\) and \(3,\)"):
        replace(call, tokens=call.tokens[:, 0])
    with pytest.raises(DtypeError, match=r"in one real type, got \['torch.float32', 'torch.float64'\]"):
        replace(call, bias=call.bias.float())
    with pytest.raises(DtypeError, match=r"int64, got torch.int32; use tokens.long\(\)"):
        replace(call, tokens=call.tokens.int())
