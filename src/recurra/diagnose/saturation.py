"""Saturated gates: where the derivative of a sigmoid or a tanh has almost gone, nothing is learned any more."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recurra import lengths as ragged
from recurra.layers import Gated, Recurrent

__all__ = ["CLOSED", "OPEN", "saturation", "squashed"]

CLOSED, OPEN = 0.05, 0.95  # of a sigmoid; of a tanh the absolute value counts
KINDS: dict[Callable, str] = {
    torch.sigmoid: "sigmoid",
    Tensor.sigmoid: "sigmoid",
    torch.nn.functional.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    Tensor.tanh: "tanh",
    torch.nn.functional.tanh: "tanh",
}


class _Squashes(TorchFunctionMode):
    """Collects what sigmoid and tanh return."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[str, Tensor]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in KINDS:
            self.results.append((KINDS[function], result))
        return result


@torch.no_grad()
def _run_once(cell: Gated) -> tuple[dict[str, Tensor], list[tuple[str, Tensor]]]:
    """What `trace` shows of one step, and what sigmoid and tanh returned in it."""
    x = torch.linspace(-1, 1, 2 * cell.input_size, dtype=torch.float64).sin().view(2, 1, -1).to(cell.b)
    with _Squashes() as seen:
        values = cell.trace(x)
    return values, seen.results


def squashed(cell: Gated) -> dict[str, str]:
    """Which quantities of a cell's `trace` are a "sigmoid" or a "tanh", found by running its equation once."""
    values, results = _run_once(cell)
    kinds = {}
    for name, value in values.items():
        same = [kind for kind, result in results if torch.equal(result.expand_as(value[:, 0]), value[:, 0])]
        kinds.update({name: same[0]} if same else {})
    return kinds


def has_sigmoid(cell: Gated) -> bool:
    """Whether a cell decides by a sigmoid, with a name or without, how much passes."""
    return any(kind == "sigmoid" for kind, _ in _run_once(cell)[1])


@torch.no_grad()
def saturation(
    layer: Recurrent, x: Tensor, state: Any = None, lengths: Tensor | None = None
) -> dict[str, float] | None:
    """The share of saturated values of each gate over all valid steps, by name; None if the layer has no equation.

    Saturated is a sigmoid under 0.05 or over 0.95, and a tanh beyond 0.95 on either side.
    """
    whole = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
    if not isinstance(layer, Gated) or whole.sum() == 0:
        return None
    values = layer.trace(x, state, lengths)
    valid = ragged.mask(whole, x.shape[1], x.device)
    shares = {}
    for name, kind in squashed(layer).items():
        value = values[name][valid]
        stuck = (value < CLOSED) | (value > OPEN) if kind == "sigmoid" else value.abs() > OPEN
        shares[name] = float(stuck.double().mean())
    return shares
