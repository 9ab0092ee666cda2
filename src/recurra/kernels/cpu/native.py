"""The C functions that kernels are made of, and the structures that they take."""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import Tensor

from recurra.kernels.cpu import build, emit, openmp

__all__ = ["Function", "gradient", "load_loops", "normalize", "pack_columns", "pack_depth", "times", "unnormalize"]

_WHOLE, _POINTER = ctypes.c_int64, ctypes.c_void_p
Function = Callable[..., None]


def _structure(name: str, numbers: str, pointers: str) -> type[ctypes.Structure]:
    """A struct of int64 numbers and of pointers, in the order of the C declaration."""
    fields = [(n, _POINTER if n in pointers.split() else _WHOLE) for n in f"{numbers} {pointers}".split()]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


_Call = _structure(
    "Call",
    "batch steps total hidden threads by_units trains",
    "offsets index order x x_gains x_shifts early late vectors gains dropout keep first "
    "y last before fed kept normal deviations dy dx du dlate dstate dvectors dgains flow dfed",
)
_Times = _structure("Times", "rows depth columns threads a_stride out_stride", "a from packed bias out to")
_Gradient = _structure("Gradient", "rows gates hidden columns threads a_stride", "d a from out bias")
_Normal = _structure("Normal", "rows gates hidden threads", "values deviations gains normal sums")
_Pack = _structure("Pack", "gates hidden columns width", "from to")


def _function(library: ctypes.CDLL, name: str, structure: type[ctypes.Structure]) -> Function:
    """A C function that takes numbers and tensors by name; None is a null pointer."""
    function = getattr(library, name)
    function.argtypes, function.restype = [ctypes.POINTER(structure)], None

    def call(**values: Any) -> None:
        function(structure(**{k: v.data_ptr() if isinstance(v, Tensor) else v for k, v in values.items()}))

    return call


def load_loops(source: str) -> tuple[Function, Function]:
    """The forward and the backward loop of a cell's source."""
    library = _load(source)
    return _function(library, "forward", _Call), _function(library, "backward", _Call)


def _load(source: str) -> ctypes.CDLL:
    library = build.load(source)
    library.use_openmp(*openmp.addresses())
    return library


@lru_cache(maxsize=1)
def _products() -> dict[str, Function]:
    library = _load(emit.products())
    structures = {"times": _Times, "gradient": _Gradient, "pack_columns": _Pack, "pack_depth": _Pack}
    structures |= {"normalize": _Normal, "unnormalize": _Normal}
    return {name: _function(library, name, structure) for name, structure in structures.items()}


def times(**values: Any) -> None:
    """Out = a packed + bias, by rows: see products.cpp."""
    _products()["times"](**values)


def gradient(**values: Any) -> None:
    """Out += d^T a and bias += the sum of d, over all rows: see products.cpp."""
    _products()["gradient"](**values)


def normalize(**values: Any) -> None:
    """Layer-normalise each gate's units of packed rows, in place: see products.cpp."""
    _products()["normalize"](**values)


def unnormalize(**values: Any) -> None:
    """The gradient of what was normalised, in place of that of what came out: see products.cpp."""
    _products()["unnormalize"](**values)


def pack_columns(**values: Any) -> None:
    """Weights whose units become columns of a product: see products.cpp."""
    _products()["pack_columns"](**values)


def pack_depth(**values: Any) -> None:
    """Weights whose units are what a product sums over: see products.cpp."""
    _products()["pack_depth"](**values)
