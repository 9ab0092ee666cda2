"""The examination: every law, on layers that each law makes anew."""

from collections.abc import Callable, Iterable
from time import perf_counter

import torch

from recurra.errors import ConfigError, ContractError
from recurra.kernels import dispatch
from recurra.layers.base import Recurrent
from recurra.testing import backends, chunks, gradients, padding, purity, rows, sizes, states
from recurra.testing.law import Law
from recurra.testing.report import Outcome, Report
from recurra.testing.subject import Subject

__all__ = ["LAWS", "check_layer", "examine_layer"]

# A cause before its consequences: the first law that a layer breaks tells most.
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        states.state_tree,
        sizes.sizes,
        purity.nothing_in_place,
        purity.no_hidden_memory,
        purity.initial_state,
        rows.rows_apart,
        padding.unread_padding,
        padding.blank_end,
        padding.padded_row,
        gradients.finite_differences,
        gradients.last_state_gradient,
        chunks.no_future,
        chunks.steps,
        chunks.chunks,
        chunks.training,
        chunks.any_length,
        states.restored_state,
        states.renewed_state,
        states.refused_step,
        sizes.strides,
        backends.backends,
    )
}


def check_layer(
    make_layer: Callable[[], Recurrent],
    *,
    only: str | Iterable[str] | None = None,
    features: tuple[int, ...] | None = None,
) -> Report:
    """Examine a layer by every law of the protocol, and raise ContractError if it breaks one.

    make_layer  makes a new small layer at each call, such as ``lambda: LSTM(3, 5)``; converted to float64
    only        names of the laws to try, from `LAWS`; all by default
    features    sizes of one time step for a layer that takes any, such as Dropout; (4,) by default

    The error names the law, the sizes, the largest difference and its usual cause. A passed examination says
    nothing about speed, and takes a second or so. The laws run with the backend that a user's call would take;
    inside ``use_backend("reference")`` they run on the reference, and the law "backends" compares all of them.
    """
    report = examine_layer(make_layer, only=only, features=features)
    if report.broken:
        cause = next(outcome.cause for outcome in report.outcomes if outcome.broken)
        raise ContractError(report.complaint()) from cause
    return report


def examine_layer(
    make_layer: Callable[[], Recurrent],
    *,
    only: str | Iterable[str] | None = None,
    features: tuple[int, ...] | None = None,
) -> Report:
    """`check_layer` without the error: the report says which laws are broken, and how."""
    chosen, devices = _choose(only), range(torch.cuda.device_count())
    # The caller's random numbers and records are left as they were.
    with torch.random.fork_rng(devices), torch.enable_grad(), dispatch.record():
        name = type(make_layer()).__name__
        return Report(name, tuple(_examine(law, make_layer, features) for law in chosen))


def _choose(only: str | Iterable[str] | None) -> list[Law]:
    names = list(LAWS) if only is None else [only] if isinstance(only, str) else list(only)
    unknown = [name for name in names if name not in LAWS]
    if unknown or not names:
        raise ConfigError(f"check_layer: expected laws from {list(LAWS)}, got {unknown or names}")
    return [LAWS[name] for name in names]


def _examine(law: Law, make_layer: Callable[[], Recurrent], features: tuple[int, ...] | None) -> Outcome:
    begin, largest, skipped = perf_counter(), 0.0, ""
    for training in law.modes:
        subject: Subject | None = None
        try:
            subject = Subject(make_layer, features, training)
            skipped = law.check(subject)
        except Exception as error:
            where = subject.trying if subject is not None else "making the layer"
            broken = f"{_found(error)} [{where}, {'training' if training else 'evaluation'} mode]"
            return Outcome(law, largest, perf_counter() - begin, broken=broken, cause=error)
        largest = max(largest, subject.largest)
    return Outcome(law, largest, perf_counter() - begin, skipped)


def _found(error: Exception) -> str:
    return str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
