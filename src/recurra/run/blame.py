"""Who is to blame for a loss that is not finite: parameters, or the layer and step where it first appears."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from recurra.diagnose.faults import locate
from recurra.errors import ConfigError

__all__ = ["blame"]


def blame(network: nn.Module, run: Callable[[Any], Tensor]) -> str:
    """A sentence, or "": parameters that are not finite, or where ``run(copy of network)`` first goes wrong."""
    broken = [name for name, parameter in network.named_parameters() if not parameter.isfinite().all()]
    if broken:
        return f"Not finite are the parameters {', '.join(broken[:4])}{' and more' if len(broken) > 4 else ''}."
    try:
        fault = locate(network, run)
    except ConfigError:  # no recurrent layer: there is nothing to look at
        return ""
    if fault is None:
        return (
            "Computed again the states and their gradients are finite: other noise, or only the loss, is at fault."
        )
    return f"Computed again, {fault}."
