"""Which kernel belongs to a cell as it is now: made once, and kept as long as the cell lives."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from recurra.errors import BuildError, EquationError, RecurraError
from recurra.kernels.equation import Equation, trace

__all__ = ["Known", "traced"]


class _HasEquation(Protocol):
    @property
    def equation(self) -> Equation: ...


K = TypeVar("K", bound=_HasEquation)


class Known(Generic[K]):
    """Kernels by their cells; ``make(cell)`` builds one, or raises EquationError or BuildError."""

    def __init__(self, make: Callable[[Any], K]) -> None:
        self._make = make
        self._kernels: WeakKeyDictionary[Any, list[K]] = WeakKeyDictionary()
        self._refused: WeakKeyDictionary[Any, RecurraError] = WeakKeyDictionary()

    def __call__(self, cell: Any) -> K:
        """The kernel of a cell as it is now, or the error that says why there is none."""
        known = self._kernels.setdefault(cell, [])
        for kernel in known:
            if kernel.equation.holds_for(cell):
                return kernel
        if cell in self._refused:
            raise self._refused[cell]
        try:
            known.insert(0, self._make(cell))
        except (EquationError, BuildError) as error:
            self._refused[cell] = error
            raise
        return known[0]


def traced(cell: Any) -> Equation:
    """A cell's equation, traced in a thread of its own, where no compiler, exporter or transform watches."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(trace, cell).result()
