"""The fused variant of convolutional recurrences: many channels, threads, 16 bits, second gradients, refusals."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import ConvGRU, ConvLSTM, LayerNormConvLSTM, PeepholeConvLSTM, PredRNN, tree, use_backend
from recurra.kernels.cpu import build, points
from recurra.kernels.cpu.points import kernel_of
from recurra.kernels.dispatch import record
from recurra.kernels.pointwise import PointCall, define
from recurra.layers import predrnn

LENGTHS = [4, 0, 2, 4]
LAYERS: dict[str, Any] = {
    "ConvLSTM": lambda: ConvLSTM(3, 19, 3, (7, 9)),
    "PeepholeConvLSTM": lambda: PeepholeConvLSTM(1, 16, (3, 1), (9, 7)),
    "one dimension": lambda: ConvLSTM(2, 5, (5,), (11,)),
    "ConvGRU": lambda: ConvGRU(3, 33, 3, (7, 9)),
    "LayerNormConvLSTM": lambda: LayerNormConvLSTM(2, 17, 3, (8, 8)),
    "PredRNN": lambda: PredRNN(2, 17, 3, (7, 9), layers=2),
}


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made(name: str) -> Any:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return layer


def answer(layer: Any, x: Tensor, lengths: list[int] | None = None) -> dict[str, Tensor]:
    """y, the last state, and gradients of x, of the first state and of the parameters."""
    x = x.clone().requires_grad_()
    state = tree.map(lambda leaf: torch.full_like(leaf, 0.3).requires_grad_(), layer.initial_state(len(x), x))
    y, last = layer(x, state, lengths)
    ends = {"y": y, **dict(zip(tree.names(last), tree.leaves(last), strict=True))}
    loss = sum((end.float() * torch.linspace(-1, 2, end.numel()).view(end.shape)).sum() for end in ends.values())
    inputs = {"dx": x, **{f"d{n}": s for n, s in zip(tree.names(state), tree.leaves(state), strict=True)}}
    inputs |= {f"d{name}": p for name, p in layer.named_parameters()}
    return ends | dict(zip(inputs, torch.autograd.grad(loss, list(inputs.values())), strict=True))


def assert_same(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    for name, value in want.items():
        error = (got[name].double() - value).abs().max() / value.abs().max().clamp(min=1e-3)
        assert error <= tolerance, f"{name} is {error:.1e} of its largest number off"


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("name", LAYERS)
def test_two_threads_and_odd_channels_equal_the_definition(
    name: str, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "LITTLE", 0)  # so that even this little is shared
    layer, x = made(name), torch.randn(4, 4, *LAYERS[name]().input_shape)
    with threads(2), record() as log:
        got = answer(layer, x, lengths)
    assert {decision.ran for decision in log} == {"fused"}
    assert_same(got, answer(layer.double(), x.double(), lengths), 2e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_16_bits_under_autocast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it runs: a processor without bfloat16 computes the same, more slowly."""
    monkeypatch.setattr(build, "has_bfloat16", lambda: True)
    layer, x = made(name), torch.randn(3, 4, *LAYERS[name]().input_shape)
    with torch.autocast("cpu", torch.bfloat16):
        got = answer(layer, x, [4, 1, 3])
    assert {got[key].dtype for key in got} == {torch.float32}
    want = answer(layer.double(), x.double(), [4, 1, 3])
    assert_same(got, want, 0.06)
    assert (got["y"] - want["y"]).abs().max() > 1e-5, "it was not computed in 16 bits"


def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "has_bfloat16", lambda: False)
    layer, x = made("ConvGRU"), torch.randn(2, 3, 3, 7, 9)
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(x)[0]
    torch.testing.assert_close(got, layer(x)[0])


