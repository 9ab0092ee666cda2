"""torch.nn's layers, and Python loops over its cells, with gradients by the names that recurra's cells use.

They get their input time first, x ``(T, B, F)``, the layout that they like best.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.steps import Named

__all__ = ["KINDS", "loop", "make", "names_of", "own_cell", "time_first"]

KINDS = ("GRU", "RNN", "LSTM")


def make(kind: str, size: int, **options: Any) -> nn.RNNBase:
    """A layer with as many inputs as units, always with the same weights."""
    torch.manual_seed(0)
    layer: nn.RNNBase = getattr(nn, kind)(size, size, **options)
    return layer


def own_cell(layer: nn.RNNBase) -> nn.RNNCellBase:
    """The LSTMCell, GRUCell or RNNCell with a layer's weights."""
    cell: nn.RNNCellBase = getattr(nn, f"{type(layer).__name__}Cell")(layer.input_size, layer.hidden_size)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    return cell


def loop(cell: nn.RNNCellBase, x: Tensor) -> Tensor:
    """The loop that one writes over a cell: x ``(T, B, F)`` to y ``(T, B, H)``."""
    state, outputs = None, []
    for x_t in x.unbind(0):
        state = cell(x_t, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs)


def time_first(x: Tensor) -> Tensor:
    """x ``(B, T, F)`` as contiguous ``(T, B, F)``."""
    return x.transpose(0, 1).contiguous()


def names_of(kind: str, **suffixes: str) -> Callable[[Named], Named]:
    """From torch's names to ours; ``suffixes`` says which prefix of ours has which suffix of torch's.

    b and torch's two biases have the same gradient; of a GRU, c_n has that of the last part of the second.
    """
    suffixes = suffixes or {"": "_l0"}

    def rename(found: Named) -> Named:
        ours: Named = {}
        for prefix, suffix in suffixes.items():
            front = f"{prefix}." if prefix else ""
            for name, theirs in {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}.items():
                ours[front + name] = found[theirs + suffix]
            if kind == "GRU":
                ours[f"{front}c_n"] = found["bias_hh" + suffix].chunk(3)[2]
        return ours

    return rename
