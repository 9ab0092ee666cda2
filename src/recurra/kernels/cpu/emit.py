"""From an equation's graphs to C++: a few readable lines inside the shared loop of recurrence.h."""

from importlib.resources import files

from recurra.kernels.equation import Equation, Graph, Operation, Value
from recurra.kernels.saving import Saved, save

__all__ = ["joined", "pointwise", "products", "source"]

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARE = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_CALL = {
    "sigmoid": "sigmoid",
    "tanh": "hyperbolic_tangent",
    "exp": "exponential",
    "log": "logarithm",
    "sqrt": "square_root",
    "abs": "absolute",
    "sign": "signum",
    "maximum": "maximum",
    "minimum": "minimum",
}

_FUNCTIONS = """
extern "C" void forward(const Call* call) { Loop<Cell>::forward(*call); }
extern "C" void backward(const Call* call) { Loop<Cell>::backward(*call); }
"""


def source(equation: Equation, name: str, normalized: bool) -> str:
    """The whole C++ file for a cell called ``name``: the headers, the cell, and two functions to call."""
    shared = joined("math.h", "product.h", "team.h", "call.h", "recurrence.h")
    return f"{shared}\n{cell(equation, name, normalized)}{_FUNCTIONS}"


def pointwise(equation: Equation, name: str) -> str:
    """The C++ file that runs a cell's equation at every place of maps: see pointwise.h."""
    functions = _FUNCTIONS.replace("Loop<Cell>", "Maps<Cell>").replace("const Call*", "const Maps<Cell>::Call*")
    return f"{joined('math.h', 'team.h', 'pointwise.h')}\n{cell(equation, name, False)}{functions}"


def products() -> str:
    """The C++ file of the products over all time steps, the same for every cell."""
    return joined("math.h", "product.h", "team.h", "products.cpp")


def joined(*names: str) -> str:
    """Files joined in order, without the lines by which they include each other."""
    folder = files("recurra.kernels.cpu")
    lines = [line for name in names for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if not line.startswith(('#include "', "#pragma once")))


def cell(equation: Equation, name: str, normalized: bool) -> str:
    """The part of the source that belongs to this cell alone."""
    main = save(equation.forward, equation.backward)
    early = len(equation.u_gates) - len(equation.late)
    functions = [_forward(equation, main), _backward(equation, main, len(equation.u_gates))]
    kept, factors = len(main.kept), 0
    if equation.inner is not None and equation.inner_backward is not None:
        inner = save(equation.inner, equation.inner_backward)
        functions += [_inner(equation, inner, kept), _inner_backward(equation, inner, kept, early)]
        kept, factors = kept + len(inner.kept), len(equation.inner.outputs)
    same = equation.same and not normalized
    return f"""// {name}
struct Cell {{
    static constexpr int X = {len(equation.x_gates)}, E = {early}, L = {len(equation.late)}, FACTORS = {factors};
    static constexpr int S = {len(equation.state)}, P = {len(equation.vectors)};
    static constexpr int KEPT = {kept}, KEPT_FORWARD = {len(main.kept)};
    static constexpr bool SAME = {str(same).lower()}, NORMALIZED = {str(normalized).lower()};
{"".join(functions)}}};
"""


_FORWARD = "const V* x, const V* u, const V* s, const V* p"
_BACKWARD = "const V* k, const V* s, const V* p, const V* g, V* dx, V* du, V* ds, V* dp"


def _forward(equation: Equation, saved: Saved) -> str:
    targets = _targets(after=len(equation.state), kept=len(saved.kept))
    graph = equation.forward
    body = _body(equation, Graph(graph.inputs, graph.operations, [*graph.outputs, *saved.kept]), targets)
    return _function("forward", f"{_FORWARD}, V* after, V* kept", body)


def _inner(equation: Equation, saved: Saved, kept: int) -> str:
    graph: Graph = equation.inner  # type: ignore[assignment]
    targets = _targets(factors=len(graph.outputs)) + [f"kept[{kept + i}]" for i in range(len(saved.kept))]
    body = _body(equation, Graph(graph.inputs, graph.operations, [*graph.outputs, *saved.kept]), targets)
    return _function("inner", f"{_FORWARD}, V* factors, V* kept", body)


def _backward(equation: Equation, saved: Saved, u_gates: int) -> str:
    return _function("backward", _BACKWARD, _body(equation, saved.backward, _gradients(equation, u_gates)))


def _inner_backward(equation: Equation, saved: Saved, kept: int, u_gates: int) -> str:
    return _function(
        "inner_backward",
        _BACKWARD,
        _body(equation, saved.backward, _gradients(equation, u_gates), kept, factors=True),
    )


def _gradients(equation: Equation, u_gates: int) -> list[str]:
    return _targets(dx=len(equation.x_gates), du=u_gates, ds=len(equation.state), dp=len(equation.vectors))


def _targets(**arrays: int) -> list[str]:
    return [f"{array}[{i}]" for array, count in arrays.items() for i in range(count)]


def _function(name: str, arguments: str, body: str) -> str:
    return f"\n    static inline void {name}({arguments}) {{\n{body}    }}\n"


def _body(equation: Equation, graph: Graph, targets: list[str], kept: int = 0, factors: bool = False) -> str:
    places = _places(equation, factors)
    places |= {f"k_{i}": f"k[{kept + i}]" for i in range(len(graph.inputs))}
    lines = [f"const V {operation.name} = {_expression(operation, places)};" for operation in graph.operations]
    lines += [
        f"{target} = {_operand(value, places)};" for target, value in zip(targets, graph.outputs, strict=True)
    ]
    return "".join(f"        {line}\n" for line in lines)


def _places(equation: Equation, factors: bool) -> dict[str, str]:
    """Where the inputs of the graphs stand: ``x_r`` is ``x[0]``."""
    groups = {
        "x": equation.x_gates,
        "u": equation.u_gates,
        "s": equation.state,
        "p": equation.vectors,
        "g": equation.late if factors else equation.state,
    }
    return {f"{array}_{name}": f"{array}[{i}]" for array, names in groups.items() for i, name in enumerate(names)}


def _operand(value: Value, places: dict[str, str]) -> str:
    if isinstance(value, str):
        return places.get(value, value)
    return f"splat({_number(value)})"


def _number(value: float) -> str:
    if value != value:
        return '__builtin_nanf("")'
    if value in (float("inf"), float("-inf")):
        return "__builtin_inff()" if value > 0 else "-__builtin_inff()"
    return f"{value!r}f" if "." in repr(value) or "e" in repr(value) else f"{value!r}.0f"


def _expression(operation: Operation, places: dict[str, str]) -> str:
    a = [_operand(value, places) for value in operation.arguments]
    kind = operation.kind
    if kind in _INFIX:
        return f"{a[0]} {_INFIX[kind]} {a[1]}"
    if kind in _COMPARE:
        return f"choose({a[0]} {_COMPARE[kind]} {a[1]}, splat(1.0f), splat(0.0f))"
    if kind == "where":
        return f"choose({a[0]} != splat(0.0f), {a[1]}, {a[2]})"
    if kind == "neg":
        return f"-{a[0]}"
    return f"{_CALL[kind]}({', '.join(a)})"
