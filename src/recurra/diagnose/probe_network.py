"""The network that a probe is given to: an encoder, recurrent layers, a linear readout at the asked steps."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from recurra.config import suggest
from recurra.diagnose.probes import Probe
from recurra.diagnose.probes.base import whole_number
from recurra.errors import ConfigError
from recurra.layers import LAYERS, CausalConvolution, Gated, Recurrent, Stack
from recurra.layers.initialise import chrono_

__all__ = ["Factory", "ProbeNetwork", "begin_chrono", "count_parameters", "factory", "width_for"]

Factory = Callable[[int], Recurrent]  # a width -> a layer from that width to that width


def factory(name: str, layers: Mapping[str, Factory] | None = None) -> Factory:
    """The layers of a name, each from width to width: ``"lstm"``, or ``"gru+lstm"`` for one above the other.

    Names are looked up in ``layers``, then in LAYERS, to which "convolution" comes: `CausalConvolution`, which lets
    a layer with one input a step see the last four. Raises ConfigError for an unknown name.
    """
    own = dict(layers or {})
    if name in own:
        return own[name]
    known: dict[str, Factory] = {key: _square(kind) for key, kind in LAYERS.items()}
    known |= {"convolution": CausalConvolution, **own}
    parts = [part.strip() for part in name.split("+")]
    for part in parts:
        if part not in known:
            raise ConfigError(f"unknown layer {part!r}{suggest(part, list(known))}")
    if len(parts) == 1:
        return known[parts[0]]
    return lambda width: Stack(*[known[part](width) for part in parts])


def _square(kind: Callable[..., Recurrent]) -> Factory:
    return lambda width: kind(width, width)


class ProbeNetwork(nn.Module):
    """Tokens or numbers in, answers out.

        e_t = embedding(x_t)  or  A x_t + a,     h_t = layer(e_t, h_{t-1}),     answer_t = V h_t + b

    inputs ``(B, T)`` or ``(B, T, F)`` -> answers ``(N, outputs)`` at the N places ``(B, T)`` that are true.
    """

    def __init__(self, layer: Factory, width: int, probe: Probe) -> None:
        super().__init__()
        self.encoder: nn.Module = (
            nn.Embedding(probe.tokens, width) if probe.tokens else nn.Linear(probe.features, width)
        )
        self.layer = layer(width)
        if self.layer.output_shape is not None and len(self.layer.output_shape) != 1:
            raise ConfigError(
                f"a probe needs a layer with outputs (B, T, H), got {type(self.layer).__name__} with outputs of "
                f"shape {self.layer.output_shape}"
            )
        self.readout = nn.Linear(self.layer.output_shape[0] if self.layer.output_shape else width, probe.outputs)

    def forward(self, inputs: Tensor, places: Tensor) -> Tensor:
        y, _ = self.layer(self.encoder(inputs))
        return self.readout(y[places])


def begin_chrono(network: nn.Module, longest: int) -> int:
    """Give the gates that keep a state chrono biases (Tallec and Ollivier 2018); how many layers have one."""
    keepers = [layer for layer in network.modules() if isinstance(layer, Gated) and {"f", "z"} & set(layer.x_gates)]
    for layer in keepers:
        chrono_(layer, max(3, longest))
    return len(keepers)


def count_parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def width_for(layer: str | Factory, parameters: int, probe: Probe | None = None, multiple: int = 1) -> int:
    """The width with which a layer has as nearly as possible ``parameters`` learned numbers.

    layer       a name of LAYERS, such as ``"gru"`` or ``"gru+lstm"``, or a function from a width to a layer
    probe       count the whole network for this probe, its embedding and readout too; None: the layer alone
    multiple    only multiples of this, such as the number of heads

        >>> width_for("gru", count_parameters(LSTM(64, 64)))
        74

    Raises ConfigError if even the smallest width has more than twice as many.
    """
    whole_number("width_for: parameters", parameters, 1)
    whole_number("width_for: multiple", multiple, 1)
    make = factory(layer) if isinstance(layer, str) else layer

    def count(times: int) -> int:
        width = times * multiple
        with torch.random.fork_rng(devices=[]):  # looking changes no random numbers
            return count_parameters(make(width) if probe is None else ProbeNetwork(make, width, probe))

    high = 1
    while count(high) < parameters:
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    best = min((low, high), key=lambda times: abs(count(times) - parameters))
    if count(best) > 2 * parameters:
        raise ConfigError(
            f"width_for: {parameters} parameters are too few: width {best * multiple} already has {count(best)}"
        )
    return best * multiple
