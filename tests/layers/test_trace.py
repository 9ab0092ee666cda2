"""Gate traces come from the equation itself: its local variables, over time."""

import sys
from typing import Any

import pytest
import torch

from recurra import GRU, LAYERS, LSTM, RNN, Gated, LayerNormLSTM, PeepholeLSTM, State, use_backend
from recurra.errors import LengthsError, ShapeError, StateError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (RNN, {"h"}),
        (GRU, {"r", "z", "n", "h"}),
        (LSTM, {"i", "f", "g", "o", "h", "c"}),
        (PeepholeLSTM, {"i", "f", "g", "o", "h", "c"}),
        (LayerNormLSTM, {"i", "f", "g", "o", "h", "c"}),
    ],
)
def test_trace_names_what_the_equation_names(kind: type[Gated], names: set[str]) -> None:
    found = kind(3, 5).trace(torch.randn(2, 7, 3))
    assert set(found) == names
    assert all(value.shape == (2, 7, 5) for value in found.values())


@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if issubclass(kind, Gated)])
def test_trace_is_what_forward_computes(name: str) -> None:
    layer: Any = LAYERS[name](3, 5, initial="learned", dtype=torch.float64)
    x, lengths = torch.randn(4, 7, 3, dtype=torch.float64), [7, 0, 1, 4]
    x[1:, 4:] = float("nan")
    _, start = layer(torch.randn(4, 3, 3, dtype=torch.float64))
    for state in (None, start):
        with use_backend("reference"):
            y, last = layer(x, state, lengths)
        found = layer.trace(x, state, lengths)
        torch.testing.assert_close(found["h"], y, rtol=0, atol=1e-12)
        if "c" in found:
            torch.testing.assert_close(found["c"][0, -1], last.c[0], rtol=0, atol=1e-12)


def test_gates_are_those_of_the_equations() -> None:
    layer, x = LSTM(3, 5, dtype=torch.float64), torch.randn(2, 7, 3, dtype=torch.float64)
    found = layer.trace(x)
    h, c = found["h"], found["c"]
    before = torch.cat([h.new_zeros(2, 1, 5), h[:, :-1]], 1)
    c_before = torch.cat([c.new_zeros(2, 1, 5), c[:, :-1]], 1)
    i, f, g, o = (x @ layer.W.T + before @ layer.U.T + layer.b).chunk(4, -1)
    for name, want in {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}.items():
        torch.testing.assert_close(found[name], want, rtol=0, atol=1e-12)
    torch.testing.assert_close(c, found["f"] * c_before + found["i"] * found["g"], rtol=0, atol=1e-12)


def test_traces_are_zero_in_the_padding() -> None:
    for value in GRU(3, 5).trace(torch.full((2, 4, 3), float("nan")), None, [0, 0]).values():
        assert not value.any()


def test_no_steps_leave_no_trace() -> None:
    assert GRU(3, 5).trace(torch.zeros(2, 0, 3)) == {}


def test_a_users_cell_is_traced_by_its_own_names() -> None:
    class Leaky(Gated):
        gates = ("a",)

        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            candidate = torch.tanh(x.a + u.a)
            share = 0.1  # not a tensor, so not traced
            return State(h=share * candidate + (1 - share) * s.h)

    assert set(Leaky(3, 5).trace(torch.randn(1, 2, 3))) == {"candidate", "h"}


def test_the_profiler_of_the_caller_is_put_back() -> None:
    seen: list[str] = []
    before = sys.getprofile()
    watch = lambda frame, event, _: seen.append(event)
    sys.setprofile(watch)
    try:
        GRU(3, 5).trace(torch.randn(1, 2, 3))
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(before)

    class Fails(GRU):
        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        Fails(3, 5).trace(torch.randn(1, 2, 3))
    assert sys.getprofile() is before


def test_gradients_flow_through_a_trace() -> None:
    layer = GRU(3, 5)
    layer.trace(torch.randn(2, 4, 3))["z"].sum().backward()
    assert layer.U.grad is not None
    assert layer.U.grad.any()


def test_bad_input_is_refused_as_by_a_call() -> None:
    layer, x = LSTM(3, 5), torch.randn(2, 4, 3)
    with pytest.raises(ShapeError, match=r"expected x of shape \(B, T, 3\)"):
        layer.trace(x[..., :2])
    with pytest.raises(LengthsError, match="got 5 in row 0"):
        layer.trace(x, None, [5, 0])


def test_a_wrong_state_is_refused_as_by_a_call() -> None:
    layer = LSTM(3, 5)
    with pytest.raises(StateError, match="expected a state of"):
        layer.trace(torch.randn(2, 4, 3), layer.initial_state(3))


def test_what_vectors_alone_give_is_traced_for_every_row() -> None:
    class Slow(Gated):
        """h' = h + sigmoid(v) * tanh(W x + U h + b): the step is a number of each unit."""

        gates = ("a",)
        vectors = ("v",)

        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            step = torch.sigmoid(p.v)
            return State(h=s.h + step * torch.tanh(x.a + u.a))

    found = Slow(3, 5).trace(torch.randn(2, 7, 3))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"step": (2, 7, 5), "h": (2, 7, 5)}
