"""A cell's equation as a graph of elementwise operations, forward and backward.

The equation is traced once by `make_fx` on small tensors, and so is its gradient, by `torch.func.vjp`.
What comes out is a short list of operations on the numbers of one unit, from which a kernel can be printed. An
operation that mixes units, or that is not in the table, is refused with its name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from recurra import tree
from recurra.errors import EquationError
from recurra.kernels.recurrence import Cell, named

__all__ = ["Equation", "Graph", "Operation", "Value", "trace"]

Value = str | float  # the name of an input or of an earlier result, or a constant

SHAPE = (3, 5)  # of the tensors that the equation is traced on: rows and units


@dataclass(frozen=True)
class Operation:
    """``name = kind(arguments)``, for each unit by itself."""

    name: str
    kind: str
    arguments: tuple[Value, ...]


@dataclass
class Graph:
    """Operations in order, from named inputs to outputs."""

    inputs: list[str]
    operations: list[Operation] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)

    def add(self, kind: str, *arguments: Value) -> Value:
        """The result of an operation: appended, or the one that is there already."""
        for known in self.operations:
            if (known.kind, known.arguments) == (kind, arguments):
                return known.name
        self.operations.append(Operation(f"t{len(self.operations)}", kind, arguments))
        return self.operations[-1].name

    def pruned(self) -> "Graph":
        """The same graph without operations that no output needs."""
        wanted = {value for value in self.outputs if isinstance(value, str)}
        kept = []
        for operation in reversed(self.operations):
            if operation.name in wanted:
                kept.append(operation)
                wanted.update(value for value in operation.arguments if isinstance(value, str))
        return Graph(self.inputs, kept[::-1], self.outputs)


@dataclass(frozen=True)
class Equation:
    """A cell's equation as two graphs.

    forward   x_<gate>, u_<gate>, s_<state>, p_<vector> -> the new state
    backward  the same and g_<state>, the gradient of the new state -> gradients of x, u, s and p, in this order
    """

    gates: tuple[str, ...]
    state: tuple[str, ...]
    vectors: tuple[str, ...]
    forward: Graph
    backward: Graph

    @property
    def same(self) -> bool:
        """Whether x and u have the same gradient, as when the equation only reads x + u."""
        gates, gradients = len(self.gates), self.backward.outputs
        return gradients[:gates] == gradients[gates : 2 * gates]


def trace(cell: Cell) -> Equation:
    """Trace a cell's equation and its backward. Raises EquationError naming what cannot be part of a graph."""
    groups = (cell.gates, cell.gates, cell.state, cell.vectors)
    ends = list(accumulate(map(len, groups), initial=0))
    names = [f"{kind}_{name}" for kind, group in zip("xusp", groups, strict=True) for name in group]

    def forward(*values: Tensor) -> tuple[Tensor, ...]:
        parts = [values[a:b] for a, b in pairwise(ends)]
        x, u, p = (named(groups[i], parts[i]) for i in (0, 1, 3))
        after = cell.equation(x, u, tree.State(**dict(zip(cell.state, parts[2], strict=True))), p)
        return tuple(getattr(after, name) for name in cell.state)

    def backward(*values: Tensor) -> tuple[Tensor, ...]:
        pull: Any = torch.func.vjp(forward, *values[: ends[-1]])[1]
        return pull(tuple(values[ends[-1] :]))

    graphs = _graph(forward, names), _graph(backward, names + [f"g_{name}" for name in cell.state])
    return Equation(cell.gates, cell.state, cell.vectors, *graphs)


def _graph(function: Callable[..., tuple[Tensor, ...]], names: list[str]) -> Graph:
    """Trace a function of tensors that all have one number for each row and unit."""
    examples = [torch.zeros(SHAPE) for _ in names]
    try:
        traced = make_fx(torch.func.functionalize(function), tracing_mode="fake")(*examples)
    except EquationError:
        raise
    except Exception as error:  # whatever the author's own code may raise on tensors that hold no numbers
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EquationError(f"the equation cannot be traced: {reason}") from error
    traced.graph.eliminate_dead_code()
    graph = Graph(names)
    values: dict[fx.Node, Value] = {}
    inputs = iter(names)
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            values[node] = next(inputs)
        elif node.op == "call_function":
            values[node] = _convert(graph, node, values)
        elif node.op == "output":
            graph.outputs = [values[item] for item in node.args[0]]
        else:
            raise EquationError(f"the equation reads a tensor ({node.target}) that is none of x, u, s and p")
    return graph.pruned()


