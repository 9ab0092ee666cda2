"""The law of backends: a faster variant computes what the reference defines."""

import torch

from recurra.kernels import dispatch
from recurra.layers.base import Recurrent
from recurra.testing.law import law
from recurra.testing.subject import ROUNDING, Answer, Case, Subject, answer

__all__ = ["backends"]

SINGLE = 2e-5  # float32 after some hundred operations, next to the largest value
CASES: tuple[tuple[int, int, list[int] | None], ...] = (
    (5, 19, None),
    (1, 1, None),
    (6, 19, [19, 0, 1, 7, 18, 2]),
    (7, 19, [12, 12, 3, 0, 1, 12, 5]),
    (19, 33, [(7 * row) % 34 for row in range(19)]),
    (3, 19, [0, 0, 0]),
    (0, 19, None),
    (3, 0, None),
)


def _variants(subject: Subject, case: Case) -> list[str]:
    """The names of all variants of the operations that the layer runs: under the reference, each one refuses."""
    with dispatch.use_backend("reference"), dispatch.record() as log:
        subject.layer(case.x, case.state, case.lengths)
    return list(dict.fromkeys(name for decision in log for name in decision.refused))


@law(
    "backends",
    "backends",
    "every backend equals the reference, values and gradients: float64 at 1e-10, float32 at 2e-5",
    "a variant accepts a call that it computes differently, or its backward pass is wrong",
)
def backends(subject: Subject) -> str:
    names = _variants(subject, subject.case(5, 19))
    if not names:
        return "its operations have no variants"
    layers = {dtype: subject.copy(dtype) for dtype in (torch.float64, torch.float32)}  # what is compiled is kept
    for size in CASES[:3] if subject.training else CASES:
        case = subject.case(*size)
        text = subject.trying
        for dtype, tolerance in ((torch.float64, ROUNDING), (torch.float32, SINGLE)):
            layer, given = layers[dtype], case.to(dtype)
            want = _run("reference", layer.double(), given.to(torch.float64))
            layer.to(dtype)
            for name in [*names, *(["reference"] if dtype != torch.float64 else [])]:
                subject.trying = f"{text}, {dtype}, backend {name!r}"
                subject.same(_run(name, layer, given), want, tolerance)
    return ""


def _run(name: str, layer: Recurrent, case: Case) -> Answer:
    """The answer under a backend, from a call that keeps no gradients as well: that may be another function."""
    with dispatch.use_backend(name):
        found = answer(layer, lambda x, state: layer(x, state, case.lengths), case)
        with torch.no_grad():
            found["y without gradients"] = layer(case.x, case.state, case.lengths)[0]
    return found
