"""What measured gradients mean, in plain words, and what to try: every sentence follows from a number.

explodes    the largest singular value of ds_T / ds_0 is over 100
vanishes    an input's influence on the last output falls under 1 % before the sequence's beginning
saturated   more than half of the values of a tanh are flat; of a sigmoid nine tenths, in a layer that vanishes
steady      none of these
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recurra.diagnose.measured import Gradients, LayerGradients

__all__ = ["Finding", "advise", "clip_at", "name_layer"]

GROWN = math.log(100)
FLAT = {"tanh": 0.5, "sigmoid": 0.9}
NEAR = 10  # steps whose gradient is taken for what it would be without explosion
CHRONO = (
    "LSTM",
    "PeepholeLSTM",
    "LayerNormLSTM",
    "GRU",
    "ResetBeforeGRU",
    "LayerNormGRU",
    "LiGRU",
)  # whose f or z keeps


@dataclass(frozen=True)
class Finding:
    """One fact about one layer.

    layer   in words
    what    "explodes", "vanishes", "saturated", "steady", "not finite" or "not seen"
    text    the fact with its numbers
    advice  what to try, the likeliest first
    """

    layer: str
    what: str
    text: str
    advice: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(
            [f"{self.layer}: {self.text}", *([f"Try: {'; '.join(self.advice)}."] if self.advice else [])]
        )


def advise(measured: Gradients | Mapping[str, Gradients]) -> list[Finding]:
    """All findings, of each layer of each network from the bottom up."""
    networks = {"": measured} if isinstance(measured, Gradients) else dict(measured)
    found = []
    for name, result in networks.items():
        if result.fault is not None:
            found.append(Finding(name or "the network", "not finite", f"{result.fault}.", _broken(result)))
        for layer in result.layers:
            found += _of_layer(name_layer(name, layer, result), layer, result)
        found += [
            Finding(f"{name} {place}".strip(), "not seen", f"{why}.") for place, why in result.missing.items()
        ]
    return found


def name_layer(network: str, layer: LayerGradients, result: Gradients) -> str:
    """A layer as people would call it: the name of its network alone if that has no other layer."""
    return network if network and len(result.layers) == 1 else f"{network} {layer.title}".strip()


def _of_layer(name: str, layer: LayerGradients, result: Gradients) -> list[Finding]:
    found = []
    if len(layer.singular) and float(layer.singular[-1, 0]) > GROWN:
        found.append(Finding(name, "explodes", _grown(layer), _answers(EXPLODING, layer, result)))
    elif layer.horizon is not None:
        found.append(Finding(name, "vanishes", _shrunk(layer), _answers(VANISHING, layer, result)))
    flat = _flat(layer)
    if flat:
        text = ", ".join(f"{share:.0%} of the values of {gate}" for gate, share in flat.items())
        found.append(Finding(name, "saturated", f"{text} are flat.", _answers(SATURATED, layer, result)))
    if not found and math.isnan(layer.lyapunov):
        return [Finding(name, "not seen", "the growth of its state could not be followed; it has too few steps.")]
    return found or [Finding(name, "steady", _kept(layer))]


def _rate(layer: LayerGradients) -> str:
    return f"a factor of {layer.factor:.3g} a step (Lyapunov exponent {layer.lyapunov:+.3f} nats)"


def _grown(layer: LayerGradients) -> str:
    power = float(layer.singular[-1, 0]) / math.log(10)
    return f"gradients explode by {_rate(layer)}, up to 10^{power:.0f} over {int(layer.lags[-1])} steps."


def _shrunk(layer: LayerGradients) -> str:
    return (
        f"gradients vanish by {_rate(layer)}; an input's influence falls under 1 % after {layer.horizon} of "
        f"{layer.steps} steps."
    )


def _kept(layer: LayerGradients) -> str:
    return f"gradients change by {_rate(layer)}; inputs are felt over all {layer.steps} steps."


def _flat(layer: LayerGradients) -> dict[str, float]:
    """The saturated gates that matter: a sigmoid that is open or shut on purpose is how a long memory is kept."""
    kinds = layer.cell.get("squashed", {})
    flat = {gate: share for gate, share in (layer.saturation or {}).items() if share > FLAT[kinds[gate]]}
    return {gate: share for gate, share in flat.items() if kinds[gate] == "tanh" or layer.horizon is not None}


def clip_at(layer: LayerGradients, result: Gradients) -> float:
    """A limit for the gradient norm: what the last ten steps of this layer give without the exploded rest.

    The norm of all parameters' gradient, times the share of the last ten steps in the sum of |dL/ds_t|; 1 if the
    norms are not finite. Two digits.
    """
    norms = layer.norm_by_lag
    share = float(norms[:NEAR].sum() / norms.sum())
    limit = result.norm * share
    return float(f"{limit:.2g}") if math.isfinite(limit) and limit > 0 else 1.0


Answer = Callable[[LayerGradients, Gradients], str]  # advice in words, "" where it does not apply


def _answers(table: tuple[Answer, ...], layer: LayerGradients, result: Gradients) -> tuple[str, ...]:
    return tuple(text for answer in table if (text := answer(layer, result)))


def _gated(layer: LayerGradients) -> bool:
    """Whether something in the cell decides how much is kept; of a layer without an equation this is not known."""
    return bool(layer.cell.get("gated", True))


def _clip(layer: LayerGradients, result: Gradients) -> str:
    return (
        f"clip the gradient norm at {clip_at(layer, result):g} (what the last {NEAR} steps give, for {result.loss})"
    )


def _shorter(layer: LayerGradients, result: Gradients) -> str:
    """A window for truncated backpropagation: to the horizon, or to where gradients have grown tenfold."""
    if layer.horizon is not None and float(layer.singular[-1, 0]) <= GROWN:
        return (
            f"a window of {layer.horizon} steps for truncated backpropagation, if the task needs no more: inputs "
            "further back have under 1 % of the influence"
        )
    grown = (layer.singular[:, 0] > math.log(10)).nonzero()
    return f"truncated backpropagation through at most {max(1, int(layer.lags[int(grown[0])]))} steps"


def _forget_bias(layer: LayerGradients, result: Gradients) -> str:
    bias = layer.cell.get("biases", {}).get("f")
    if layer.kind not in CHRONO or bias is None or bias >= 0.9:
        return ""
    return f"a forget bias of 1 (its mean is {bias:.2g} now)"


def _chrono(layer: LayerGradients, result: Gradients) -> str:
    if layer.kind not in CHRONO or layer.steps < 3:
        return ""
    return f"chrono initialisation, recurra.initialise.chrono_(layer, {layer.steps}), before training"


def _orthogonal(layer: LayerGradients, result: Gradients) -> str:
    spread = layer.cell.get("spread")
    if spread is None or (spread[0] > 0.5 and spread[1] < 1.5):
        return ""
    return (
        "orthogonal initialisation, recurra.initialise.orthogonal_(layer): "
        f"the singular values of U go from {spread[0]:.2g} to {spread[1]:.2g}"
    )


def _gates(layer: LayerGradients, result: Gradients) -> str:
    return "" if _gated(layer) else "a gated cell (LSTM, GRU) or a scan layer, which can keep what it has read"


def _layer_norm(layer: LayerGradients, result: Gradients) -> str:
    plain = layer.cell and not layer.cell["normalized"] and _gated(layer)
    return "layer normalisation (layer_norm_lstm, layer_norm_gru)" if plain else ""


def _layer_norm_if_flat(layer: LayerGradients, result: Gradients) -> str:
    return _layer_norm(layer, result) if _flat(layer) else ""


def _quieter(layer: LayerGradients, result: Gradients) -> str:
    return "inputs scaled to about 1, smaller first weights, or a lower learning rate"


VANISHING: tuple[Answer, ...] = (_gates, _forget_bias, _chrono, _orthogonal, _layer_norm_if_flat, _shorter)
EXPLODING: tuple[Answer, ...] = (_clip, _orthogonal, _gates, _layer_norm, _shorter)
SATURATED: tuple[Answer, ...] = (_quieter, _layer_norm)


def _broken(result: Gradients) -> tuple[str, ...]:
    if result.fault is not None and result.fault.what == "input":
        return ("look at the data, and at the layers below",)
    return ("smaller weights or a lower learning rate", "a clipped gradient norm", "float32 where it was less")
