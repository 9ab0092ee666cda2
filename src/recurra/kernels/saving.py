"""What the way back keeps of the way forward.

The gradient of an equation needs some of its values again: gates after their sigmoid, a sum before its relu. Where
both graphs hold the same value, it is kept, and the backward graph reads it instead of computing it anew from x and
u. So the way back needs no exponential again, and neither x nor u is stored.
"""

from dataclasses import dataclass
from typing import Any

from recurra.kernels.equation import Graph, Operation, Value

__all__ = ["Saved", "save"]

COSTLY = ("sigmoid", "tanh", "exp", "log", "sqrt")


@dataclass(frozen=True)
class Saved:
    """A forward graph's values to keep, and the backward graph that reads them as k_0, k_1, ..."""

    kept: tuple[Value, ...]
    backward: Graph


def save(forward: Graph, backward: Graph) -> Saved:
    """Keep the costly values, then the first value on each way from x and u, so that few need to be kept."""
    known = _keys(forward)
    names: dict[Value, str] = {}  # of forward values, as the backward graph calls them

    def costly(operation: Operation) -> bool:
        return operation.kind in COSTLY

    def reads_x_or_u(operation: Operation) -> bool:
        return any(_given(value) for value in operation.arguments)

    for wanted in (costly, reads_x_or_u):
        backward = _replaced(backward, known, names, wanted)
    outputs = [value for value in backward.outputs if _given(value)]
    arguments = [value for operation in backward.operations for value in operation.arguments if _given(value)]
    for value in dict.fromkeys(outputs + arguments):
        names.setdefault(value, f"k_{len(names)}")
    operations = [
        Operation(o.name, o.kind, tuple(_renamed(names, v) for v in o.arguments)) for o in backward.operations
    ]
    graph = Graph(backward.inputs, operations, [_renamed(names, value) for value in backward.outputs])
    return _compact(names, graph)


def _given(value: Value) -> bool:
    return isinstance(value, str) and value.startswith(("x_", "u_"))


def _renamed(names: dict[Value, str], value: Value) -> Value:
    return names[value] if _given(value) else value


def _keys(graph: Graph) -> dict[Any, str]:
    """What an operation computes from the graph's inputs, written out: the same in any graph."""
    keys: dict[Value, Any] = {}
    for operation in graph.operations:
        keys[operation.name] = _key(operation, keys)
    return {key: str(name) for name, key in keys.items()}


def _key(operation: Operation, keys: dict[Value, Any]) -> Any:
    return (operation.kind, *(keys.get(value, value) for value in operation.arguments))


def _replaced(graph: Graph, known: dict[Any, str], names: dict[Value, str], wanted: Any) -> Graph:
    """The graph with its wanted operations that are known read as kept values."""
    keys: dict[Value, Any] = {}
    back = {kept: name for name, kept in names.items()}
    written = {name: key for key, name in known.items()}
    keys.update({kept: written[name] for kept, name in back.items() if name in written})
    instead: dict[Value, Value] = {}
    operations = []
    for operation in graph.operations:
        operation = Operation(
            operation.name, operation.kind, tuple(instead.get(value, value) for value in operation.arguments)
        )
        key = keys[operation.name] = _key(operation, keys)
        if wanted(operation) and key in known:
            kept = names.setdefault(known[key], f"k_{len(names)}")
            instead[operation.name] = kept
            keys[kept] = key
        else:
            operations.append(operation)
    return Graph(graph.inputs, operations, [instead.get(value, value) for value in graph.outputs]).pruned()


def _compact(names: dict[Value, str], graph: Graph) -> Saved:
    """Only what is read in the end is kept, numbered without gaps."""
    read = {value for operation in graph.operations for value in operation.arguments} | set(graph.outputs)
    left = [(value, name) for value, name in names.items() if name in read]
    new = {name: f"k_{i}" for i, (_, name) in enumerate(left)}

    def renamed(value: Value) -> Value:
        return new.get(value, value) if isinstance(value, str) else value

    operations = [Operation(o.name, o.kind, tuple(map(renamed, o.arguments))) for o in graph.operations]
    inputs = [*new.values(), *(name for name in graph.inputs if not _given(name))]
    return Saved(tuple(value for value, _ in left), Graph(inputs, operations, list(map(renamed, graph.outputs))))
