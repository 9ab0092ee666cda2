"""Gradients through time, measured: how far back learning reaches, and where it dies or explodes.

For every recurrent layer and time step t of a row that ends at T, with s_t the layer's whole state:

    |dL/ds_t|           what the loss tells the state, as training sees it
    ds_T / ds_t         singular values, and their growth a step: the largest Lyapunov exponent
    |dy_T / dx_t|       what an input still does to the last output: the memory horizon

Hochreiter 1991; Bengio et al. 1994; Pascanu et al. 2013; Engelken et al. 2023 for the exponents.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra.diagnose.faults import find
from recurra.diagnose.jacobian import Growth, grow
from recurra.diagnose.measured import Gradients, LayerGradients, by_lag
from recurra.diagnose.passage import Passage, cells, duplicate, kind, memory, undisturbed, watch
from recurra.diagnose.saturation import has_sigmoid, saturation, squashed
from recurra.errors import ConfigError, ShapeError
from recurra.layers import Gated, Recurrent

__all__ = ["compare", "gradients", "gradients_of"]

DRAWS = 4  # random projections of the last output that serve as losses
ROWS = 2  # of which Jacobians are followed: the longest

Lengths = Tensor | list[int] | None


def gradients(
    network: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor], Tensor] | None = None,
    lengths: Lengths = None,
    dtype: torch.dtype | None = torch.float64,
) -> Gradients:
    """Measure the gradients of a layer or a network on ``x (B, T, *F)``, in evaluation mode, on a copy.

    loss     of the outputs y ``(B, T, *G)``, a number; None: each row's last valid output in four random
             directions, one after the other; with the first output too if the network needs the future
    lengths  (B,) valid steps, for a recurrent layer
    dtype    to measure in; None keeps the network's own, in which large numbers overflow as in training

    The network, its gradients and all random numbers stay as they are. Raises ShapeError for an x without steps,
    ConfigError for a network without recurrent layers.
    """
    if x.dim() < 2 or not x.shape[0] or not x.shape[1]:
        raise ShapeError(f"gradients: expected x (B, T, ...) with rows and time steps, got {tuple(x.shape)}")
    checked = None if lengths is None else ragged.check(lengths, x.shape[0], x.shape[1])
    if checked is not None and not checked.any():
        raise ShapeError("gradients: all rows have length 0, so there is no last output; give a longer row")
    given = x.to(dtype) if dtype is not None and x.is_floating_point() else x

    def run(twin: nn.Module) -> Tensor:
        y = _outputs(twin, given, checked)
        return _projections(twin, y, checked) if loss is None else loss(y)

    future = isinstance(network, Recurrent) and not network.causal
    default = "the last and the first output" if future else "the last output"
    words = f"{default}, in random directions" if loss is None else "the given loss"
    return gradients_of(network, run, dtype, words)


def compare(
    networks: Mapping[str, nn.Module],
    x: Tensor,
    loss: Callable[[Tensor], Tensor] | None = None,
    lengths: Lengths = None,
    dtype: torch.dtype | None = torch.float64,
) -> dict[str, Gradients]:
    """`gradients` of several networks on the same x, by name, for one picture and one table."""
    if not networks:
        raise ConfigError('compare: expected networks by name such as {"lstm": LSTM(8, 64)}, got none')
    return {name: gradients(network, x, loss, lengths, dtype) for name, network in networks.items()}


def gradients_of(
    network: nn.Module,
    run: Callable[[Any], Tensor],
    dtype: torch.dtype | None = torch.float64,
    loss: str = "the given loss",
) -> Gradients:
    """Measure while ``run(copy of network)`` computes a loss, a number, or several ``(K,)`` to be averaged over.

    ``loss`` says in words what is differentiated. For networks whose inputs are not one tensor: a task's batch.
    """
    with undisturbed(network), torch.enable_grad():
        twin = duplicate(network, dtype).eval()
        found = cells(twin)
        with watch(twin) as passages:
            losses = run(twin)
        losses = losses.reshape(1) if losses.dim() == 0 else losses
        flows, shares = _differentiate(twin, passages, losses)
        layers = [_layer(passage, flow, shares) for passage, flow in zip(passages, flows, strict=True)]
        missing = _missing(found, passages)
        norm = float(torch.stack([g.norm() for g in shares.values()]).norm()) if shares else 0.0
        return Gradients(tuple(layers), loss, norm, find(twin, passages, flows[::-1], shares), missing)


def _outputs(network: nn.Module, x: Tensor, lengths: Tensor | None) -> Tensor:
    if isinstance(network, Recurrent):
        return network(x, None, lengths)[0]
    if lengths is not None:
        raise ConfigError(f"gradients: lengths are for recurrent layers, {type(network).__name__} takes x alone")
    found = network(x)
    return found[0] if isinstance(found, tuple) else found


def _projections(network: nn.Module, y: Tensor, lengths: Tensor | None) -> Tensor:
    """Losses ``(K,)``: each row's last valid output times random unit vectors, summed over rows."""
    empty = torch.zeros_like(y[:, 0])
    ends = [ragged.last(y, lengths, empty)]
    if isinstance(network, Recurrent) and not network.causal:  # what reads backwards ends at the first step
        ends.append(y[:, 0])
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(DRAWS):
        total = y.new_zeros(())
        for end in ends:
            flat = end.flatten(1)
            drawn = torch.randn(flat.shape, dtype=torch.float64, generator=generator)
            total = total + (flat * (drawn / drawn.norm(dim=1, keepdim=True)).to(flat)).sum()
        losses.append(total)
    return torch.stack(losses)


