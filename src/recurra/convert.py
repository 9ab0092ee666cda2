"""Conversion of torch's recurrent layers to recurra's own and back: the same weights, copied."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recurra import layers
from recurra.dropin import TORCH_OF, full_name
from recurra.errors import ConfigError
from recurra.layers import Bidirectional, Dropout, Gated, Recurrent, Stack

__all__ = ["from_torch", "to_torch"]

_OURS: dict[type, type[Gated]] = {
    nn.RNN: layers.RNN,
    nn.LSTM: layers.LSTM,
    nn.GRU: layers.GRU,
    nn.RNNCell: layers.RNN,
    nn.LSTMCell: layers.LSTM,
    nn.GRUCell: layers.GRU,
}
_THEIRS: dict[type, Any] = {layers.RNN: nn.RNN, layers.LSTM: nn.LSTM, layers.GRU: nn.GRU}
_SUFFIXES = ("", "_reverse")  # torch's names for the parameters of the two directions


def from_torch(layer: nn.Module) -> Recurrent:
    """Recurra's layer with the weights of a torch.nn.RNN, LSTM, GRU, their cells or twins, copied.

    One level becomes an RNN, LSTM or GRU, or a `Bidirectional` of two; several become a `Stack` of these with a
    `Dropout` between where torch has dropout. Recurra is always batch first, ``x (B, T, F)``, whatever the
    layer's ``batch_first`` says. Dtype, device, frozen parameters and the mode of training are kept.

        W = weight_ih        U = weight_hh        b = bias_ih + bias_hh
        GRU:  c_n = the part of bias_hh for n, which stands inside r * (U_n h + c_n)

    Without bias b is zero and frozen. Raises ConfigError for a projection (``proj_size``), which recurra's LSTM
    does not have, for dropout=1, and for any other layer.
    """
    kind = _OURS.get(TORCH_OF.get(type(layer), type(layer)))
    if kind is None:
        raise ConfigError(
            f"from_torch: expected a torch.nn.RNN, LSTM, GRU or a cell of these, got {full_name(layer)}; "
            "a subclass may compute something else: convert the layers inside it"
        )
    built = [_read(kind, layer, "")] if isinstance(layer, nn.RNNCellBase) else list(_levels_of(kind, layer))
    return (built[0] if len(built) == 1 else Stack(*built)).train(layer.training)


def _levels_of(kind: type[Gated], layer: Any) -> Iterator[Recurrent]:
    if layer.proj_size:
        raise ConfigError(
            f"from_torch: this LSTM projects its state (proj_size={layer.proj_size}) and recurra's does not; "
            "recurra.fuse keeps the layer as it is"
        )
    for level in range(layer.num_layers):
        if level and layer.dropout:
            yield Dropout(layer.dropout)
        ahead = _read(kind, layer, f"_l{level}")
        yield Bidirectional(ahead, _read(kind, layer, f"_l{level}_reverse")) if layer.bidirectional else ahead


def _read(kind: type[Gated], source: Any, suffix: str) -> Gated:
    """Our cell with the parameters that ``source`` keeps under names with this suffix."""
    W, U = (getattr(source, name + suffix) for name in ("weight_ih", "weight_hh"))
    cell = _empty_cell(kind, source, W)
    _fill(cell.W, W, W.requires_grad)
    _fill(cell.U, U, U.requires_grad)
    if source.bias:
        _read_bias(cell, getattr(source, "bias_ih" + suffix), getattr(source, "bias_hh" + suffix))
    else:
        for shift in _shifts(cell):
            _fill(shift, torch.zeros_like(shift), False)
    return cell


def _read_bias(cell: Gated, b_ih: Tensor, b_hh: Tensor) -> None:
    outer = b_hh.detach().clone()
    if cell.vectors:  # of a GRU; the last H of b_hh stand inside the product with r, and cannot be added to b_ih
        inner = outer[-cell.hidden_size :]
        _fill(cell.get_parameter("c_n"), inner, b_hh.requires_grad)
        inner.zero_()
    _fill(cell.b, b_ih + outer, b_ih.requires_grad or b_hh.requires_grad)


def _empty_cell(kind: type[Gated], source: Any, like: Tensor) -> Gated:
    """A cell of the same sizes and nonlinearity, made without drawing random numbers."""
    options = {"activation": source.nonlinearity} if kind is layers.RNN else {}
    cell = kind(like.shape[1], source.hidden_size, device="meta", dtype=like.dtype, **options)
    return cell.to_empty(device=like.device)


def _shifts(cell: Gated) -> list[nn.Parameter]:
    """b, and c_n of a GRU."""
    return [cell.b, *(cell.get_parameter(name) for name in cell.vectors)]


def _fill(parameter: nn.Parameter, value: Tensor, trains: bool) -> None:
    with torch.no_grad():
        parameter.copy_(value)
    parameter.requires_grad_(trains)


def to_torch(layer: Recurrent) -> nn.RNNBase:
    """The torch.nn.RNN, LSTM or GRU with the weights of a recurra layer, copied; it is ``batch_first=True``.

    layer  an RNN, LSTM or GRU, a `Bidirectional` of two with ``merge="concat"``, or a `Stack` of these, of one
           kind and size throughout, with a `Dropout` of one rate between all levels or none

        weight_ih = W        weight_hh = U        bias_ih = b        bias_hh = 0, of a GRU (0, 0, c_n)

    If every b is zero and frozen, as `from_torch` makes it, the result has no bias. In training, torch's two biases
    get the same gradient each, so their sum moves twice as fast as b under plain gradient descent.

    Raises ConfigError, with the reason, for what torch's layers cannot say.
    """
    parts = [part for part in _flat(layer) if type(part) is not Dropout or part.p]
    levels = [_directions(part) for part in parts if type(part) is not Dropout]
    cells = [cell for level in levels for cell in level]
    rate = _dropout_rate(parts, len(levels))
    _check_same(levels, cells)
    result = _empty_torch(cells[0], len(levels), len(levels[0]), rate, _has_bias(cells))
    for k, level in enumerate(levels):
        for cell, suffix in zip(level, _SUFFIXES, strict=False):
            _write(cell, result, f"_l{k}{suffix}")
    return result.train(layer.training)


def _flat(layer: Recurrent) -> Iterator[Recurrent]:
    if type(layer) is Stack:
        for part in layer:
            yield from _flat(part)
    else:
        yield layer


def _refuse(reason: str) -> ConfigError:
    return ConfigError(f"to_torch: {reason}; torch's layers cannot say this, convert the parts that they can")


def _directions(part: Recurrent) -> tuple[Gated, ...]:
    """The one or two cells of a level."""
    if type(part) is Bidirectional:
        if part.merge != "concat":
            raise _refuse(f"expected a Bidirectional with merge='concat', got merge={part.merge!r}")
        return (*_directions_of_one(part.ahead), *_directions_of_one(part.back))
    return _directions_of_one(part)


def _directions_of_one(part: Recurrent) -> tuple[Gated]:
    if type(part) not in _THEIRS or not isinstance(part, Gated):
        raise _refuse(
            f"expected RNN, LSTM, GRU or Bidirectional of two of them, with Dropout between, got {full_name(part)}"
        )
    if part.initial is not None:
        raise _refuse(f"expected a first state of zeros, got a learned one in {full_name(part)}")
    return (part,)


def _dropout_rate(parts: list[Recurrent], levels: int) -> float:
    """The one rate of dropout between levels; the parts must be level, (dropout,) level, ..."""
    rates = {part.p for part in parts if type(part) is Dropout}
    if not rates:
        return 0.0
    between = [type(part) is Dropout for part in parts] == [bool(i % 2) for i in range(2 * levels - 1)]
    if not between or len(rates) > 1:
        order = ", ".join(f"{part}" if type(part) is Dropout else type(part).__name__ for part in parts)
        raise _refuse(f"expected one Dropout of the same rate between each two levels, got {order}")
    return rates.pop()


def _check_same(levels: list[tuple[Gated, ...]], cells: list[Gated]) -> None:
    if not cells:
        raise _refuse("expected at least one RNN, LSTM or GRU, got none")
    if len({len(level) for level in levels}) > 1:
        raise _refuse("expected all levels with one direction or all with two, got both")
    kinds = {_kind(cell): None for cell in cells}
    if len(kinds) > 1:
        raise _refuse(f"expected one kind, size, dtype and device throughout, got {', '.join(kinds)}")
    if len({id(cell) for cell in cells}) < len(cells):
        raise _refuse("expected a layer of its own for each level, got one layer used twice")


def _kind(cell: Gated) -> str:
    activation = f" with {cell.activation}" if isinstance(cell, layers.RNN) else ""
    return f"{type(cell).__name__} of {cell.hidden_size} units{activation}, {cell.W.dtype} on {cell.W.device}"


def _has_bias(cells: list[Gated]) -> bool:
    return any(shift.requires_grad or bool(shift.any()) for cell in cells for shift in _shifts(cell))


def _empty_torch(cell: Gated, depth: int, directions: int, dropout: float, bias: bool) -> nn.RNNBase:
    """Torch's layer of these sizes, made without drawing random numbers."""
    options = {"nonlinearity": cell.activation} if isinstance(cell, layers.RNN) else {}
    result = _THEIRS[type(cell)](
        cell.input_size,
        cell.hidden_size,
        num_layers=depth,
        bias=bias,
        batch_first=True,
        dropout=dropout,
        bidirectional=directions == 2,
        device="meta",
        dtype=cell.W.dtype,
        **options,
    )
    return result.to_empty(device=cell.W.device)


def _write(cell: Gated, result: nn.RNNBase, suffix: str) -> None:
    _fill(result.get_parameter("weight_ih" + suffix), cell.W, cell.W.requires_grad)
    _fill(result.get_parameter("weight_hh" + suffix), cell.U, cell.U.requires_grad)
    if not result.bias:
        return
    _fill(result.get_parameter("bias_ih" + suffix), cell.b, cell.b.requires_grad)
    second = torch.zeros_like(cell.b)
    if cell.vectors:
        second[-cell.hidden_size :] = cell.get_parameter("c_n").detach()
    _fill(result.get_parameter("bias_hh" + suffix), second, any(shift.requires_grad for shift in _shifts(cell)))
