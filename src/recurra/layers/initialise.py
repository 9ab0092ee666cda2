"""Named initialisers of gated cells, each changing a layer in place and returning it, as in torch.nn.init.

default_      W Xavier-uniform, U orthogonal gate by gate, biases 0, gains 1
orthogonal_   U orthogonal gate by gate: its singular values are all ``gain`` (Saxe et al. 2014)
identity_     U = scale * I, for ReLU networks (Le et al. 2015, "IRNN")
chrono_       gate biases so that memories last between 1 and T_max steps (Tallec and Ollivier 2018)
torch_        everything uniform in +-1/sqrt(H), as torch.nn.RNN, LSTM and GRU begin
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.recurrence import named

if TYPE_CHECKING:
    from recurra.layers.gated import Gated

__all__ = ["chrono_", "default_", "identity_", "orthogonal_", "torch_"]

L = TypeVar("L", bound="Gated")


@torch.no_grad()
def default_(layer: L) -> L:
    """W Xavier-uniform gate by gate, U orthogonal, biases, vectors and first states 0, gains 1."""
    for gate in layer.W.chunk(len(layer.x_gates)):
        nn.init.xavier_uniform_(gate)
    for name, parameter in layer.named_parameters():
        if parameter.dim() == 1:
            nn.init.constant_(parameter, 1.0 if name.startswith("gain_") else 0.0)
    return orthogonal_(layer)


@torch.no_grad()
def orthogonal_(layer: L, gain: float = 1.0) -> L:
    """U orthogonal gate by gate, so that U h neither grows nor shrinks h at first (Saxe et al. 2014)."""
    for gate in layer.U.split(layer.hidden_size) if layer.u_gates else ():
        nn.init.orthogonal_(gate, gain)
    return layer


@torch.no_grad()
def identity_(layer: L, scale: float = 1.0) -> L:
    """U = scale * I for every gate and b = 0: a ReLU network that starts by copying its state (Le et al. 2015)."""
    for gate in layer.U.split(layer.hidden_size) if layer.u_gates else ():
        gate.copy_(scale * torch.eye(len(gate), dtype=gate.dtype, device=gate.device))
    layer.b.zero_()
    return layer


_KEEPERS = ("f", "z")  # names of the gate that decides how much of the old state is kept
OPEN = 4.0  # the bias of a gate that is open


def _influence(layer: Gated, gate: str, bias: float) -> float:
    """How much more there is after a step if there was 1 before, with ``gate`` at ``bias`` and all else at 0."""
    zeros = layer.b.new_zeros(1, layer.hidden_size)
    x = named(layer.x_gates, [zeros + bias if name == gate else zeros for name in layer.x_gates])
    u = named(layer.u_gates, [zeros for _ in layer.u_gates])
    p = named(layer.vectors, [layer.get_parameter(name) for name in layer.vectors])
    states = [tree.State(**dict.fromkeys(layer.state, zeros + value)) for value in (0, 1)]
    without, with_one = (layer.equation(x, u, state, p) for state in states)
    return sum(float((getattr(with_one, n) - getattr(without, n)).mean()) for n in layer.state)


@torch.no_grad()
def chrono_(layer: L, longest: int) -> L:
    """Biases so that units remember for 1 .. ``longest`` steps, evenly spread (Tallec and Ollivier 2018).

        b_f = log(u),  b_i = -b_f,  u uniform in [1, longest - 1]        (f and i of an LSTM; z of a GRU)

    Where an open gate lets the new value in instead, as z of `MinGRU`, b_z = -log(u): the equation is asked.
    Raises ConfigError for a layer without a gate named f or z, or ``longest`` below 3.
    """
    keeper = next((name for name in _KEEPERS if name in layer.x_gates), None)
    if keeper is None:
        raise ConfigError(
            f"chrono_: expected a cell with a gate named 'f' or 'z' that keeps its state, "
            f"got {type(layer).__name__} with gates {layer.x_gates}"
        )
    if longest < 3:
        raise ConfigError(f"chrono_: expected longest >= 3 time steps, got {longest}")
    biases = dict(zip(layer.x_gates, layer.b.split(layer.hidden_size), strict=True))
    biases[keeper].uniform_(1, longest - 1).log_()
    if _influence(layer, keeper, OPEN) < _influence(layer, keeper, -OPEN):
        biases[keeper].neg_()
        return layer
    if "i" in biases:
        biases["i"].copy_(-biases[keeper])
    return layer


@torch.no_grad()
def torch_(layer: L) -> L:
    """Every parameter uniform in +-1/sqrt(H), as torch.nn's recurrent layers begin."""
    bound = 1 / math.sqrt(layer.hidden_size)
    for name, parameter in layer.named_parameters():
        if not name.startswith("gain_"):
            nn.init.uniform_(parameter, -bound, bound)
    return layer
