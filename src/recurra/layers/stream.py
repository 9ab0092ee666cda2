"""A layer and its memory as one object: push a time step, get the output."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import files, tree
from recurra.errors import ShapeError, StateError
from recurra.layers.base import Recurrent

__all__ = ["Stream"]


class Stream:
    """Run a causal layer one time step at a time, for ever, in constant memory.

        stream = Stream(layer)                   the layer goes to evaluation mode, no gradients are kept
        y_t = stream.push(x_t)                   x_t (B, *F) -> y_t (B, *G)

    ``state`` is a value: read it, assign it, `save` it to a file and `load` it in another process. `reset` begins
    anew, for some rows if a mask ``(B,)`` says so. Raises NotCausalError for a layer that needs the future.
    """

    def __init__(self, layer: Recurrent, batch: int = 1) -> None:
        if not layer.causal:
            raise layer.refuse_step()
        self.layer, self.batch = layer.eval(), batch
        self.state = self._begin()

    @torch.no_grad()
    def _begin(self) -> Any:
        like = next((p for p in self.layer.parameters() if p.is_floating_point()), None)
        return self.layer.initial_state(self.batch, like)

    @torch.no_grad()
    def push(self, x: Tensor) -> Tensor:
        """One time step ``x (B, *F)`` in, its output ``(B, *G)`` back; the memory moves on."""
        shape = self.layer.input_shape
        if len(x) != self.batch or (shape is not None and tuple(x.shape[1:]) != shape):
            want = (self.batch, *(shape or ("...",)))
            raise ShapeError(f"Stream: expected one time step of shape {want}, got {tuple(x.shape)}")
        y, self.state = self.layer.step(x, self.state)
        return y

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
