"""The choice between variants: the first that accepts runs, and nothing is chosen silently."""

import warnings

import pytest
import torch

from recurra import GRU, LSTM, PeepholeLSTM, PerformanceWarning, Readout, RecurrentDropout, use_backend
from recurra.errors import ConfigError
from recurra.kernels import dispatch
from recurra.kernels.dispatch import Op, record


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: no warning given yet, no names but the built-in ones."""
    monkeypatch.setattr(dispatch, "_warned", set())
    monkeypatch.setattr(dispatch, "_names", set(dispatch._names))


@pytest.fixture
def square() -> Op[int]:
    """x squared: `even` takes even numbers, `small` those below 10."""
    op: Op[int] = Op("square", lambda x: ("reference", x * x))
    op.variant("even", lambda x: "" if x % 2 == 0 else f"{x} is odd")(lambda x: ("even", x * x))
    op.variant("small", lambda x: "" if x < 10 else f"{x} is large")(lambda x: ("small", x * x))
    return op


def test_the_first_variant_that_accepts_runs(square: Op[int]) -> None:
    assert square(4) == ("even", 16)
    assert square(3) == ("small", 9)
    assert square(12) == ("even", 144)
    with pytest.warns(PerformanceWarning):
        assert square(11) == ("reference", 121)


def test_refusals_come_with_their_reasons(square: Op[int]) -> None:
    with record() as log:
        square(4), square(3), square(11)
    assert [decision.ran for decision in log] == ["even", "small", "reference"]
    assert log[0].refused == {}
    assert log[1].refused == {"even": "3 is odd"}
    assert log[2].refused == {"even": "11 is odd", "small": "11 is large"}
    assert str(log[1]) == "3: small ran\n    even refused: 3 is odd"


def test_a_backend_by_name_runs_where_it_accepts(square: Op[int]) -> None:
    with use_backend("small"), record() as log:
        assert square(4) == ("small", 16)
        assert square(11) == ("reference", 121)
    assert log[0].refused == {"even": "use_backend('small') is in force"}
    assert log[1].refused["small"] == "11 is large"
    with use_backend("reference"):
        assert square(4) == ("reference", 16)


def test_backends_nest_and_end_with_an_error(square: Op[int]) -> None:
    with use_backend("reference"):
        with use_backend("even"):
            assert square(4)[0] == "even"
        assert square(4)[0] == "reference"
        with pytest.raises(ZeroDivisionError), use_backend("even"):
            _ = 1 / 0
        assert square(4)[0] == "reference"
    assert square(4)[0] == "even"


def test_an_unknown_backend_is_refused_with_those_known() -> None:
    with pytest.raises(
        ConfigError, match=r"expected one of \[.*'fused', .*'reference', 'torch'.*\], got 'tensorflow'"
    ):
        with use_backend("tensorflow"):
            pass


def test_slow_but_right_warns_once_for_each_reason(square: Op[int]) -> None:
    with pytest.warns(PerformanceWarning, match="11 runs as the reference loop, right but slow .*even: 11 is odd"):
        square(11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        square(11)
        with use_backend("reference"):
            square(13)
        with record():
            square(13)
    with pytest.warns(PerformanceWarning, match="13 is large"):
        square(13)


def test_an_op_without_variants_does_not_warn() -> None:
    op: Op[int] = Op("double", lambda x: 2 * x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert op(3) == 6


def test_records_nest_and_end() -> None:
    op: Op[int] = Op("double", lambda x: 2 * x)
    with record() as outer:
        op(1)
        with record() as inner:
            op(2)
        op(3)
    op(4)
    assert [decision.call for decision in outer] == ["1", "3"]
    assert [decision.call for decision in inner] == ["2"]


def test_an_op_says_where_no_faster_variant_could_be_hoped_for() -> None:
    op: Op[int] = Op("triple", lambda x: 3 * x, hopes=lambda x: x > 5)
    op.variant("never", lambda x: "never")(lambda x: 3 * x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        op(4)
    with pytest.warns(PerformanceWarning):
        op(6)


def test_a_layer_that_is_slower_than_it_looks_warns_once() -> None:
    layer, x = RecurrentDropout(LSTM(3, 5)).double(), torch.randn(2, 4, 3).double()
    expected = r"LSTM\(3 -> 5\) on B=2, T=4 runs as the reference loop.*no dropout of the recurrent product"
    with pytest.warns(PerformanceWarning, match=expected):
        layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)
        LSTM(3, 5)(x.float())
        PeepholeLSTM(3, 5).double()(x)


def test_nothing_to_do_is_not_slow() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LSTM(3, 5)(torch.zeros(2, 0, 3))
        LSTM(3, 5)(torch.zeros(0, 4, 3))


def test_explain_says_what_ran_and_why_the_others_did_not() -> None:
    x = torch.randn(2, 4, 3)
    fused = "    fused refused: the fused kernel computes in float32, x is torch.float64"
    assert GRU(3, 5).explain(x) == "GRU(3 -> 5) on B=2, T=4: fused ran"
    ragged = GRU(3, 5).double().explain(x.double(), lengths=[4, 0])
    assert ragged == f"GRU(3 -> 5) on B=2, T=4, ragged: torch ran\n{fused}"
    assert PeepholeLSTM(3, 5).double().explain(x.double()) == (
        f"PeepholeLSTM(3 -> 5) on B=2, T=4: reference ran\n{fused}\n"
        "    torch refused: torch has no function for this equation"
    )
    assert "one path only, in plain PyTorch" in Readout(3, 5).explain(x)
