"""Equations as graphs: running a graph gives the equation's own numbers, and what cannot be one is named."""

import operator
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import LAYERS, Gated, State
from recurra.errors import EquationError
from recurra.kernels.equation import Graph, trace
from recurra.kernels.recurrence import named

INFIX = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}


def run(graph: Graph, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Compute a graph, one operation after the other."""
    values: dict[Any, Any] = dict(inputs)
    like = next(iter(inputs.values()))

    def get(value: Any) -> Tensor:
        return values[value] if isinstance(value, str) else torch.full_like(like, value)

    for operation in graph.operations:
        arguments = [get(a) for a in operation.arguments]
        if operation.kind in INFIX:
            result = INFIX[operation.kind](*arguments)
        elif operation.kind == "where":
            result = torch.where(arguments[0].bool(), *arguments[1:])
        else:
            result = getattr(torch, operation.kind)(*arguments)
        values[operation.name] = result.to(like.dtype)
    return [get(output) for output in graph.outputs]


def make(body: Any, state: tuple[str, ...] = ("h",), vectors: tuple[str, ...] = ()) -> Gated:
    """A cell with two gates and the given equation."""
    fields = {"gates": ("a", "b"), "state": state, "vectors": vectors, "equation": body}
    return type("Made", (Gated,), fields)(3, 4)


EXPRESSIONS = {
    "arithmetic": lambda x, u, s: (x.a - 2 * u.a) / (3 + u.b * u.b) + s.h.neg() - 1,
    "functions": lambda x, u, s: torch.exp(-x.a.abs()) * torch.log(1 + u.a * u.a) + torch.sqrt(1 + s.h**2),
    "softplus": lambda x, u, s: torch.nn.functional.softplus(x.a + 5 * u.a) - s.h,
    "relu": lambda x, u, s: torch.relu(x.a + u.a) + torch.relu(-s.h),
    "choices": lambda x, u, s: torch.where(x.a > u.a, s.h, x.b) + torch.maximum(x.a, u.b) * torch.minimum(u.a, s.h),
    "powers": lambda x, u, s: (
        (x.a + u.a) ** 3 + (1 + s.h**2) ** -0.5 + (2 + u.b**2) ** 0.5 + (3 + x.b**2).reciprocal()
    ),
    "alpha": lambda x, u, s: torch.add(x.a, u.a, alpha=0.5) - torch.sub(s.h, x.b, alpha=3),
    "rsub": lambda x, u, s: 1 - torch.sigmoid(x.a) * (1 - torch.tanh(u.a)) + torch.rsqrt(1 + s.h**2),
    "constants": lambda x, u, s: torch.zeros_like(x.a) + 2 * torch.ones_like(s.h) + torch.full_like(u.a, 0.5) * x.a,
    "constant state": lambda x, u, s: x.a * 0 + 1,
}


def check(cell: Gated) -> None:
    """Both graphs against autograd."""
    equation = trace(cell)
    groups = {"x": cell.x_gates, "u": cell.u_gates, "s": cell.state, "p": cell.vectors}
    keys = [f"{kind}_{name}" for kind, names in groups.items() for name in names]
    inputs = {key: torch.randn(7, 4, dtype=torch.float64, requires_grad=True) for key in keys}
    parts = {kind: [inputs[f"{kind}_{name}"] for name in names] for kind, names in groups.items()}
    state = State(**dict(zip(cell.state, parts["s"], strict=True)))
    want = cell.equation(
        named(cell.x_gates, parts["x"]), named(cell.u_gates, parts["u"]), state, named(cell.vectors, parts["p"])
    )
    got = run(equation.forward, inputs)
    torch.testing.assert_close(got, [getattr(want, name) for name in cell.state], atol=1e-12, rtol=1e-12)
    leaves = [getattr(want, name) for name in cell.state]
    flows = [torch.randn_like(leaf) for leaf in leaves]
    together = sum((leaf * flow).sum() for leaf, flow in zip(leaves, flows, strict=True))
    gradients = torch.autograd.grad(together, list(inputs.values()), allow_unused=True)
    gradients = [torch.zeros(7, 4, dtype=torch.float64) if g is None else g for g in gradients]
    given = {**inputs, **{f"g_{name}": flow for name, flow in zip(cell.state, flows, strict=True)}}
    torch.testing.assert_close(run(equation.backward, given), gradients, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if issubclass(kind, Gated)])
def test_cells(name: str) -> None:
    check(LAYERS[name](3, 4))


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name: str) -> None:
    check(make(lambda self, x, u, s, p: State(h=EXPRESSIONS[name](x, u, s))))


def test_states_in_another_order_and_vectors() -> None:
    def body(self: Any, x: Any, u: Any, s: Any, p: Any) -> Any:
        c = s.c * p.decay + torch.tanh(x.a + u.a)
        return State(c=c, h=torch.sigmoid(x.b + u.b + p.peep * c) * c)

    check(make(body, ("h", "c"), ("decay", "peep")))


def test_same_says_whether_x_and_u_share_a_gradient() -> None:
    assert trace(LAYERS["lstm"](3, 4)).same
    assert not trace(LAYERS["gru"](3, 4)).same


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda self, x, u, s, p: State(h=torch.softmax(x.a, -1)), "softmax is not an elementwise operation"),
        (
            lambda self, x, u, s, p: State(h=x.a - u.a.mean(-1, keepdim=True)),
            "mean is not an elementwise operation",
        ),
        (lambda self, x, u, s, p: State(h=torch.erf(x.a)), "erf is not an elementwise operation"),
        (lambda self, x, u, s, p: State(h=x.a if x.a.sum() > 0 else u.a), "cannot be traced"),
        (
            lambda self, x, u, s, p: State(h=x.a * torch.arange(5.0)),
            "is not an elementwise operation|none of x, u, s",
        ),
        (lambda self, x, u, s, p: State(h=x.nope), "cannot be traced: .*nope"),
        (lambda self, x, u, s, p: State(h=x.a / x.a.shape[-1] ** 0.5), "depends on the shape"),
        (lambda self, x, u, s, p: State(h=x.a / len(x.a)), "depends on the shape"),
        (lambda self, x, u, s, p: State(h=torch.nn.functional.softplus(x.a, beta=3.0)), "softplus with beta=3.0"),
        (lambda self, x, u, s, p: State(h=torch.div(x.a, 2.0, rounding_mode="floor")), "rounding_mode"),
        (lambda self, x, u, s, p: State(h=x.b * ((x.a > 0) + (u.a > 0))), "is logic, not arithmetic"),
        (lambda self, x, u, s, p: State(h=torch.rsub(x.a, 1.0, alpha=3.0)), "not an operation that kernels know"),
        (lambda self, x, u, s, p: State(h=x.a * self.W[0, 0]), "reads self.W, a tensor"),
        (lambda self, x, u, s, p: State(h=x.a * float(self.U[0, 0])), "reads self.U, a tensor"),
        (lambda self, x, u, s, p: State(h=x.a * {"a": 1}["a"] * self._modules.get("x", 1)), "reads self._modules"),
        (lambda self, x, u, s, p: State(h=x.a**2.3), "pow with exponent 2.3"),
    ],
)
def test_what_is_no_elementwise_equation_is_named(body: Any, message: str) -> None:
    with pytest.raises(EquationError, match=message):
        trace(make(body))


def test_tracing_leaves_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    trace(LAYERS["gru"](3, 4))
    cell = LAYERS["gru"](3, 4)
    before = torch.get_rng_state()
    trace(cell)
    assert torch.equal(torch.get_rng_state(), before)
