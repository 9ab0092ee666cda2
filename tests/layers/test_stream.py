"""A layer and its memory as one object: pushes equal the whole, and the memory can be kept in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from recurra import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    Readout,
    RecurrentDropout,
    Residual,
    Stack,
    Stream,
    VariationalDropout,
    Zoneout,
    tree,
    use_backend,
)
from recurra.errors import NotCausalError, RunError, ShapeError, StateError


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with use_backend("reference"):
        yield


def network() -> Stack:
    return Stack(
        Dropout(0.3),
        LSTM(3, 5, initial="learned"),
        VariationalDropout(0.3),
        Zoneout(GRU(5, 5), 0.2),
        Residual(RecurrentDropout(RNN(5, 5), 0.2)),
        Readout(5, 2),
    )


def pushes(stream: Stream, x: torch.Tensor) -> torch.Tensor:
    return torch.stack([stream.push(x_t) for x_t in x.unbind(1)], 1)


def test_pushes_equal_the_whole_in_evaluation_mode() -> None:
    layer, x = network(), torch.randn(2, 19, 3)
    stream = Stream(layer, batch=2)
    assert not layer.training
    y = pushes(stream, x)
    torch.testing.assert_close(y, layer(x)[0])
    assert not y.requires_grad
    assert not any(leaf.requires_grad for leaf in tree.leaves(stream.state))


def test_one_row_is_the_default() -> None:
    stream = Stream(GRU(3, 5))
    assert stream.push(torch.randn(1, 3)).shape == (1, 5)


def test_reset_forgets_everything() -> None:
    stream, x = Stream(network(), 2), torch.randn(2, 7, 3)
    first = pushes(stream, x)
    assert not torch.allclose(pushes(stream, x), first)
    stream.reset()
    assert torch.equal(pushes(stream, x), first)


def test_reset_forgets_the_rows_asked_for() -> None:
    stream, x = Stream(network(), 3), torch.randn(3, 7, 3)
    first = pushes(stream, x)
    kept = tree.rows(stream.state, [0, 2])
    stream.reset(torch.tensor([False, True, False]))
    for before, after in zip(tree.leaves(kept), tree.leaves(tree.rows(stream.state, [0, 2])), strict=True):
        assert torch.equal(before, after)
    again = pushes(stream, x)
    torch.testing.assert_close(again[1], first[1])
    assert not torch.allclose(again[0], first[0])


def test_the_state_is_a_value_to_read_and_assign() -> None:
    stream, x = Stream(network(), 2), torch.randn(2, 7, 3)
    pushes(stream, x)
    saved = stream.state
    want = pushes(stream, x)
    stream.state = saved
    assert torch.equal(pushes(stream, x), want)


def test_a_saved_memory_goes_on_in_another_process(tmp_path: Path) -> None:
    layer, x = network(), torch.randn(2, 7, 3)
    stream = Stream(layer, 2)
    pushes(stream, x)
    stream.save(tmp_path / "memory.safetensors")
    want = pushes(stream, x)
    other = network()
    other.load_state_dict(layer.state_dict())
    resumed = Stream(other, 2)
    resumed.load(tmp_path / "memory.safetensors")
    torch.testing.assert_close(pushes(resumed, x), want)
    assert tree.names(resumed.state) == tree.names(stream.state)


def test_a_loaded_memory_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    layer = GRU(3, 33)
    for attempt in range(20):
        stream, resumed, x = Stream(layer, 2), Stream(layer, 2), torch.randn(2, 7, 3)
        pushes(stream, x)
        stream.save(tmp_path / str(attempt))
        resumed.load(tmp_path / str(attempt))
        assert torch.equal(pushes(resumed, x), pushes(stream, x))


def test_a_layer_without_memory_streams_and_saves(tmp_path: Path) -> None:
    stream = Stream(Readout(3, 5))
    stream.push(torch.randn(1, 3))
    stream.save(tmp_path / "nothing")
    stream.load(tmp_path / "nothing")
    assert stream.state == ()


STRANGERS = {"layer": (GRU(3, 5), 2), "size": (LSTM(3, 4), 2), "batch": (LSTM(3, 5), 1)}


@pytest.mark.parametrize("other", STRANGERS)
def test_a_foreign_memory_is_refused_and_nothing_is_lost(tmp_path: Path, other: str) -> None:
    stream = Stream(LSTM(3, 5), 2)
    Stream(*STRANGERS[other]).save(tmp_path / "foreign")
    stream.push(torch.randn(2, 3))
    before = stream.state
    with pytest.raises(StateError, match=r"holds the state .* of another layer or batch"):
        stream.load(tmp_path / "foreign")
    torch.testing.assert_close(tuple(stream.state), tuple(before), rtol=0, atol=0)


def test_a_broken_or_missing_file_is_refused(tmp_path: Path) -> None:
    stream = Stream(LSTM(3, 5))
    stream.save(tmp_path / "whole")
    (tmp_path / "half").write_bytes((tmp_path / "whole").read_bytes()[:-7])
    (tmp_path / "text").write_text("hello")
    for name in ("half", "text"):
        with pytest.raises(RunError, match="not a whole safetensors file"):
            stream.load(tmp_path / name)
    with pytest.raises(RunError, match="no such file"):
        stream.load(tmp_path / "missing")


@pytest.mark.parametrize("shape", [(1, 3), (2, 4), (2, 1, 3), (3,)])
def test_a_push_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"Stream: expected one time step of shape \(2, 3\), got \("):
        Stream(LSTM(3, 5), 2).push(torch.randn(shape))


def test_a_layer_that_takes_any_features_streams_any() -> None:
    x = torch.randn(2, 3, 4)
    assert torch.equal(Stream(Dropout(0.5), 2).push(x), x)


def test_a_layer_that_needs_the_future_cannot_stream() -> None:
    with pytest.raises(NotCausalError, match="Bidirectional needs the whole sequence"):
        Stream(Bidirectional(RNN(3, 5), RNN(3, 5)))


def test_a_stream_has_the_dtype_of_its_layer() -> None:
    stream = Stream(GRU(3, 5, dtype=torch.float64))
    assert stream.push(torch.randn(1, 3, dtype=torch.float64)).dtype == torch.float64
