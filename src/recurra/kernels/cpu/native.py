"""The C functions that kernels are made of, and the structures that they take."""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from recurra.kernels.cpu import build, emit, openmp

__all__ = ["Function", "constant", "load_loops", "load_pointwise", "products", "together"]

F = TypeVar("F", bound=Callable[..., Any])

_POINTER = ctypes.c_void_p


def _structure(numbers: str, pointers: str) -> dict[str, int]:
    """A struct of int64 numbers, then of pointers, in the order of the C declaration, all zero."""
    return dict.fromkeys(f"{numbers} {pointers}".split(), 0)


_Call = _structure(  # call.h
    "batch steps total hidden begin end threads by_units trains places",
    "offsets index order x x_gains x_shifts early late vectors gains dropout keep shares first "
    "y last before fed kept normal deviations dy dx du dlate dstate dvectors dgains flow dfed",
)
_Pack = _structure("gates hidden columns width", "from to")
_Normal = _structure("rows gates hidden threads", "values deviations gains normal sums")
_POINTWISE = (
    "frames places hidden threads half flowing x_stride u_stride x u s p after brief kept g dy flow dx du ds dp"
)
_PRODUCTS = {
    "times": _structure("rows depth columns threads a_stride out_stride", "a from packed bias out to"),
    "gradient": _structure("rows gates hidden columns threads a_stride", "d a from out bias"),
    "noise": _structure("rows units limit threads", "starts out"),
    "normalize": _Normal,
    "unnormalize": _Normal,
    "pack_columns": _Pack,
    "pack_depth": _Pack,
}


def constant(function: F) -> F:
    """Decorator: torch.compile takes what ``function`` returns while it watches as a constant.

    As `torch.compiler.assume_constant_result`, which loads the whole compiler at once: a second at each start of
    every program, most of which never compile.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


class Function:
    """A C function of one structure, called with numbers and tensors by name; None is a null pointer."""

    def __init__(self, library: ctypes.CDLL, name: str, structure: dict[str, int]) -> None:
        self.native = getattr(library, name)
        self.native.argtypes, self.native.restype = [_POINTER], None
        self._words = ctypes.c_int64 * len(structure)
        self._places = {field: i for i, field in enumerate(structure)}

    def fill(self, **values: Any) -> "ctypes.Array[ctypes.c_int64]":
        """The structure, a word a field; whoever keeps it keeps the tensors too."""
        words = self._words()
        for name, value in values.items():
            if value is not None:
                words[self._places[name]] = value if type(value) is int else value.data_ptr()
        return words

    def place(self, name: str) -> int:
        """Which word of the structure a field is."""
        return self._places[name]

    def __call__(self, **values: Any) -> None:
        self.native(self.fill(**values))


class _Link(ctypes.Structure):
    """``struct Link`` of products.cpp: a function and what it is called with."""

    _fields_ = [("function", _POINTER), ("call", _POINTER)]


def links(calls: "list[tuple[Function, ctypes.Array[ctypes.c_int64]]]") -> Any:
    """An array of calls for `chain` and `together`."""
    made = [_Link(ctypes.cast(f.native, _POINTER), ctypes.cast(ctypes.byref(c), _POINTER)) for f, c in calls]
    return (_Link * len(made))(*made)


def together(calls: list[tuple[Function, dict[str, Any]]]) -> None:
    """Call functions at the same time, each by one thread of a team; a single one is simply called."""
    if len(calls) == 1:
        function, values = calls[0]
        return function(**values)
    filled = [(function, function.fill(**values)) for function, values in calls]
    return _library().run_together(links(filled), len(filled))


def load_loops(source: str) -> tuple[Function, Function]:
    """The forward and the backward loop of a cell's source."""
    library = _load(source)
    return Function(library, "forward", _Call), Function(library, "backward", _Call)


def load_pointwise(source: str, counts: dict[str, int]) -> tuple[Function, Function]:
    """The functions of pointwise.h; ``counts`` of x, u, s and p, which are arrays in its structure."""
    groups = {"x_stride": "x", "u_stride": "u", "after": "s", "g": "s", "dx": "x", "du": "u", "ds": "s", "dp": "p"}
    names: list[str] = []
    for name in _POINTWISE.split():
        group = groups.get(name, name)
        names += [f"{name}{i}" for i in range(max(1, counts[group]))] if group in counts else [name]
    library, structure = _load(source), dict.fromkeys(names, 0)
    return Function(library, "forward", structure), Function(library, "backward", structure)


def _load(source: str) -> ctypes.CDLL:
    library = build.load(source)
    library.use_openmp(*openmp.addresses())
    return library


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    library = _load(emit.products())
    for name in ("run_together", "run_chain"):
        function = getattr(library, name)
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_int64], None
    return library


@lru_cache(maxsize=8)
def products(name: str) -> Function:
    """A function of products.cpp by its name."""
    return Function(_library(), name, _PRODUCTS[name])


def chain() -> Any:
    """The C function that calls links one after another: ``chain()(links, count)``."""
    return _library().run_chain
