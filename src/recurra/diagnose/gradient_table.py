"""Measured gradients as a table for a terminal."""

import math
from collections.abc import Mapping

from rich.table import Column, Table

from recurra.diagnose.advice import name_layer
from recurra.diagnose.measured import Gradients, LayerGradients

__all__ = ["table"]

HEAD = ("layer", "|dL/ds| end", "begin", "a step", "Lyapunov", "horizon", "singular values", "flat gates")


def table(measured: Gradients | Mapping[str, Gradients]) -> Table:
    """One row a layer: gradient norms at both ends, the factor a step, its logarithm, the horizon in steps, the
    largest, median and smallest singular value over all steps, and the gates that are flat, with their share."""
    networks = {"": measured} if isinstance(measured, Gradients) else dict(measured)
    columns = [Column(name, no_wrap=name == "singular values") for name in HEAD]
    found = Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, result in networks.items():
        for layer in result.layers:
            found.add_row(name_layer(name, layer, result), *_cells(layer))
    return found


def _cells(layer: LayerGradients) -> list[str]:
    norms, known = layer.norm_by_lag, not math.isnan(layer.lyapunov)
    return [
        _number(float(norms[0])),
        _number(float(norms[-1])),
        _number(layer.factor) if known else "-",
        f"{layer.lyapunov:+.3f}" if known else "-",
        f"{layer.horizon}" if layer.horizon else f"over {layer.steps}" if len(layer.influence) else "-",
        _singular(layer),
        _gates(layer),
    ]


def _singular(layer: LayerGradients) -> str:
    """Largest, median and smallest over the longest distance."""
    if not len(layer.singular):
        return "-"
    last = [value for value in layer.singular[-1].tolist() if not math.isnan(value)]
    return " ".join(_power(value) for value in last)


def _power(log: float) -> str:
    """A number that is given by its natural logarithm; 1e-400 is no floating point number any more."""
    if math.isinf(log):
        return "0" if log < 0 else "inf"
    return f"{math.exp(log):.1g}" if abs(log) < 700 else f"1e{log / math.log(10):+.0f}"


def _gates(layer: LayerGradients) -> str:
    if layer.saturation is None:
        return "no gates to see"
    return " ".join(f"{name} {share:.0%}" for name, share in layer.saturation.items() if share >= 0.005) or "none"


def _number(value: float) -> str:
    return f"{value:.2g}"
