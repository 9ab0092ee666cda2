"""States as values: tensors in (named) tuples, batch first in every leaf.

Five functions are all that truncated backpropagation, beam search, session batching and saving need, whatever
the layer: `leaves`, `map`, `rows`, `where`, `detach`. `State` makes the named tuples.
"""

from collections import namedtuple
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

__all__ = ["State", "Tree", "build", "detach", "leaves", "map", "names", "rows", "spec", "unflatten", "where"]

Tree = Any  # a Tensor, or a (named) tuple of trees; () is the state of a layer without memory


@cache
def _state_type(fields: tuple[str, ...]) -> Any:
    return namedtuple("State", fields)


def State(**values: Tree) -> Any:
    """Make a named tuple of tensors or states: ``State(h=h, c=c)`` has the fields ``.h`` and ``.c``."""
    return _state_type(tuple(values))(**values)


def _rebuild(like: tuple, items: Iterator[Tree]) -> tuple:
    return type(like)(*items) if type(like) is not tuple else tuple(items)


def leaves(tree: Tree) -> list[Tensor]:
    """All tensors of a state, left to right."""
    if isinstance(tree, Tensor):
        return [tree]
    if not isinstance(tree, tuple | list):
        raise TypeError(f"expected tensors in tuples, got {type(tree).__name__}")
    return [leaf for branch in tree for leaf in leaves(branch)]


def names(tree: Tree, prefix: str = "") -> list[str]:
    """A dotted name for each leaf, in the order of `leaves`: ``["0.h", "0.c", "1.h"]``."""
    if isinstance(tree, Tensor):
        return [prefix or "state"]
    if not isinstance(tree, tuple | list):
        raise TypeError(f"expected tensors in tuples, got {type(tree).__name__}")
    keys = getattr(tree, "_fields", None) or [str(i) for i in range(len(tree))]
    start = f"{prefix}." if prefix else ""
    return [name for key, branch in zip(keys, tree, strict=True) for name in names(branch, start + key)]


def map(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """A state of the same structure whose leaves are ``function(leaf, *other_leaves)``."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    return _rebuild(tree, (map(function, *branches) for branches in zip(tree, *others, strict=True)))


def unflatten(like: Tree, tensors: list[Tensor]) -> Tree:
    """The inverse of `leaves`: put ``tensors`` into the structure of ``like``."""
    rest = iter(tensors)
    return map(lambda _: next(rest), like)


def rows(tree: Tree, index: Tensor | slice | list[int]) -> Tree:
    """Choose rows of the batch, in order and with repetition: ``rows(state, beam_parents)``."""
    return map(lambda leaf: leaf[index], tree)


def where(condition: Tensor, yes: Tree, no: Tree) -> Tree:
    """Choose per row: ``condition (B,)`` true takes the row of ``yes``, false that of ``no``."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.view(-1, *[1] * (a.dim() - 1)), a, b)

    return map(choose, yes, no)


def detach(tree: Tree) -> Tree:
    """The same values cut from the graph that made them, as truncated backpropagation needs between windows."""
    return map(Tensor.detach, tree)


def spec(tree: Tree) -> Any:
    """The structure of a state as plain values for JSON: None for a tensor, a list or a dict for a tuple."""
    if isinstance(tree, Tensor):
        return None
    if type(tree) is tuple:
        return [spec(branch) for branch in tree]
    return {name: spec(branch) for name, branch in tree._asdict().items()}


def build(structure: Any, tensors: list[Tensor]) -> Tree:
    """The inverse of `spec` and `leaves` together."""
    rest = iter(tensors)

    def grow(branch: Any) -> Tree:
        if branch is None:
            return next(rest)
        if isinstance(branch, list):
            return tuple(grow(item) for item in branch)
        return State(**{name: grow(item) for name, item in branch.items()})

    return grow(structure)
