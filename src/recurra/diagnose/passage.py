"""Watching a network at work: every state of every recurrent layer, on a copy, one time step at a time.

Hooks see each call of a layer and run it again by its `step`, so that each state is a value of its own in torch's
graph, whose gradient can be asked for. That steps equal the whole is a law of the protocol (`recurra.testing`).
"""

import copy
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels import dispatch
from recurra.layers import Bidirectional, Recompute, Recurrent, Residual, Stack

__all__ = ["Passage", "cells", "duplicate", "kind", "memory", "undisturbed", "watch"]

M = TypeVar("M", bound=nn.Module)
CONTAINERS = (Stack, Residual, Bidirectional, Recompute)  # their memory is that of the layers in them


@dataclass(frozen=True)
class Passage:
    """One call of one recurrent layer: what it read, and its memory before and after each step.

    place     where the layer stands in the network, such as "layers.1"; "" is the network itself
    x         (B, T, *F) without gradients, zero in the padding
    before    states before each step, without gradients
    after     for each step the memory after it, as values that gradients can be asked for
    names     of the memory's tensors, such as ("h", "c")
    lengths   (B,)
    """

    place: str
    layer: Recurrent
    x: Tensor
    before: tuple[Any, ...]
    after: tuple[tuple[Tensor, ...], ...]
    names: tuple[str, ...]
    lengths: Tensor


def memory(state: Any) -> list[Tensor]:
    """The tensors of a state that gradients pass through; seeds and counters are none."""
    return [leaf for leaf in tree.leaves(state) if leaf.is_floating_point() or leaf.is_complex()]


def kind(layer: nn.Module) -> str:
    """What a layer is, in a word or two: "LSTM", or "Zoneout of LSTM"."""
    inner = [type(child).__name__ for child in layer.children() if isinstance(child, Recurrent)]
    return " of ".join([type(layer).__name__, *inner])


def cells(network: nn.Module) -> dict[str, Recurrent]:
    """The recurrent layers with a memory, by their place, from the bottom up; containers are looked into.

    Raises ConfigError if there are none.
    """
    found: dict[str, Recurrent] = {}
    with undisturbed(network):
        _visit(network, "", found)
    if not found:
        raise ConfigError(
            "diagnose: expected a network with recurrent layers of recurra, found none in "
            f"{type(network).__name__}; recurra.from_torch makes them of torch.nn.RNN, LSTM and GRU"
        )
    return found


def _visit(module: nn.Module, place: str, found: dict[str, Recurrent]) -> None:
    if any(module is known for known in found.values()):
        return
    if isinstance(module, Recurrent) and not isinstance(module, CONTAINERS):
        if memory(module.initial_state(1)):
            found[place] = module
        return
    for name, child in module.named_children():
        _visit(child, f"{place}.{name}" if place else name, found)


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Random numbers drawn inside are given back, and slow paths are meant."""
    devices = {tensor.device for tensor in network.parameters() if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)), dispatch.record():
        yield


def duplicate(network: M, dtype: torch.dtype | None) -> M:
    """A copy whose numbers are of ``dtype`` (None: as they are), without gradients, all parameters trainable."""
    twin = copy.deepcopy(network)
    for tensor in [*twin.parameters(), *twin.buffers()]:
        tensor.grad = None
        if dtype is not None and tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
        elif dtype is not None and tensor.is_complex():
            tensor.data = tensor.data.to(dtype.to_complex())
    for parameter in twin.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    return twin


@contextmanager
def watch(network: nn.Module) -> Iterator[list[Passage]]:
    """Collect a `Passage` of each call inside, in the order of the calls. Only for a `duplicate`."""
    passages: list[Passage] = []
    for module in network.modules():
        if isinstance(module, Recompute):
            module.steps = sys.maxsize  # what is computed twice would be seen twice
    handles = []
    for place, layer in cells(network).items():

        def see(module: Any, args: Any, kwargs: Any, output: Any, place: str = place) -> Any:
            given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
            y, state, passage = _walk(place, module, given["x"], given.get("state"), given.get("lengths"))
            passages.append(passage)
            return y, state

        if layer.causal:
            handles.append(layer.register_forward_hook(see, with_kwargs=True))
    try:
        yield passages
    finally:
        for handle in handles:
            handle.remove()


def _walk(place: str, layer: Recurrent, x: Tensor, state: Any, lengths: Any) -> tuple[Tensor, Any, Passage]:
    """The layer over a batch, step by step: what it returns, and what was seen."""
    x, state, checked = layer.prepare(x, state, lengths)
    x, time = ragged.blank(x, checked), x.shape[1]
    alive = None if checked is None else ragged.mask(checked, time, x.device)
    anchor = torch.zeros((), device=x.device, requires_grad=True)  # every state has a graph, whatever came before
    state = _replace(state, [leaf + anchor.to(leaf.dtype) for leaf in memory(state)])
    outputs, before, seen = [], [], []
    for t in range(time):
        before.append(tree.detach(state))
        y, after, values = _step(layer, x[:, t], state)
        state = after if alive is None else tree.where(alive[:, t], after, state)
        outputs.append(y)
        seen.append(values)
    names = tuple(
        name
        for name, leaf in zip(tree.names(state), tree.leaves(state), strict=True)
        if leaf.is_floating_point() or leaf.is_complex()
    )
    whole = torch.full((len(x),), time) if checked is None else checked
    passage = Passage(place, layer, x.detach(), tuple(before), tuple(seen), names, whole)
    if not outputs:
        return *layer(x, state, checked), passage
    return ragged.blank(torch.stack(outputs, 1), checked), state, passage


def _step(layer: Recurrent, x: Tensor, state: Any) -> tuple[Tensor, Any, tuple[Tensor, ...]]:
    """One step, and the values at which gradients are asked for.

    Where the output is a tensor of the state, as h is, the state is copied, and what is passed on and what is put
    out are both taken from the copies: else c of an LSTM would count again what h counts. Where the output is
    computed from the state inside the step, the state itself is the only place that sees both ways.
    """
    y, after = layer.step(x, state)
    values = memory(after)
    if any(y is value for value in values):
        copies = [value.clone() for value in values]
        y = next(new for new, old in zip(copies, values, strict=True) if old is y)
        after, values = _replace(after, copies), copies
    return y, after, tuple(values)


def _replace(state: Any, values: list[Tensor]) -> Any:
    """The same state with other tensors for its `memory`."""
    rest = iter(values)
    return tree.map(lambda leaf: next(rest) if leaf.is_floating_point() or leaf.is_complex() else leaf, state)
