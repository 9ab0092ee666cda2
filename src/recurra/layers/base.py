"""The protocol of every recurrent layer, and its simplest kind.

    forward(x (B, T, *F), state=None, lengths=None) -> y (B, T, *G), state
    step   (x_t (B, *F),  state)                    -> y_t (B, *G),  state

Batch first, right padded, ``(y, state)`` always. The laws that every layer keeps are in `recurra.testing`.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import DtypeError, NotCausalError, ShapeError, StateError
from recurra.kernels import dispatch

__all__ = ["Recurrent", "Stepwise"]


class Recurrent(nn.Module, ABC):
    """A layer over time with a state: a memory that can be carried, saved, reset per row and streamed.

        y_t, s_t = step(x_t, s_{t-1})

    A subclass writes `initial_state`, `step` and `sequence`, and sets ``input_shape`` and ``output_shape``, the
    sizes of one time step such as ``(64,)``; None means any. Users call the layer or its `step`.
    """

    causal: bool = True
    skips_padding: bool = False  # whether `sequence` itself never reads padding, and leaves zeros there
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        """The state before the first step, for ``batch`` rows, with the device and dtype of ``like``."""

    @abstractmethod
    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step: ``x (B, *F)`` and the state before give ``y (B, *G)`` and the state after.

        There are no checks here: one step of a small layer is a few microseconds of work.
        """

    @abstractmethod
    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """All steps: ``x (B, T, *F)``, zero in the padding, lengths checked. Padding in y may hold anything.

        With ``skips_padding`` padding in x holds anything, and y must be zero there.
        """

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | list[int] | None = None
    ) -> tuple[Tensor, Any]:
        """Run over a batch of sequences.

        x        (B, T, *F)  padded on the right; what stands in the padding is never read
        state    what an earlier call returned, or None for `initial_state`
        lengths  (B,) valid steps of each row, 0 <= length <= T; None means that all are T

        Returns y ``(B, T, *G)``, zero past the end of each row, and the state after the last valid step.
        Raises ShapeError, DtypeError, LengthsError or StateError when the input does not fit.
        """
        x, state, checked = self.prepare(x, state, lengths)
        y, state = self.sequence(x, state, checked)
        return (y if self.skips_padding else ragged.blank(y, checked)), state

    def renew(self, state: Any) -> Any:
        """The same memory with new dropout masks, for truncated backpropagation: once for each window."""
        return state

    def explain(self, x: Tensor, state: Any = None, lengths: Tensor | list[int] | None = None) -> str:
        """Run once, and say which variant of each operation ran and why the others refused."""
        with dispatch.record() as log:
            self(x, state, lengths)
        return "\n".join(str(decision) for decision in log) or f"{self}: one path only, in plain PyTorch"

    def prepare(
        self, x: Tensor, state: Any = None, lengths: Tensor | list[int] | None = None
    ) -> tuple[Tensor, Any, Tensor | None]:
        """Check what a caller gave: x as `sequence` takes it, the state to begin with, and lengths on the CPU."""
        self.check_input(x)
        checked = None if lengths is None else ragged.check(lengths, x.shape[0], x.shape[1])
        if state is None:
            state = self.initial_state(x.shape[0], x)
        else:
            self.check_state(state, x)
        return (x if self.skips_padding else ragged.blank(x, checked)), state, checked

    def check_input(self, x: Tensor) -> None:
        """Raise ShapeError or DtypeError if ``x`` is not a batch of sequences for this layer."""
        if not isinstance(x, Tensor):
            raise DtypeError(f"{type(self).__name__}: expected x as a torch.Tensor, got {type(x).__name__}")
        name, shape = type(self).__name__, self.input_shape
        want = ", ".join(["B", "T", *(map(str, shape) if shape is not None else ["..."])])
        if x.dim() < 3 or (shape is not None and tuple(x.shape[2:]) != shape):
            hint = "; add a batch axis with x.unsqueeze(0)" if shape and tuple(x.shape[1:]) == shape else ""
            raise ShapeError(f"{name}: expected x of shape ({want}), got {tuple(x.shape)}{hint}")
        own = self._dtype(x)
        if x.dtype != own and not (torch.is_autocast_enabled(x.device.type) and x.is_floating_point()):
            raise DtypeError(
                f"{name}: expected x of {own} as the layer's parameters, got {x.dtype}; use x.to({own})"
            )

    def _dtype(self, x: Tensor) -> torch.dtype:
        """The type of the layer's numbers; without any, that of x."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), x.dtype)

    def check_state(self, state: Any, x: Tensor) -> None:
        """Raise StateError if ``state`` does not have the structure, sizes, dtype and device of this layer's."""
        name = type(self).__name__
        template = self.initial_state(x.shape[0], torch.empty(0, device="meta", dtype=x.dtype))
        want, got = _describe(template), _describe(state)
        if list(got) != list(want) or list(got.values()) != list(want.values()):
            raise StateError(
                f"{name}: expected a state of {want or 'no tensors'}, got {got or 'no tensors'}; "
                "pass what this layer returned for the same batch, or None to begin anew"
            )
        mixes = torch.is_autocast_enabled(x.device.type)
        for leaf, own in zip(tree.leaves(state), tree.leaves(template), strict=True):
            if leaf.device != x.device or (leaf.dtype != own.dtype and not mixes):
                raise StateError(
                    f"{name}: expected a state in {own.dtype} on {x.device} as x, got {leaf.dtype} on "
                    f"{leaf.device}; convert it with .to({own.dtype}) and .to(x.device)"
                )

    def refuse_step(self) -> NotCausalError:
        """The error of a layer that needs the future, naming the remedy."""
        return NotCausalError(
            f"{type(self).__name__} needs the whole sequence and has no single step; call it on x (B, T, F), or "
            "train a causal layer (without Bidirectional) to stream"
        )


def _describe(state: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state; what is no state is described by its class."""
    try:
        return {name: tuple(leaf.shape) for name, leaf in zip(tree.names(state), tree.leaves(state), strict=True)}
    except TypeError:
        return {type(state).__name__: ()}


class Stepwise(Recurrent):
    """A layer that is fully described by one step: the loop over time, with ragged rows, is derived.

        y_t, s_t = step(x_t, s_{t-1})

    A subclass writes `initial_state` and `step`, and sets ``input_shape`` and ``output_shape``.
    """

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        time = x.shape[1]
        alive = None if lengths is None else ragged.mask(lengths, time, x.device)
        outputs = []
        for t in range(time):
            y, after = self.step(x[:, t], state)
            state = after if alive is None else tree.where(alive[:, t], after, state)
            outputs.append(y)
        if outputs:
            return torch.stack(outputs, 1), state
        shape = self.output_shape if self.output_shape is not None else x.shape[2:]
        return x.new_zeros(x.shape[0], 0, *shape), state
