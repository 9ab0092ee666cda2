"""A cell's equation as a graph of elementwise operations, forward and backward.

The equation is traced once by `make_fx` on small tensors, and so is its gradient, by `torch.func.vjp`.
What comes out is a short list of operations on the numbers of one unit, from which a kernel can be printed. An
operation that mixes units, or that is not in the table, is refused with its name.
"""

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property, partial, reduce
from itertools import accumulate, pairwise
from types import MethodType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from recurra import tree
from recurra.errors import EquationError
from recurra.kernels.recurrence import Cell, named

__all__ = ["Equation", "Graph", "Operation", "Value", "trace"]

Value = str | float  # the name of an input or of an earlier result, or a constant

SHAPES = ((3, 5), (2, 7))  # of the tensors that the equation is traced on, rows and units: twice, for it must
# not depend on them


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
    """A cell's equation as graphs.

    forward   x_<gate>, u_<gate>, s_<state>, p_<vector> -> the new state
    backward  the same and g_<state>, the gradient of the new state -> gradients of x, u, s and p, in this order
    inner, inner_backward   the same for what U multiplies in the second stage, and its gradient g_<gate>; u has
                            the early gates only
    """

    x_gates: tuple[str, ...]
    u_gates: tuple[str, ...]
    late: tuple[str, ...]
    state: tuple[str, ...]
    vectors: tuple[str, ...]
    forward: Graph
    backward: Graph
    inner: Graph | None = None
    inner_backward: Graph | None = None
    reads: tuple[tuple[str, Any], ...] = ()  # attributes of the cell that the equation read, and their values
    around: tuple[tuple[Callable[[], Any], Any], ...] = ()  # numbers and texts of its module and closure, likewise

    def holds_for(self, cell: Cell) -> bool:
        """Whether what the equation read when it was traced is still so."""
        same = all(_same(getattr(cell, name, None), value) for name, value in self.reads)
        return same and all(_same(look(), value) for look, value in self.around)

    @cached_property
    def same(self) -> bool:
        """Whether x and u have the same gradient, as when one stage only reads x + u."""
        gates, gradients = len(self.x_gates), self.backward.outputs
        return self.x_gates == self.u_gates and not self.late and gradients[:gates] == gradients[gates : 2 * gates]


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and not isinstance(a, Tensor) and bool(a == b))


class _Reader:
    """Stands for the cell inside its equation, and notes which attributes it reads and which methods it calls."""

    def __init__(self, cell: Cell, reads: dict[str, Any], methods: list[Any]) -> None:
        self.__dict__.update(_cell=cell, _reads=reads, _methods=methods)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cell, name)
        if isinstance(value, Tensor):
            raise EquationError(f"the equation reads self.{name}, a tensor; name it in vectors and read p.{name}")
        if inspect.ismethod(value) and value.__self__ is self._cell:
            self._methods.append(value.__func__)
            return MethodType(value.__func__, self)
        if not isinstance(value, Hashable) or isinstance(value, nn.Module):
            raise EquationError(f"the equation reads self.{name}, a {type(value).__name__} that may change unseen")
        self._reads[name] = value
        return value


def _numbers_around(function: Any) -> tuple[tuple[Callable[[], Any], Any], ...]:
    """Ways to look up the numbers and texts that a function may read from its module and its closure, and values.

    Contents of lists and dicts that stand there are not watched.
    """
    module, code = getattr(function, "__globals__", {}), getattr(function, "__code__", None)
    if code is None:  # not a plain function: what it reads cannot be seen
        raise EquationError(f"the equation is a {type(function).__name__}, not a plain function")
    looks: list[Callable[[], Any]] = [partial(module.get, name) for name in code.co_names if name in module]
    looks += [partial(getattr, cell, "cell_contents", None) for cell in function.__closure__ or ()]
    return tuple((look, look()) for look in looks if isinstance(look(), bool | int | float | str | tuple))


def trace(cell: Cell) -> Equation:
    """Trace a cell's equation and its backward. Raises EquationError naming what cannot be part of a graph."""
    reads: dict[str, Any] = {}
    methods: list[Any] = []
    kind, reader = type(cell), _Reader(cell, reads, methods)

    def state_of(after: Any) -> tuple[Tensor, ...]:
        return tuple(getattr(after, name) for name in cell.state)

    graphs = _pair(cell, partial(kind.equation, reader), cell.u_gates, state_of, cell.state)
    methods.append(kind.equation)
    inner: tuple[Graph | None, Graph | None] = (None, None)
    if cell.late:
        early = cell.u_gates[: len(cell.u_gates) - len(cell.late)]
        inner = _pair(cell, partial(kind.inner, reader), early, _factors, cell.late)
        methods.append(kind.inner)
    around = sum((_numbers_around(method) for method in dict.fromkeys(methods)), ())
    names = (cell.x_gates, cell.u_gates, cell.late, cell.state, cell.vectors)
    return Equation(*names, *graphs, *inner, reads=tuple(reads.items()), around=around)


def _factors(inner: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inner,) if isinstance(inner, Tensor) else tuple(inner)