@pytest.mark.parametrize("kind", [ConvGRU, LayerNormConvLSTM])
def test_gradients_of_gradients(kind: Any) -> None:
    torch.manual_seed(0)
    layer, x = kind(1, 2, 3, (2, 3)), torch.randn(3, 3, 1, 2, 3)

    def second() -> tuple[Tensor, ...]:
        y, state = layer(x, None, [3, 1, 2])
        value = y.square().sum() + state.h.sum()
        first = torch.autograd.grad(value, list(layer.parameters()), create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), list(layer.parameters()))

    got = second()
    with use_backend("reference"):
        for ours, theirs in zip(got, second(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_nobody_pays_for_gradients_that_nobody_wants() -> None:
    layer, x = made("ConvLSTM"), torch.randn(2, 3, 3, 7, 9)
    with torch.no_grad():
        y, state = layer(x)
    assert not y.requires_grad
    torch.testing.assert_close(y, layer(x)[0])
    torch.testing.assert_close(state.c, layer(x)[1].c)


def test_an_output_that_is_changed_in_place_is_refused() -> None:
    y, _ = made("ConvLSTM")(torch.randn(2, 3, 3, 7, 9))
    with pytest.raises(RuntimeError, match=r"in-?place"):
        y.relu_().sum().backward()


def test_explain_names_what_ran_and_why() -> None:
    layer, x = made("ConvLSTM"), torch.randn(2, 3, 3, 7, 9)
    assert layer.explain(x, lengths=[3, 1]) == "ConvLSTM(3 -> 19 maps of 7x9) on B=2, T=3, ragged: fused ran"
    wide = layer.double().explain(x.double())
    assert "reference ran" in wide
    assert "computes in float32, the layer in torch.float64" in wide


# One equation by itself.


def parts(dtype: torch.dtype = torch.float32) -> PointCall:
    """Gates as slices of a wider product that lies channels last, of one that does not, and apart."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    x = draw(2, 3, 4, 6 * 5).movedim(-1, 1).to(dtype).chunk(6, 1)
    u = (*draw(2, 15, 3, 4).to(dtype).chunk(3, 1), *(draw(2, 5, 3, 4).to(dtype) for _ in range(3)))
    return PointCall(predrnn._WRITE, x, u, (draw(2, 5, 3, 4), draw(2, 3, 4, 5).movedim(-1, 1)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
def test_an_equation_on_slices_of_products(dtype: torch.dtype, tolerance: float) -> None:
    call = parts(dtype)
    leaves = [leaf.detach().requires_grad_() for leaf in (*call.x, *call.u, *call.state)]
    again = PointCall(call.cell, tuple(leaves[:6]), tuple(leaves[6:12]), tuple(leaves[12:]))
    assert points.accepts(again) == ""
    results = []
    for compute in (points.run, define):
        after = compute(again)
        results.append([*after, *torch.autograd.grad(after.c.sum() + after.m.square().sum(), leaves)])
    for got, want in zip(*results, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, atol=tolerance, rtol=tolerance)


def test_calls_that_the_kernel_does_not_take() -> None:
    call = parts()
    wide = PointCall(call.cell, tuple(leaf.double() for leaf in call.x), call.u, call.state)
    assert "got ['torch.float32', 'torch.float64']" in points.accepts(wide)
    assert "keeps states in float32" in points.accepts(
        PointCall(call.cell, call.x, call.u, tuple(leaf.double() for leaf in call.state))
    )


def test_rounding_to_16_bits_is_torchs() -> None:
    """Ties to even, infinities and NaN: h of an equation that gives its input back."""
    values = torch.tensor([1.00390625, 1.01171875, -1.00390625, 3e38, 3.4e38, torch.inf, torch.nan, 1e-40, 0.1])

    class Same(predrnn.Elementwise):
        x_gates, u_gates, state = ("a",), (), ("h",)

        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            return tree.State(h=s.h + 0 * x.a)

    cell, maps = Same(), values.view(1, -1, 1, 1)
    brief, after = torch.empty(1, 9, 1, 1, dtype=torch.bfloat16), torch.empty_like(maps)
    zeros = torch.zeros_like(brief)
    sizes = {"frames": 1, "places": 1, "hidden": 9, "threads": 1, "half": 1, "x_stride0": 9}
    kernel_of(cell).forward(**sizes, x0=zeros, s0=maps, after0=after, brief=brief)
    torch.testing.assert_close(brief, maps.bfloat16(), equal_nan=True, atol=0, rtol=0)
