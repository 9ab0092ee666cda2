"""Gates with one product only, and late gates: what U multiplies is made from the early ones."""

from typing import Any

import pytest
import torch
from torch import sigmoid, tanh

from recurra import Gated, State
from recurra.errors import ConfigError
from recurra.kernels.equation import trace
from recurra.testing import check_layer


class Shared(Gated):
    """Minimal gated unit: one factor for its late gate."""

    gates = ("n", "f")
    late = ("n",)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return sigmoid(x.f + u.f) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        f = sigmoid(x.f + u.f)
        return State(h=(1 - f) * s.h + f * tanh(x.n + u.n))


class Each(Gated):
    """Mutated architecture 3: a factor for each of two late gates."""

    gates = ("z", "r", "n")
    late = ("z", "n")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return tanh(s.h), sigmoid(x.r + u.r) * s.h

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        z = sigmoid(x.z + u.z)
        return State(h=tanh(x.n + u.n) * z + s.h * (1 - z))


class Single(Gated):
    """A gate of the input only, one of the state only, and a vector in place of a matrix."""

    gates = ("a", "b")
    without_U, without_W, vectors = ("a",), ("b",), ("w",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return State(h=tanh(x.a * sigmoid(u.b) + p.w * s.h))


class Diagonal(Gated):
    """No recurrent matrix at all."""

    gates = ("h",)
    without_U, vectors = ("h",), ("w",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return State(h=tanh(x.h + p.w * s.h))


CELLS = (Shared, Each, Single, Diagonal)


@pytest.mark.parametrize("kind", CELLS)
def test_laws_hold(kind: type[Gated]) -> None:
    check_layer(lambda: kind(3, 5))


def test_rows_of_W_and_U_by_gate() -> None:
    """The rows stand as ``x_gates`` and ``u_gates`` say, against the products written out."""
    cell, x, h = Each(3, 5).double(), torch.randn(2, 3).double(), torch.randn(2, 5).double()
    with torch.no_grad():
        cell.b.normal_()
    assert (cell.x_gates, cell.u_gates) == (("z", "r", "n"), ("r", "z", "n"))
    W, b = (
        dict(zip(cell.x_gates, cell.W.chunk(3), strict=True)),
        dict(zip(cell.x_gates, cell.b.chunk(3), strict=True)),
    )
    U = dict(zip(cell.u_gates, cell.U.chunk(3), strict=True))
    r = sigmoid(x @ W["r"].T + b["r"] + h @ U["r"].T)
    z = sigmoid(x @ W["z"].T + b["z"] + tanh(h) @ U["z"].T)
    n = tanh(x @ W["n"].T + b["n"] + (r * h) @ U["n"].T)
    torch.testing.assert_close(cell.step(x, State(h=h))[0], n * z + h * (1 - z))
    shapes = {name: tuple(value.shape) for name, value in Single(3, 5).named_parameters()}
    assert shapes == {"W": (5, 3), "U": (5, 5), "b": (5,), "w": (5,)}
    assert Diagonal(3, 5).U.shape == (0, 5)


def test_graphs_of_both_stages() -> None:
    assert len(trace(Shared(3, 5)).inner.outputs) == 1
    assert len(trace(Each(3, 5)).inner.outputs) == 2
    assert trace(Single(3, 5)).inner is None


@pytest.mark.parametrize(
    "names",
    [{"late": ("q",)}, {"without_U": ("n",), "late": ("n",)}, {"without_W": ("f", "n")}, {"without_U": ("q",)}],
)
def test_names_of_stages_are_checked(names: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"expected names of gates \('n', 'f'\)"):
        type("Odd", (Shared,), {"late": (), **names})(3, 5)


def test_late_gates_need_inner() -> None:
    kind = type("Lost", (Gated,), {"gates": ("a",), "late": ("a",), "equation": Shared.equation})
    with pytest.raises(TypeError, match="has late gates"):
        kind(3, 5).step(torch.zeros(1, 3))
