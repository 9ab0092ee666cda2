"""Operations with several variants, and the honest choice between them.

An `Op` is a reference, which defines the answer and accepts every call, and variants that compute the same
answer faster. Each variant comes with ``accepts(call) -> ""`` or the reason for a refusal, in words. The first
variant that accepts runs. Nothing is chosen silently: `record` collects every decision with its reasons, and
where the reference runs although a faster variant could be hoped for, a `PerformanceWarning` says so once.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from recurra.errors import ConfigError, PerformanceWarning

__all__ = ["Decision", "Op", "Variant", "forced", "record", "use_backend"]

C = TypeVar("C")  # what an operation takes: one value that describes the whole call
REFERENCE = "reference"

_backend: ContextVar[str | None] = ContextVar("backend", default=None)
_records: ContextVar[list["Decision"] | None] = ContextVar("records", default=None)
_names: set[str] = {REFERENCE}
_warned: set[tuple[str, ...]] = set()


@dataclass(frozen=True)
class Decision:
    """One call of one operation: what was asked, which variant ran, and why the others did not."""

    op: str
    call: str
    ran: str
    refused: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.call}: {self.ran} ran"]
        lines += [f"    {name} refused: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Variant(Generic[C]):
    """A way to compute an operation: ``accepts`` returns "" or the reason why this call is not for it."""

    name: str
    run: Callable[[C], Any]
    accepts: Callable[[C], str]


@dataclass
class Op(Generic[C]):
    """An operation: its name, the reference that defines it, and its variants, fastest first.

    ``hopes(call)`` says whether a faster variant could have been expected, so that the reference is a surprise.
    ``captured`` runs instead, without a choice, while a compiler or an exporter of torch watches.
    """

    name: str
    reference: Callable[[C], Any]
    hopes: Callable[[C], bool] = lambda call: True
    variants: list[Variant[C]] = field(default_factory=list)
    captured: Callable[[C], Any] | None = None

    def __post_init__(self) -> None:
        self._definition = Variant(REFERENCE, self.reference, lambda call: "")

    def variant(self, name: str, accepts: Callable[[C], str]) -> Callable:
        """Decorator: register a function as a variant, tried after those registered before it."""

        def register(run: Callable[[C], Any]) -> Callable[[C], Any]:
            self.variants.append(Variant(name, run, accepts))
            _names.add(name)
            return run

        return register

    def __call__(self, call: C) -> Any:
        if torch.compiler.is_compiling():
            return (self.captured or self.reference)(call)
        variant, refused = self.choose(call)
        log = _records.get()
        if log is not None:
            log.append(Decision(self.name, str(call), variant.name, refused))
        elif variant.name == REFERENCE and self.variants and _backend.get() is None and self.hopes(call):
            self._warn(call, refused)
        return variant.run(call)

    def choose(self, call: C) -> tuple[Variant[C], dict[str, str]]:
        """The variant that would run, and the reason of each one that was asked before it."""
        wanted = _backend.get()
        refused: dict[str, str] = {}
        for variant in self.variants:
            other = wanted is not None and wanted != variant.name
            reason = f"use_backend({wanted!r}) is in force" if other else variant.accepts(call)
            if not reason:
                return variant, refused
            refused[variant.name] = reason
        return self._definition, refused

    def _warn(self, call: C, refused: dict[str, str]) -> None:
        key = (self.name, *refused.values())
        if key in _warned:
            return
        _warned.add(key)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        warnings.warn(
            f"{call} runs as the reference loop, right but slow ({reasons}). "
            "layer.explain(x) tells more; use_backend('reference') says that this is meant.",
            PerformanceWarning,
            stacklevel=_frames_to_caller(),
        )


def _frames_to_caller() -> int:
    """How far up the first frame is that belongs neither to recurra nor to torch: the user's line."""
    frame, level = sys._getframe(2), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("recurra", "torch"):
        frame, level = frame.f_back, level + 1
    return level


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every operation inside by the variant ``name`` where it accepts the call, else by the reference."""
    if name not in _names:
        raise ConfigError(f"use_backend: expected one of {sorted(_names)}, got {name!r}")
    token = _backend.set(name)
    try:
        yield
    finally:
        _backend.reset(token)


def forced() -> bool:
    """Whether `use_backend` is in force."""
    return _backend.get() is not None


@contextmanager
def record() -> Iterator[list[Decision]]:
    """Collect the decisions taken inside, in order. No PerformanceWarning is raised meanwhile."""
    log: list[Decision] = []
    token = _records.set(log)
    try:
        yield log
    finally:
        _records.reset(token)
