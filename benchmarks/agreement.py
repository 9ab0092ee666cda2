"""The gate before every timing: both sides must compute the same, values and gradients."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["TOLERANCE", "Disagreement", "agree"]

TOLERANCE = 2e-5


class Disagreement(Exception):
    """Two sides compute different things: there is nothing to compare."""


def agree(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: float = TOLERANCE) -> float:
    """The largest difference between tensors of one name, by the largest number of the tensor.

    So a gradient that is small as a whole is held to account like a large one. Raises Disagreement above
    ``tolerance``, naming the tensor.
    """
    if set(ours) != set(theirs):
        raise Disagreement(f"the sides have different tensors: {sorted(ours)} and {sorted(theirs)}")
    errors = {name: _difference(ours[name], theirs[name]) for name in ours}
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= tolerance:
        raise Disagreement(f"{worst} differs by {errors[worst]:.1e} of its largest number")
    return errors[worst]


def _difference(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return float("inf")
    difference = (a.double() - b.double()).abs().max()
    scale = torch.maximum(a.abs().max(), b.abs().max()).double()
    return 0.0 if scale == 0 else float(difference / scale)
