"""A layer that forgets where a new document or episode begins."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import tree
from recurra.errors import BoundaryError, ConfigError, ShapeError
from recurra.layers.base import Recurrent, Stepwise

__all__ = ["ResetOnBoundary"]


class ResetOnBoundary(Stepwise):
    """A causal layer whose memory is cleared where a boundary says so: before the first step of a document, say.

        s_{t-1} = initial_state where boundary_t = 1
        y_t, s_t = layer(x_t, s_{t-1})

    The boundary, 0 or 1, is the last feature of x: ``torch.cat([x, first[..., None]], -1)``. The layer sees the
    others, ``layer.input_shape`` of them. The state goes in and out as ever, so a document may run on from one
    call to the next.

    A whole sequence is cut at its boundaries, and all pieces of all rows run side by side, shorter and longer ones
    apart: what is serial is the longest document, not T, and less than half of what is gathered is padding. Whole
    numbers of the layer's first state, such as seeds of dropout masks, are kept in the state as ``begin``, so that
    a reset brings back the same ones in `step` and in the sequence; `renew` draws new ones.

    Shapes: x ``(B, T, F + 1)`` -> y as the layer's. Raises BoundaryError for a boundary that is neither 0 nor 1
    (`step` does not look), ConfigError for a layer that needs the future.
    """

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        if not isinstance(layer, Recurrent) or not layer.causal:
            raise ConfigError(f"ResetOnBoundary: expected a causal recurrent layer, got {type(layer).__name__}")
        shape = layer.input_shape
        if shape is not None and len(shape) != 1:
            raise ShapeError(
                f"ResetOnBoundary: expected a layer of vectors (B, T, F), whose last feature can be the boundary, "
                f"got {type(layer).__name__} of {shape}"
            )
        self.layer = layer
        self.input_shape = None if shape is None else (shape[0] + 1,)
        self.output_shape = layer.output_shape

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        inner = self.layer.initial_state(batch, like)
        return tree.State(layer=inner, begin=_whole_numbers(inner))

    def renew(self, state: Any) -> Any:
        leaves = tree.leaves(state)
        like = next((leaf for leaf in leaves if leaf.is_floating_point()), None)
        first = self.layer.renew(self._first(len(leaves[0]) if leaves else 0, like, state.begin))
        return tree.State(layer=self.layer.renew(state.layer), begin=_whole_numbers(first))

    def _first(self, batch: int, like: Tensor | None, begin: Any) -> Any:
        """The layer's first state for some rows, with the whole numbers that it had for them when they began."""
        rest = iter(begin)
        first = self.layer.initial_state(batch, like)
        return tree.map(lambda leaf: leaf if leaf.is_floating_point() else next(rest), first)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(x.shape[0], x) if state is None else state
        first = self._first(x.shape[0], x, state.begin)
        y, inner = self.layer.step(x[..., :-1], tree.where(x[..., -1] != 0, first, state.layer))
        return y, state._replace(layer=inner)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        if torch.compiler.is_compiling():  # how many pieces there are is not known while a compiler watches
            return super().sequence(x, state, lengths)
        _check_boundaries(x[..., -1])
        if not (x[..., -1] != 0).any():  # also where there are no steps or no rows
            y, inner = self.layer(x[..., :-1], state.layer, lengths)
            return y, state._replace(layer=inner)
        pieces = _cut(x[..., -1] != 0, lengths)
        first = self._first(len(pieces.row), x, tree.rows(state.begin, pieces.row))
        start = tree.where(pieces.carried, tree.rows(state.layer, pieces.row), first)
        y, last = self._run(x[..., :-1], start, pieces)
        return y, state._replace(layer=tree.rows(last, pieces.last))

    def _run(self, x: Tensor, start: Any, pieces: "Pieces") -> tuple[Tensor, Any]:
        """All pieces, those of similar length together: y ``(B, T, ...)`` and the state after each piece."""
        batch, time = x.shape[:2]
        flat, outputs, ends = x.reshape(batch * time, -1), [], []
        place, done = torch.zeros_like(pieces.begin), 0  # where the output of each piece begins
        groups = _groups(pieces.length)
        for group in groups:
            length = pieces.length[group]
            width = max(1, int(length.max()))
            where = pieces.begin[group][:, None] + torch.arange(width, device=x.device)
            part = flat[where.clamp(max=batch * time - 1)]
            y, end = self.layer(part, tree.rows(start, group), length)
            place[group] = done + width * torch.arange(len(group), device=x.device)
            done += width * len(group)
            outputs.append(y.flatten(0, 1))
            ends.append(end)
        steps = torch.arange(time, device=x.device) + (torch.arange(batch, device=x.device) * time)[:, None]
        found = place[pieces.piece] + steps - pieces.begin[pieces.piece]
        y = torch.cat(outputs)[found.clamp(0, done - 1)]
        back = torch.cat(groups).argsort()
        return y, tree.rows(tree.map(lambda *leaves: torch.cat(leaves), *ends), back)

    def extra_repr(self) -> str:
        return "boundary=last feature"


def _whole_numbers(state: Any) -> Any:
    return tuple(leaf for leaf in tree.leaves(state) if not leaf.is_floating_point())


def _check_boundaries(boundary: Tensor) -> None:
    wrong = (boundary != 0) & (boundary != 1)
    if wrong.any():
        row, step = wrong.nonzero()[0].tolist()
        raise BoundaryError(
            f"ResetOnBoundary: expected the last feature of x to be 0 or 1, got {boundary[row, step].item():g} in "
            f"row {row} at step {step}; append the boundary with torch.cat([x, first[..., None]], -1)"
        )


class Pieces(NamedTuple):
    """A batch cut at its boundaries. Every row begins with a piece that goes on from its state; it may be empty."""

    row: Tensor  # (P,) the row that each piece is of
    begin: Tensor  # (P,) its first step, counted over all rows
    length: Tensor  # (P,)
    carried: Tensor  # (P,) booleans: the first piece of its row
    last: Tensor  # (B,) the number of the last piece of each row
    piece: Tensor  # (B, T) the number of the piece that each step is of


def _cut(boundary: Tensor, lengths: Tensor | None) -> Pieces:
    """``boundary (B, T)`` booleans, false in the padding."""
    batch, time = boundary.shape
    device = boundary.device
    ends = torch.full((batch,), time, device=device) if lengths is None else lengths.to(device)
    counts = 1 + boundary.sum(1)
    last = counts.cumsum(0) - 1
    piece = (last - counts + 1)[:, None] + boundary.cumsum(1)
    row = torch.arange(batch, device=device).repeat_interleave(counts)
    carried = torch.ones(len(row), dtype=torch.bool, device=device)
    carried[piece[boundary]] = False
    begin = row * time
    begin[piece[boundary]] = boundary.flatten().nonzero().squeeze(1)
    stop = row * time + ends[row]
    stop[:-1] = torch.where(row[:-1] == row[1:], begin[1:], stop[:-1])
    return Pieces(row, begin, stop - begin, carried, last, piece)


def _groups(length: Tensor) -> list[Tensor]:
    """Numbers of the pieces, grouped so that in no group a piece is more than twice as long as another one."""
    size = length.clamp(min=1).double().log2().ceil()
    return [(size == value).nonzero().squeeze(1) for value in size.unique()]