Flow = list[tuple[Tensor, ...]]  # for each step, the gradient of each tensor of the state


def _differentiate(
    network: nn.Module, passages: list[Passage], losses: Tensor
) -> tuple[list[list[Flow]], dict[str, Tensor]]:
    """Gradients of all states, for each passage and each loss; those of the parameters as root mean squares."""
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    states = [value for passage in passages for values in passage.after for value in values]
    flows: list[list[Flow]] = [[] for _ in passages]
    squares: dict[str, Tensor] = {}
    for value in losses:
        found = torch.autograd.grad(
            value, [*states, *named.values()], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rest = iter(found)
        for passage, flow in zip(passages, flows, strict=True):
            flow.append([tuple(next(rest) for _ in values) for values in passage.after])
        for name, gradient in zip(named, rest, strict=True):
            square = gradient.abs().square() / len(losses)
            squares[name] = squares[name] + square if name in squares else square
    return flows, {name: square.sqrt() for name, square in squares.items()}


def _layer(passage: Passage, flows: list[Flow], shares: dict[str, Tensor]) -> LayerGradients:
    """All that is measured of one call of one layer."""
    time = passage.x.shape[1]
    alive = ragged.mask(passage.lengths, time)
    each = torch.stack([_norms(flow, alive) for flow in flows]).mean(0)  # (names, B, T)
    total = torch.stack([_norms(flow, alive).square().sum(0).sqrt() for flow in flows]).mean(0)
    blank = ~alive
    own = [gradient.norm() for name, gradient in shares.items() if _inside(name, passage.place)]
    by_name = {
        name: by_lag(values.masked_fill(blank, torch.nan)).nanmean(0)
        for name, values in zip(passage.names, each, strict=True)
    }
    growth = _growth(passage)
    return LayerGradients(
        passage.place,
        kind(passage.layer),
        sum(leaf[0].numel() for leaf in memory(passage.before[0])) if passage.before else 0,
        total.masked_fill(blank, torch.nan),
        by_name,
        growth,
        _saturation(passage),
        float(torch.stack(own).norm()) if own else 0.0,
        _facts(passage.layer),
    )


def _norms(flow: Flow, alive: Tensor) -> Tensor:
    """``(names, B, T)`` norms of the gradient of each tensor of the state."""
    steps = [torch.stack([g.abs().double().flatten(1).norm(dim=1) for g in values]) for values in flow]
    return torch.stack(steps, 2).cpu() * alive


def _growth(passage: Passage) -> tuple[Growth, ...]:
    """Of the longest rows."""
    longest = passage.lengths.argsort(descending=True, stable=True)[:ROWS].tolist()
    return tuple(grow(passage, row) for row in longest if passage.lengths[row] > 0)


def _saturation(passage: Passage) -> dict[str, float] | None:
    begin = passage.before[0] if passage.before else None
    return saturation(passage.layer, passage.x, begin, passage.lengths)


def _inside(name: str, place: str) -> bool:
    return not place or name.startswith(f"{place}.")


def _missing(found: dict[str, Recurrent], passages: list[Passage]) -> dict[str, str]:
    """Layers that no passage shows, and why."""
    seen = {passage.place for passage in passages}
    unseen = {place: layer for place, layer in found.items() if place not in seen}
    return {
        place: "the network did not call it on a sequence"
        if layer.causal
        else "it needs the future: no single step"
        for place, layer in unseen.items()
    }


@torch.no_grad()
def _facts(layer: Recurrent) -> dict[str, Any]:
    """What advice needs to know of a gated cell."""
    if not isinstance(layer, Gated):
        return {}
    parts = layer.U.split(layer.hidden_size) if layer.u_gates else ()
    recurrent = [torch.linalg.svdvals(part.double()) for part in parts]
    biases = dict(zip(layer.x_gates, layer.b.split(layer.hidden_size), strict=True)) if layer.x_gates else {}
    return {
        "gates": layer.gates,
        "squashed": squashed(layer),
        "gated": has_sigmoid(layer),
        "normalized": layer.normalized,
        "spread": (float(min(s[-1] for s in recurrent)), float(max(s[0] for s in recurrent)))
        if recurrent
        else None,
        "biases": {name: float(bias.mean()) for name, bias in biases.items()},
    }