def _convert(graph: Graph, node: fx.Node, values: dict[fx.Node, Value]) -> Value:
    packet = getattr(node.target, "overloadpacket", node.target)
    name = getattr(packet, "__name__", str(node.target))
    if name not in _TABLE:
        raise EquationError(f"{name} is not an elementwise operation that kernels know")
    shape = tuple(node.meta["val"].shape)
    if shape not in ((), SHAPE):
        raise EquationError(f"{name} mixes units or rows: it gives shape {shape} from tensors of {SHAPE}")
    arguments: list[Any] = [values[item] if isinstance(item, fx.Node) else item for item in node.args]
    arguments = [float(item) if isinstance(item, int | float) else item for item in arguments]
    alpha: Any = node.kwargs.get("alpha", 1)
    if alpha != 1:
        arguments[1] = graph.add("mul", arguments[1], float(alpha))
    return _TABLE[name](graph, *arguments)


def _plain(kind: str, count: int) -> Callable[..., Value]:
    return lambda graph, *arguments: graph.add(kind, *arguments[:count])


def _sigmoid_backward(graph: Graph, g: Value, y: Value) -> Value:
    return graph.add("mul", g, graph.add("mul", y, graph.add("sub", 1.0, y)))


def _tanh_backward(graph: Graph, g: Value, y: Value) -> Value:
    return graph.add("mul", g, graph.add("sub", 1.0, graph.add("mul", y, y)))


def _power(graph: Graph, x: Value, exponent: Value) -> Value:
    """Whole and half exponents up to 8 by products and a square root."""
    halves = 2 * exponent if isinstance(exponent, float) else 0.5
    if halves != int(halves) or not 0 < abs(halves) <= 16:
        raise EquationError(f"pow with exponent {exponent} is not an operation that kernels know")
    factors: list[Value] = [x] * (int(abs(halves)) // 2) + [graph.add("sqrt", x)] * (int(abs(halves)) % 2)
    value = reduce(lambda a, b: graph.add("mul", a, b), factors)
    return graph.add("div", 1.0, value) if halves < 0 else value


def _softplus(graph: Graph, x: Value, *_: Value) -> Value:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = graph.add("exp", graph.add("neg", graph.add("abs", x)))
    return graph.add("add", graph.add("maximum", x, 0.0), graph.add("log", graph.add("add", 1.0, small)))


_TABLE: dict[str, Callable[..., Value]] = {
    **{name: _plain(name, 2) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    **{name: _plain(name, 2) for name in ("gt", "ge", "lt", "le", "eq", "ne")},
    **{name: _plain(name, 1) for name in ("neg", "sigmoid", "tanh", "exp", "log", "sqrt", "abs", "sign")},
    "where": _plain("where", 3),
    "sgn": _plain("sign", 1),
    "masked_fill": lambda graph, x, mask, value: graph.add("where", mask, value, x),
    "rsub": lambda graph, x, y: graph.add("sub", y, x),
    "relu": lambda graph, x: graph.add("maximum", x, 0.0),
    "reciprocal": lambda graph, x: graph.add("div", 1.0, x),
    "rsqrt": lambda graph, x: graph.add("div", 1.0, graph.add("sqrt", x)),
    "pow": _power,
    "softplus": _softplus,
    "softplus_backward": lambda graph, g, x, *_: graph.add("mul", g, graph.add("sigmoid", x)),
    "sigmoid_backward": _sigmoid_backward,
    "tanh_backward": _tanh_backward,
    "threshold_backward": lambda graph, g, x, limit: graph.add("where", graph.add("gt", x, limit), g, 0.0),
    **dict.fromkeys(("zeros_like", "new_zeros"), lambda graph, *_: 0.0),
    "ones_like": lambda graph, *_: 1.0,
    "full_like": lambda graph, like, value: value,
    "scalar_tensor": lambda graph, value: value,
    **dict.fromkeys(("clone", "detach", "alias", "expand", "view_of"), lambda graph, x, *_: x),
}
