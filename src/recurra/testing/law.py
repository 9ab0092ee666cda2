"""A law: a promise that every layer or task keeps, with the check that shows whether it does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["BOTH", "EVALUATION", "TRAINING", "Law", "law"]

EVALUATION, TRAINING = (False,), (True,)
BOTH = (False, True)


@dataclass(frozen=True)
class Law:
    """A named promise.

    name     a few words, what ``only=`` takes
    family   laws of a family watch the same thing from several sides, and often fail together
    promise  one sentence
    usually  what a failure usually means
    modes    whether a layer is examined in evaluation mode, in training mode, or both
    check    takes a `Subject` (a layer) or a `Pupil` (a task), raises ContractError if the law is broken; returns
             the reason why it does not apply, or ""
    """

    name: str
    family: str
    promise: str
    usually: str
    modes: tuple[bool, ...]
    check: Callable[[Any], str]


def law(
    name: str, family: str, promise: str, usually: str, modes: tuple[bool, ...] = BOTH
) -> Callable[[Callable[[Any], str]], Law]:
    """Decorator: make a Law of a check."""
    return lambda check: Law(name, family, promise, usually, modes, check)
