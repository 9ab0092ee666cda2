"""A layer and its memory as one object: push a time step, get the output."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import files, tree
from recurra.errors import BuildError, EquationError, ShapeError, StateError
from recurra.kernels import dispatch
from recurra.kernels.cpu import fused
from recurra.kernels.cpu.stepper import Chain
from recurra.layers.base import Recurrent
from recurra.layers.compose import Stack
from recurra.layers.gated import Gated
from recurra.layers.readout import Readout

__all__ = ["Stream"]


class Stream:
    """Run a causal layer one time step at a time, for ever, in constant memory.

        stream = Stream(layer)                   the layer goes to evaluation mode, no gradients are kept
        y_t = stream.push(x_t)                   x_t (B, *F) -> y_t (B, *G)

    ``state`` is a value: read it, assign it, `save` it to a file and `load` it in another process. `reset` begins
    anew, for some rows if a mask ``(B,)`` says so. Raises NotCausalError for a layer that needs the future.

    Cells, readouts and stacks of them, in float32 on the processor, run as one native call a step, on weights that
    were packed when the stream began. Weights changed in place, as optimizers and load_state_dict do, are packed
    again at the next push; after anything else (``p.data = ...``, a number of the cell) begin a new stream.
    `explain` says whether a push is native.
    """

    def __init__(self, layer: Recurrent, batch: int = 1) -> None:
        if not layer.causal:
            raise layer.refuse_step()
        self.layer, self.batch = layer.eval(), batch
        self._parameters = [p for p in layer.parameters() if not p.is_inference()]  # those never change
        self._shape = None if layer.input_shape is None else (batch, *layer.input_shape)
        self._chain: Chain | None = None
        self._state = self._begin()
        self._prepare()

    def _prepare(self) -> None:
        """Lay out the native step, if the layer has one, with its memory as it is."""
        state = self.state
        self._chain, self._versions = None, [parameter._version for parameter in self._parameters]
        self._refusal = _why_not(self.layer)
        if not self._refusal:
            self._chain = _chain_of(self.layer, self.batch)
        self.state = state

    @torch.no_grad()
    def _begin(self) -> Any:
        like = next((p for p in self.layer.parameters() if p.is_floating_point()), None)
        return self.layer.initial_state(self.batch, like)

    @property
    def state(self) -> Any:
        """The memory: what the layer's `step` would have returned."""
        if self._chain is None:
            return self._state
        leaves = [leaf.clone() for state in self._chain.states for leaf in state.unbind(0)]
        return tree.unflatten(self._state, leaves)

    @state.setter
    def state(self, value: Any) -> None:
        want, got = [[leaf.shape for leaf in tree.leaves(state)] for state in (self._state, value)]
        if want != got:
            raise StateError(f"Stream: expected a state of {list(map(tuple, want))}, got {list(map(tuple, got))}")
        self._state = value
        if self._chain is not None:
            leaves = iter(tree.leaves(value))
            for state in self._chain.states:
                for place in state.unbind(0):
                    place.copy_(next(leaves).detach())

    def push(self, x: Tensor) -> Tensor:
        """One time step ``x (B, *F)`` in, its output ``(B, *G)`` back; the memory moves on."""
        if self._chain is None or x.shape != self._shape or not self._fits(x):
            self._check(x)
            return self._step(x)
        return self._chain(x if x.is_contiguous() else x.contiguous()).clone()

    def step(self, x: Tensor) -> Tensor:
        """`push` for those who count microseconds: x is not checked, changed weights are not noticed, and with a
        native step y is the same memory at every call."""
        return self._step(x) if self._chain is None else self._chain(x)

    def _fits(self, x: Tensor) -> bool:
        """Whether the native step may read x, on the weights as they are now."""
        if x.dtype is not torch.float32 or not x.is_cpu or dispatch.forced():
            return False
        if [parameter._version for parameter in self._parameters] != self._versions:
            self._prepare()
        return True

    @torch.no_grad()
    def _step(self, x: Tensor) -> Tensor:
        y, self.state = self.layer.step(x, self.state)
        return y

    def _check(self, x: Tensor) -> None:
        shape = self.layer.input_shape
        if len(x) != self.batch or (shape is not None and tuple(x.shape[1:]) != shape):
            want = (self.batch, *(shape or ("...",)))
            raise ShapeError(f"Stream: expected one time step of shape {want}, got {tuple(x.shape)}")

    def explain(self) -> str:
        """What a push runs: one native call, or the layer's own step and why."""
        if not self._refusal:
            return "one native call a step"
        return f"the layer's own step in PyTorch: {self._refusal}"

    def reset(self, where: Tensor | None = None) -> None:
        """Forget: all rows, or those where the booleans ``where (B,)`` are true."""
        fresh = self._begin()
        self.state = fresh if where is None else tree.where(where, fresh, self.state)

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file."""
        files.write_tensors(Path(path), dict(zip(tree.names(self.state), tree.leaves(self.state), strict=True)))

    def load(self, path: str | Path) -> None:
        """Go on from the memory that `save` wrote. Raises RunError if the file is not
        whole, StateError if it is another layer's."""
        found = files.read_tensors(Path(path))
        fresh = self._begin()
        want = dict(zip(tree.names(fresh), tree.leaves(fresh), strict=True))
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in want.items()}:
            raise StateError(f"Stream: {path} holds the state {sorted(found)} of another layer or batch")
        self.state = tree.unflatten(fresh, [found[name].to(leaf) for name, leaf in want.items()])


def _parts(layer: Recurrent) -> list[Recurrent]:
    """The layers of a stack, from the bottom up."""
    return [part for inner in layer for part in _parts(inner)] if isinstance(layer, Stack) else [layer]


def _why_not(layer: Recurrent) -> str:
    """Why a layer has no native step, or ""."""
    for part in _parts(layer):
        if not isinstance(part, Gated | Readout):
            return f"{type(part).__name__} is neither a cell nor a readout"
        like = next(part.parameters())
        if like.dtype != torch.float32 or like.device.type != "cpu":
            return f"{type(part).__name__} is in {like.dtype} on {like.device}, not in float32 on the processor"
        try:
            if isinstance(part, Gated):
                fused.kernel_of(part)
        except (EquationError, BuildError) as error:
            return str(error)
    return ""


@torch.no_grad()
def _chain_of(layer: Recurrent, batch: int) -> Chain:
    parts = _parts(layer)
    chain = Chain(batch, (parts[0].input_shape or (1,))[0])
    for part in parts:
        if isinstance(part, Gated):
            chain.add_cell(fused.kernel_of(part), part.weights())
        elif isinstance(part, Readout):
            chain.add_linear(part.linear.weight, part.linear.bias)
    chain.seal()
    return chain
