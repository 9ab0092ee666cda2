"""From an equation's graphs to C++: a few readable lines inside the shared loop of recurrence.h."""

from importlib.resources import files

from recurra.kernels.equation import Equation, Graph, Operation, Value

__all__ = ["source"]

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


def source(equation: Equation, name: str) -> str:
    """The whole C++ file for a cell called ``name``: the headers, the cell, and two functions to call."""
    folder = files("recurra.kernels.cpu")
    headers = [(folder / header).read_text(encoding="utf-8") for header in ("math.h", "recurrence.h")]
    shared = "\n".join(headers).replace('#include "math.h"\n', "").replace("#pragma once\n", "")
    return f"{shared}\n{cell(equation, name)}{_FUNCTIONS}"


def cell(equation: Equation, name: str) -> str:
    """The part of the source that belongs to this cell alone."""
    gates, states, vectors = len(equation.x_gates), len(equation.state), len(equation.vectors)
    ends = [0, gates, 2 * gates, 2 * gates + states, 2 * gates + states + vectors]
    targets = [
        f"{array}[{i}]" for array, a, b in zip(_GRADIENTS, ends[:-1], ends[1:], strict=True) for i in range(b - a)
    ]
    return f"""// {name}
struct Cell {{
    static constexpr int G = {gates}, S = {states}, P = {vectors};
    static constexpr bool SAME = {str(equation.same).lower()};

    static inline void forward(const V* x, const V* u, const V* s, const V* p, V* after) {{
{_body(equation, equation.forward, [f"after[{i}]" for i in range(states)])}    }}

    static inline void backward(const V* x, const V* u, const V* s, const V* p, const V* g,
                                V* dx, V* du, V* ds, V* dp) {{
{_body(equation, equation.backward, targets)}    }}
}};
"""


_GRADIENTS = ("dx", "du", "ds", "dp")


def _body(equation: Equation, graph: Graph, targets: list[str]) -> str:
    places = _places(equation)
    lines = [f"const V {operation.name} = {_expression(operation, places)};" for operation in graph.operations]
    lines += [
        f"{target} = {_operand(value, places)};" for target, value in zip(targets, graph.outputs, strict=True)
    ]
    return "".join(f"        {line}\n" for line in lines)


def _places(equation: Equation) -> dict[str, str]:
    """Where the inputs of the graphs stand: ``x_r`` is ``x[0]``."""
    groups = {
        "x": equation.x_gates,
        "u": equation.u_gates,
        "s": equation.state,
        "p": equation.vectors,
        "g": equation.state,
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