def _pair(
    cell: Cell,
    function: Callable[..., Any],
    u_gates: tuple[str, ...],
    parts_of: Callable[[Any], tuple[Tensor, ...]],
    parts: tuple[str, ...],
) -> tuple[Graph, Graph]:
    """Trace a function of x, u, s and p, whose result has named parts, and its gradient."""
    groups = (cell.x_gates, u_gates, cell.state, cell.vectors)
    ends = list(accumulate(map(len, groups), initial=0))
    names = [f"{kind}_{name}" for kind, group in zip("xusp", groups, strict=True) for name in group]

    def forward(*values: Tensor) -> tuple[Tensor, ...]:
        x, u, s, p = (values[a:b] for a, b in pairwise(ends))
        state = tree.State(**dict(zip(cell.state, s, strict=True)))
        return parts_of(function(named(groups[0], x), named(u_gates, u), state, named(groups[3], p)))

    def backward(*values: Tensor) -> tuple[Tensor, ...]:
        pull: Any = torch.func.vjp(forward, *values[: ends[-1]])[1]
        return pull(tuple(values[ends[-1] :]))

    graphs = []
    for shape in SHAPES:
        graph = _graph(forward, names, shape)
        gradients = [f"g_{name}" for name in parts[: len(graph.outputs)]]
        graphs.append((graph, _graph(backward, names + gradients, shape)))
    if graphs[0] != graphs[1]:
        raise EquationError("the equation depends on the shape of its tensors; give it the number as an attribute")
    return graphs[0]


def _graph(function: Callable[..., tuple[Tensor, ...]], names: list[str], size: tuple[int, int]) -> Graph:
    """Trace a function of tensors that all have one number for each row and unit."""
    examples = [torch.zeros(size) for _ in names]
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
            values[node] = _convert(graph, node, values, size)
        elif node.op == "output":
            graph.outputs = [values[item] for item in node.args[0]]
        else:
            raise EquationError(f"the equation reads a tensor ({node.target}) that is none of x, u, s and p")
    return graph.pruned()


def _convert(graph: Graph, node: fx.Node, values: dict[fx.Node, Value], size: tuple[int, int]) -> Value:
    packet = getattr(node.target, "overloadpacket", node.target)
    name = getattr(packet, "__name__", str(node.target))
    if name not in _TABLE:
        raise EquationError(f"{name} is not an elementwise operation that kernels know")
    shape = tuple(node.meta["val"].shape)
    if shape not in ((), size):
        raise EquationError(f"{name} mixes units or rows: it gives shape {shape} from tensors of {size}")
    if name in _NUMBERS_ONLY and all(_is_choice(item) for item in node.args):
        raise EquationError(f"{name} of two comparisons is logic, not arithmetic; use torch.where")
    unknown = set(node.kwargs) - {"alpha", "dtype", "layout", "device", "pin_memory", "memory_format"}
    if unknown:
        raise EquationError(f"{name} with {', '.join(sorted(unknown))} is not an operation that kernels know")
    arguments: list[Any] = [values[item] if isinstance(item, fx.Node) else item for item in node.args]
    arguments = [float(item) if isinstance(item, int | float) else item for item in arguments]
    alpha: Any = node.kwargs.get("alpha", 1)
    if alpha != 1 and name not in ("add", "sub"):
        raise EquationError(f"{name} with alpha={alpha} is not an operation that kernels know")
    if alpha != 1:
        arguments[1] = graph.add("mul", arguments[1], float(alpha))
    try:
        return _TABLE[name](graph, *arguments)
    except TypeError as error:
        raise EquationError(f"{name} with these arguments is not an operation that kernels know") from error


_NUMBERS_ONLY = ("add", "sub", "mul", "maximum", "minimum", "rsub")


def _is_choice(item: Any) -> bool:
    """Whether an argument is the result of a comparison, which torch adds and multiplies as true and false."""
    return isinstance(item, fx.Node) and item.meta["val"].dtype == torch.bool


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


def _check_softplus(beta: Value = 1.0, threshold: Value = 20.0) -> None:
    if (beta, threshold) != (1.0, 20.0):
        raise EquationError(
            f"softplus with beta={beta}, threshold={threshold} is not an operation that kernels know"
        )


def _softplus_backward(graph: Graph, g: Value, x: Value, *settings: Value) -> Value:
    _check_softplus(*settings)
    return graph.add("mul", g, graph.add("sigmoid", x))


def _softplus(graph: Graph, x: Value, *settings: Value) -> Value:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    _check_softplus(*settings)
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
    "softplus_backward": _softplus_backward,
    "sigmoid_backward": _sigmoid_backward,
    "tanh_backward": _tanh_backward,
    "threshold_backward": lambda graph, g, x, limit: graph.add("where", graph.add("gt", x, limit), g, 0.0),
    **dict.fromkeys(("zeros_like", "new_zeros"), lambda graph, *_: 0.0),
    "ones_like": lambda graph, *_: 1.0,
    "full_like": lambda graph, like, value: value,
    "scalar_tensor": lambda graph, value: value,
    **dict.fromkeys(("clone", "detach", "alias", "expand", "view_of"), lambda graph, x, *_: x),
}
