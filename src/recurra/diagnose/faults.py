"""Numbers that are not finite, located: which layer, which time step, which parameters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.diagnose.measured import Fault
from recurra.diagnose.passage import Passage, duplicate, kind, memory, undisturbed, watch

__all__ = ["find", "locate"]


def locate(network: nn.Module, run: Callable[[Any], Tensor]) -> Fault | None:
    """Where a number first stops being finite while ``run(copy of network)`` computes a loss, or None.

    On the way forward the first input or state of a layer, step by step; then, on the way back from the end, the
    first gradient of a state. In the network's own numbers and mode, since another would not overflow.
    """
    with undisturbed(network), torch.enable_grad():
        twin = duplicate(network, None)
        with watch(twin) as passages:
            loss = run(twin)
        ahead = _ahead(passages)
        if ahead is not None:
            return ahead
        named = {name: p for name, p in twin.named_parameters() if p.requires_grad}
        states = [value for passage in passages for values in passage.after for value in values]
        found = torch.autograd.grad(
            loss.sum(), [*states, *named.values()], allow_unused=True, materialize_grads=True
        )
        rest = iter(found)
        flows = [[[tuple(next(rest) for _ in values) for values in p.after]] for p in passages]
        return find(twin, passages, flows[::-1], dict(zip(named, rest, strict=True)))


def find(
    network: nn.Module,
    passages: Sequence[Passage],
    flows: Sequence[Sequence[Sequence[tuple[Tensor, ...]]]],
    parameters: Mapping[str, Tensor],
) -> Fault | None:
    """The same for a network that was watched; flows are the gradients of the states, of the last passage first."""
    ahead = _ahead(passages)
    if ahead is not None:
        return ahead
    broken = [name for name, gradient in parameters.items() if not gradient.isfinite().all()]
    for passage, losses in zip(reversed(passages), flows, strict=True):
        for step in range(len(passage.after), 0, -1):
            if not all(_finite(flow[step - 1]) for flow in losses):
                names = sorted(broken, key=lambda name, place=passage.place: not name.startswith(place))  # type: ignore[misc]
                return _fault("gradient", passage, step, tuple(names))
    if broken:
        return Fault("gradient", "", type(network).__name__, 1, 1, tuple(broken))
    return None


def _ahead(passages: Sequence[Passage]) -> Fault | None:
    """The first input or state on the way forward that is not finite."""
    for passage in passages:
        time = len(passage.after)
        for step in range(time):
            if not _finite((passage.x[:, step],)):
                return _fault("input", passage, step + 1)
            after = memory(passage.before[step + 1]) if step + 1 < time else passage.after[step]
            if not _finite(after):
                return _fault("state", passage, step + 1)
    return None


def _finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tree.leaves(tuple(tensors)))


def _fault(what: str, passage: Passage, step: int, parameters: tuple[str, ...] = ()) -> Fault:
    return Fault(what, passage.place, kind(passage.layer), step, len(passage.after), parameters)
