"""Laws of gradients: what autograd gives is the slope that finite differences measure."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recurra import tree
from recurra.errors import ContractError
from recurra.testing.law import law
from recurra.testing.subject import Answer, Case, Subject, answer, upstream, values

__all__ = ["finite_differences", "last_state_gradient"]

SHIFT = 1e-5  # central differences are then good to about SHIFT**2 of the third derivative
SLOPE = 1e-6
LENGTHS = (None, [3, 0, 2])


@law(
    "finite differences",
    "gradients",
    "the gradients of y by x, the state before and every parameter are the slopes of finite differences",
    "something is detached, a backward pass is written by hand, or numbers are rounded to float32 on the way",
)
def finite_differences(subject: Subject) -> str:
    for lengths in LENGTHS:
        _compare_slopes(subject, subject.case(3, 3, lengths), "y")
    return ""


@law(
    "last state gradient",
    "gradients",
    "gradients flow through the last state as they do through y",
    "the last state is detached, or copied from .data",
)
def last_state_gradient(subject: Subject) -> str:
    if not any(leaf.is_floating_point() for leaf in tree.leaves(subject.case(3, 3).state)):
        return "the state holds no real numbers"
    for lengths in LENGTHS:
        _compare_slopes(subject, subject.case(3, 3, lengths), "last state")
    return ""


def _compare_slopes(subject: Subject, case: Case, end: str) -> None:
    way = subject.forward(case.lengths)
    found = answer(subject.layer, way, case, fill=0.0, only=end)

    def height() -> float:
        """The number whose gradients are in ``found``: values times upstream gradients."""
        given = values(*way(case.x, case.state))
        flows = upstream(given, case.padding, 0.0)
        return sum(float((given[k] * flows[k]).sum()) for k in given if k.startswith(end) and k in flows)

    def compare(name: str, *along: str) -> None:
        slope = sum(float((found[f"gradient of {k}"] * directions[k]).sum()) for k in along)
        want = _slope(height, [(inputs[k], directions[k]) for k in along])
        subject.equal(f"slope along {name}", _scalar(slope), _scalar(want), SLOPE)

    subject.trying = f"{case}, gradient of {end}"
    inputs = dict(_inputs(subject, case))
    directions = _directions(inputs)
    try:
        compare("all inputs", *inputs)
    except ContractError:
        for name in inputs:  # which one is it?
            compare(name, name)
        raise


def _scalar(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64)


def _directions(inputs: Answer) -> Answer:
    generator = torch.Generator().manual_seed(4)
    draw = lambda tensor: torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
    return {name: draw(tensor) for name, tensor in inputs.items()}


def _inputs(subject: Subject, case: Case) -> Iterator[tuple[str, Tensor]]:
    yield "x", case.x
    for name, leaf in zip(tree.names(case.state), tree.leaves(case.state), strict=True):
        if leaf.is_floating_point():
            yield f"state before {name}", leaf
    for name, parameter in subject.layer.named_parameters():
        if parameter.requires_grad:
            yield f"parameter {name}", parameter


@torch.no_grad()
def _slope(height: Callable[[], float], along: list[tuple[Tensor, Tensor]]) -> float:
    """The central difference of ``height`` along all given (tensor, direction) at once."""
    before = [tensor.clone() for tensor, _ in along]

    def shifted(by: float) -> float:
        for (tensor, direction), start in zip(along, before, strict=True):
            tensor.copy_(start + by * direction)
        return height()

    slope = (shifted(SHIFT) - shifted(-SHIFT)) / (2 * SHIFT)
    shifted(0.0)
    return slope
