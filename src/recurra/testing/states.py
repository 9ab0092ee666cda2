"""Laws of the state: a value of tensors, batch first, that can be carried, reordered, saved and renewed."""

from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from recurra import tree
from recurra.errors import NotCausalError
from recurra.testing.law import EVALUATION, law
from recurra.testing.subject import Case, Subject, answer, build

__all__ = ["refused_step", "renewed_state", "restored_state", "state_tree"]


@law(
    "state tree",
    "state",
    "a state is tensors in tuples, batch first in every leaf, of one structure before and after every call",
    "a leaf has the layers or the time in front, is a list or a number, or does not take x's dtype",
)
def state_tree(subject: Subject) -> str:
    subject.trying = "B=3, initial_state"
    template = _shapes(subject, subject.layer.initial_state(3, subject.random(3, 1)), 3)
    for batch in (0, 1, 19, 33):
        subject.trying = f"B={batch}"
        x = subject.random(batch, 1)
        states = [subject.layer.initial_state(batch, x)]
        states += [subject.layer(x)[1]] if batch else []
        states += [subject.layer.step(x[:, 0])[1]] if batch and subject.layer.causal else []
        for state in states:
            found = _shapes(subject, state, batch)
            subject.require(found == template, f"expected the leaves {template} for each row, got {found}")
    return ""


def _shapes(subject: Subject, state: Any, batch: int) -> dict[str, tuple]:
    """Name -> shape of one row and dtype; complains about what is not a tensor in tuples, batch first."""
    subject.require(_is_tree(state), f"expected tensors in tuples, got {_kinds(state)}")
    names, leaves = tree.names(state), tree.leaves(state)
    for name, leaf in zip(names, leaves, strict=True):
        first = leaf.shape[0] if leaf.dim() else None
        subject.require(first == batch, f"state {name}: expected {batch} rows first, got {tuple(leaf.shape)}")
        fits = leaf.dtype == torch.float64 or not leaf.is_floating_point()
        subject.require(fits, f"state {name}: expected the dtype of x, torch.float64, got {leaf.dtype}")
    return {name: (*leaf.shape[1:], leaf.dtype) for name, leaf in zip(names, leaves, strict=True)}


def _is_tree(state: Any) -> bool:
    return isinstance(state, Tensor) or (isinstance(state, tuple) and all(_is_tree(branch) for branch in state))


def _kinds(state: Any) -> str:
    """The types of a state: ``State(Tensor, list)``."""
    name = type(state).__name__
    return f"{name}({', '.join(map(_kinds, state))})" if isinstance(state, tuple) else name


@law(
    "restored state",
    "state",
    "a state that is saved and restored continues, in a new layer that loads the state_dict",
    "memory stands in an attribute, or a buffer is left out of the state_dict",
)
def restored_state(subject: Subject) -> str:
    case = subject.case(5, 19)
    leaves = {k: v.contiguous() for k, v in zip(tree.names(case.state), tree.leaves(case.state), strict=True)}
    found = load(save(leaves)) if leaves else {}
    twin = build(subject.make_layer, subject.training, seed=9)
    twin.load_state_dict({name: value.clone() for name, value in subject.layer.state_dict().items()})
    fresh = twin.initial_state(5, case.x)
    state = tree.unflatten(fresh, [found[name].to(leaf) for name, leaf in leaves.items()])
    want = subject.answer(subject.forward(), case)
    subject.same(answer(twin, subject.forward(layer=twin), Case(case.x, state)), want)
    return ""


@law(
    "renewed state",
    "state",
    "renew keeps the memory: in evaluation mode nothing changes, in training mode only the noise",
    "renew returns the initial state, or forgets one of the layers within",
    EVALUATION,
)
def renewed_state(subject: Subject) -> str:
    for lengths in (None, [19, 0, 1, 7, 18]):
        case = subject.case(5, 19, lengths)
        renewed = subject.layer.renew(case.state)
        shapes = _shapes(subject, renewed, 5), _shapes(subject, case.state, 5)
        subject.require(shapes[0] == shapes[1], f"expected the leaves {shapes[1]}, got {shapes[0]}")
        y, last = subject.layer(case.x, case.state, case.lengths)
        z, after = subject.layer(case.x, renewed, case.lengths)
        subject.equal("y", z, y)
        for name, got, want in zip(tree.names(last), tree.leaves(after), tree.leaves(last), strict=True):
            if got.is_floating_point():
                subject.equal(f"last state {name}", got, want)
    return ""


@law(
    "refused step",
    "state",
    "a layer that needs the future refuses a step with NotCausalError, which names the remedy",
    "step is inherited and computes something; raise self.refuse_step() instead",
    EVALUATION,
)
def refused_step(subject: Subject) -> str:
    if subject.layer.causal:
        return "the layer is causal"
    for batch in (1, 5):
        case = subject.case(batch, 1)
        for state in (None, case.state):
            try:
                subject.layer.step(case.x[:, 0], state)
            except NotCausalError as error:
                named = "causal" in str(error)
                subject.require(named, f"expected an error that points to a causal layer, got {str(error)!r}")
            else:
                subject.require(False, "expected NotCausalError, got an answer")
    return ""
