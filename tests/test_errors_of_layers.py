"""Bad input gets a clear error: what was expected, what came, what to do. Nothing is lost by it."""

from typing import Any

import pytest
import torch

from recurra import GRU, LSTM, Bidirectional, Dropout, Readout, Recurrent, Stack, State, Zoneout, tree
from recurra.errors import DtypeError, LengthsError, RecurraError, ShapeError, StateError

B, T, F, H = 2, 4, 3, 5
x = torch.zeros(B, T, F)


def lstm_state(batch: int = B, hidden: int = H) -> Any:
    return LSTM(F, hidden).initial_state(batch)


def stack() -> Stack:
    return Stack(LSTM(F, H), Dropout(0.1), GRU(H, 2))


ADVICE = "pass what this layer returned for the same batch, or None to begin anew"

# layer, arguments of the call, error, text that the message holds
TABLE: dict[str, tuple[Recurrent, tuple[Any, ...], type[Exception], str]] = {
    "features": (LSTM(F, H), (x[..., :2],), ShapeError, "LSTM: expected x of shape (B, T, 3), got (2, 4, 2)"),
    "no batch axis": (
        GRU(F, H),
        (x[0],),
        ShapeError,
        "GRU: expected x of shape (B, T, 3), got (4, 3); add a batch axis with x.unsqueeze(0)",
    ),
    "an axis too many": (GRU(F, H), (x[None],), ShapeError, "expected x of shape (B, T, 3), got (1, 2, 4, 3)"),
    "one axis": (Readout(F, H), (x[0, 0],), ShapeError, "Readout: expected x of shape (B, T, 3), got (3,)"),
    "any features, no time": (
        Dropout(0.1),
        (x[0],),
        ShapeError,
        "Dropout: expected x of shape (B, T, ...), got (4, 3)",
    ),
    "features of a stack": (stack(), (x[..., :2],), ShapeError, "Stack: expected x of shape (B, T, 3)"),
    "features of both directions": (
        Bidirectional(GRU(F, H), GRU(F, H)),
        (x[..., :2],),
        ShapeError,
        "Bidirectional: expected x of shape (B, T, 3)",
    ),
    "double for float": (
        LSTM(F, H),
        (x.double(),),
        DtypeError,
        "LSTM: expected x of torch.float32 as the layer's parameters, got torch.float64; use x.to(torch.float32)",
    ),
    "float for double": (
        stack().double(),
        (x,),
        DtypeError,
        "Stack: expected x of torch.float64 as the layer's parameters, got torch.float32; use x.to(torch.float64)",
    ),
    "whole numbers": (Readout(F, H), (x.long(),), DtypeError, "got torch.int64; use x.to(torch.float32)"),
    "lengths longer than T": (
        LSTM(F, H),
        (x, None, [4, 5]),
        LengthsError,
        "lengths: expected 0 <= length <= T=4, got 5 in row 1; pad x to the longest row",
    ),
    "negative lengths": (
        LSTM(F, H),
        (x, None, [-1, 4]),
        LengthsError,
        "expected 0 <= length <= T=4, got -1 in row 0",
    ),
    "lengths of another batch": (
        stack(),
        (x, None, [4, 4, 4]),
        LengthsError,
        "lengths: expected one length a row, shape (2,), got shape (3,)",
    ),
    "lengths as a column": (
        GRU(F, H),
        (x, None, torch.ones(2, 1).long()),
        LengthsError,
        "shape (2,), got shape (2, 1)",
    ),
    "one number for all": (GRU(F, H), (x, None, 4), LengthsError, "shape (2,), got shape ()"),
    "lengths as floats": (
        GRU(F, H),
        (x, None, torch.tensor([4.0, 2.0])),
        LengthsError,
        "lengths: expected whole numbers, got torch.float32; use lengths.long()",
    ),
    "a mask for lengths": (GRU(F, H), (x, None, [True, False]), LengthsError, "got torch.bool; use lengths.long()"),
    "state of another batch": (
        LSTM(F, H),
        (x, lstm_state(3)),
        StateError,
        "LSTM: expected a state of {'h': (2, 5), 'c': (2, 5)}, got {'h': (3, 5), 'c': (3, 5)}; " + ADVICE,
    ),
    "state of another size": (LSTM(F, H), (x, lstm_state(2, 4)), StateError, "got {'h': (2, 4), 'c': (2, 4)}"),
    "state of another layer": (
        GRU(F, H),
        (x, lstm_state()),
        StateError,
        "GRU: expected a state of {'h': (2, 5)}, got {'h': (2, 5), 'c': (2, 5)}; " + ADVICE,
    ),
    "state without names": (LSTM(F, H), (x, tuple(lstm_state())), StateError, "got {'0': (2, 5), '1': (2, 5)}"),
    "names the other way round": (
        LSTM(F, H),
        (x, State(c=torch.zeros(B, H), h=torch.zeros(B, H), more=torch.zeros(B, H))),
        StateError,
        "'more': (2, 5)",
    ),
    "a tensor for a state": (GRU(F, H), (x, torch.zeros(B, H)), StateError, "got {'state': (2, 5)}"),
    "torch's axis of layers": (GRU(F, H), (x, State(h=torch.zeros(1, B, H))), StateError, "got {'h': (1, 2, 5)}"),
    "a number for a state": (GRU(F, H), (x, 3), StateError, "got {'int': ()}"),
    "None within a state": (LSTM(F, H), (x, State(h=torch.zeros(B, H), c=None)), StateError, "got {'State': ()}"),
    "state for a layer without": (
        Readout(F, H),
        (x, lstm_state()),
        StateError,
        "Readout: expected a state of no tensors, got {'h': (2, 5), 'c': (2, 5)}",
    ),
    "no state for a layer with": (
        GRU(F, H),
        (x, ()),
        StateError,
        "expected a state of {'h': (2, 5)}, got no tensors",
    ),
    "state of one layer for a stack": (
        stack(),
        (x, (lstm_state(),)),
        StateError,
        "Stack: expected a state of {'0.h': (2, 5), '0.c': (2, 5), '1.seed': (2,), '1.time': (2,), '2.h': (2, 2)}",
    ),
    "state of the cell for its wrapper": (
        Zoneout(GRU(F, H)),
        (x, State(h=torch.zeros(B, H))),
        StateError,
        "Zoneout: expected a state of {'layer.h': (2, 5), 'seed': (2,), 'time': (2,)}, got {'h': (2, 5)}",
    ),
    "state on another device": (
        GRU(F, H),
        (x, State(h=torch.zeros(B, H, device="meta"))),
        StateError,
        "GRU: expected a state in torch.float32 on cpu as x, got torch.float32 on meta; convert it with",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_bad_input_is_refused_with_what_to_do(name: str) -> None:
    layer, arguments, error, text = TABLE[name]
    with pytest.raises(error) as caught:
        layer(*arguments)
    assert text in str(caught.value)
    assert isinstance(caught.value, RecurraError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "base"),
    [(ShapeError, ValueError), (DtypeError, TypeError), (LengthsError, ValueError), (StateError, ValueError)],
)
def test_errors_are_pythons_own_kinds_too(error: type[Exception], base: type[Exception]) -> None:
    assert issubclass(error, base)


def test_a_refused_call_changes_nothing() -> None:
    layer = stack()
    _, state = layer(x)
    before = [leaf.clone() for leaf in tree.leaves(state)]
    y, _ = layer(x, state)
    with pytest.raises(LengthsError):
        layer(x, state, [9, 9])
    assert all(torch.equal(a, b) for a, b in zip(before, tree.leaves(state), strict=True))
    assert torch.equal(layer(x, state)[0], y)


@pytest.mark.parametrize("state", ["memory", {"h": torch.zeros(B, H)}])
def test_what_is_no_tree_is_refused_as_a_state(state: Any) -> None:
    with pytest.raises(StateError, match="expected a state of"):
        GRU(F, H)(x, state)


def test_a_state_of_another_dtype_is_refused() -> None:
    with pytest.raises((StateError, DtypeError), match=r"torch.float64"):
        GRU(F, H)(x, State(h=torch.zeros(B, H, dtype=torch.float64)))
