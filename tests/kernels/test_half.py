"""Half precision: the kernel computes in float32, outputs have the caller's type."""

import pytest
import torch

from recurra import GRU, LSTM, PeepholeLSTM, tree, use_backend
from recurra.kernels.cpu import build

pytestmark = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [GRU, PeepholeLSTM])
def test_half_is_as_exact_as_its_weights(kind: type, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, x = kind(3, 33), torch.randn(2, 40, 3).to(dtype)
    half = kind(3, 33).to(dtype)
    half.load_state_dict({name: value.to(dtype) for name, value in layer.state_dict().items()})
    assert "fused ran" in half.explain(x)
    y, state = half(x)
    assert {y.dtype, *(leaf.dtype for leaf in tree.leaves(state))} == {dtype}
    y.float().square().sum().backward()
    exact = kind(3, 33).double()
    exact.load_state_dict({name: value.double() for name, value in half.state_dict().items()})
    want, _ = exact(x.double())
    want.square().sum().backward()
    step = torch.finfo(dtype).eps
    assert (y.double() - want).abs().max() < step  # one rounding, at the end: numbers are below 1
    for a, b in zip(half.parameters(), exact.parameters(), strict=True):
        assert a.grad.dtype == dtype
        assert (a.grad.double() - b.grad).abs().max() < 4 * step * (1 + b.grad.abs().max())


def test_autocast_runs_the_kernel_in_float32() -> None:
    layer, x = GRU(3, 5), torch.randn(2, 7, 3)
    want, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert "fused ran" in layer.explain(x)
        y, state = layer(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, want, atol=1e-6, rtol=1e-6)
    assert state.h.dtype == torch.float32


def test_a_16_bit_lstm_is_left_to_torch() -> None:
    layer, x = LSTM(3, 5).bfloat16(), torch.randn(2, 7, 3).bfloat16()
    assert "torch's own LSTM multiplies in 16 bits" in layer.explain(x)
    with use_backend("reference"):
        want = layer(x)[0]
    torch.testing.assert_close(layer(x)[0], want, atol=0.02, rtol=0.02)
