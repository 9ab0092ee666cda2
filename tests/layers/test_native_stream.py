"""The native step of a stream: it equals the layer, follows its weights, and says when it does not run."""

import pytest
import torch

from recurra import (
    GRU,
    LSTM,
    Dropout,
    LayerNormLSTM,
    Readout,
    Recurrent,
    Stack,
    State,
    Stream,
    tree,
    use_backend,
    zoo,
)
from recurra.errors import ShapeError, StateError
from recurra.kernels.cpu import build

pytestmark = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")

LAYERS = {
    "lstm": lambda: LSTM(64, 64),
    "gru": lambda: GRU(5, 7),
    "normalized": lambda: LayerNormLSTM(3, 19),
    "late gates": lambda: zoo.MGU(3, 33),
    "no matrix": lambda: zoo.IndRNN(3, 5),
    "deep": lambda: Stack(LSTM(3, 33, initial="learned"), Stack(GRU(33, 5)), Readout(5, 2)),
}


@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("name", LAYERS)
def test_pushes_equal_the_layer(name: str, batch: int) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    stream, x = Stream(layer, batch), torch.randn(batch, 12, layer.input_shape[0])
    assert stream.explain() == "one native call a step"
    y = torch.stack([stream.push(x_t) for x_t in x.unbind(1)], 1)
    with use_backend("reference"), torch.no_grad():
        want, state = layer(x)
    torch.testing.assert_close(y, want, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(tree.leaves(stream.state), tree.leaves(state), atol=2e-5, rtol=2e-5)
    stream.reset()
    torch.testing.assert_close(stream.push(x[:, 0]), y[:, 0], rtol=0, atol=0)


def test_changed_weights_are_noticed() -> None:
    layer, x = GRU(3, 5), torch.randn(1, 3)
    stream = Stream(layer)
    stream.push(x)
    state = stream.state
    with torch.no_grad():
        layer.U.mul_(0.5)
        want = layer.step(x, state)[0]
    torch.testing.assert_close(stream.push(x), want, atol=1e-6, rtol=1e-5)


def test_a_layer_made_in_inference_mode() -> None:
    with torch.inference_mode():
        stream = Stream(GRU(3, 5))
        assert stream.push(torch.randn(1, 3)).shape == (1, 5)


def test_a_push_gives_new_memory_and_a_step_the_same() -> None:
    stream, x = Stream(LSTM(3, 5)), torch.randn(4, 1, 3)
    first, kept = stream.push(x[0]), stream.push(x[0])
    assert first.data_ptr() != kept.data_ptr()
    y = stream.step(x[1])
    assert stream.step(x[2]).data_ptr() == y.data_ptr()


def test_the_state_is_a_value() -> None:
    stream, x = Stream(LSTM(3, 5), 2), torch.randn(2, 3)
    stream.push(x)
    state = stream.state
    y = stream.push(x)
    stream.state = state
    assert torch.equal(stream.push(x), y)
    with pytest.raises(StateError, match=r"expected a state of \[\(2, 5\), \(2, 5\)\]"):
        stream.state = State(h=torch.zeros(1, 5), c=torch.zeros(1, 5))
    with pytest.raises(ShapeError):
        stream.push(torch.randn(3, 3))


def test_any_memory_layout_of_x() -> None:
    stream, other, x = Stream(GRU(3, 5), 2), Stream(GRU(3, 5), 2), torch.randn(3, 2)
    other.layer.load_state_dict(stream.layer.state_dict())
    assert torch.equal(stream.push(x.t()), other.push(x.t().contiguous()))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (GRU(3, 5, dtype=torch.float64), "is in torch.float64"),
        (Stack(GRU(3, 5), Dropout(0.1)), "Dropout is neither"),
    ],
)
def test_explain_says_why_not(layer: Recurrent, reason: str) -> None:
    stream = Stream(layer)
    assert reason in stream.explain()
    stream.push(torch.randn(1, 3, dtype=next(layer.parameters()).dtype))
