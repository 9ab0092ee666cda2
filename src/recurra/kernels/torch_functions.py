"""The recurrence by torch's own lstm, gru and rnn functions: oneDNN on the CPU, cuDNN on CUDA."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from recurra import lengths as ragged
from recurra import tree
from recurra.kernels.recurrence import Call, Cell, define, forwards

__all__ = ["accepts", "cuts", "kind", "run"]


def kind(cell: Cell) -> str:
    """The name of torch's function for a cell's equation: "lstm", "gru", "rnn_tanh", "rnn_relu" or ""."""
    return str(cell.torch_function) if "torch_function" in vars(type(cell)) else ""  # type: ignore[attr-defined]


def accepts(call: Call) -> str:
    """Torch's functions know three equations, and nothing that changes them."""
    if not kind(call.cell):
        return "torch has no function for this equation"
    if call.dropout is not None:
        return "torch's functions have no dropout of the recurrent product"
    if call.keep is not None:
        return "torch's functions have no zoneout"
    if torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0:
        return "torch's functions know neither torch.func nor forward-mode gradients"
    if _half(call.x) and call.x.device.type == "cpu":
        return "torch's functions do not compute in float16 on the processor"
    return ""


def _half(x: Tensor) -> bool:
    """Whether torch will compute in float16, by the tensor's type or by autocast."""
    device = x.device.type
    return (torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype) == torch.float16


def run(call: Call) -> tuple[Tensor, Any]:
    """Torch's own lstm, gru and rnn: oneDNN on the CPU, cuDNN on CUDA.

    Ragged rows are sorted by length and cut where half of them have ended, so that the cost is at most twice
    the sum of the lengths; packing would run step by step instead.
    """
    if 0 in call.x.shape or (call.lengths is not None and not call.lengths.any()):
        return define(call)  # torch's functions do not take empty tensors, and there is next to nothing to do
    if call.backwards:
        y, state = run(forwards(call))
        return ragged.reverse(y, call.lengths), state
    if call.lengths is None:
        return _segment(call, call.x, call.state, None)
    lengths, ends = call.lengths, cuts(call.lengths)
    call = replace(call, x=ragged.blank(call.x, lengths))
    whole = ends == [call.x.shape[1]]
    y, state = _segment(call, call.x, call.state, lengths) if whole else _sorted(call, lengths, ends)
    return ragged.blank(y, lengths), state


def cuts(lengths: Tensor) -> list[int]:
    """Ends of the time segments: each ends where half of the rows that began it have ended."""
    remaining = lengths.sort().values
    ends, begin = [], 0
    while len(remaining):
        end = int(remaining[(len(remaining) - 1) // 2])
        if end > begin:
            ends.append(end)
            begin = end
        remaining = remaining[remaining > end]
    return ends


def _sorted(call: Call, lengths: Tensor, ends: list[int]) -> tuple[Tensor, Any]:
    order = lengths.argsort(descending=True, stable=True)
    lengths, where = lengths[order], order.to(call.x.device)
    x, state = call.x[where], tree.rows(call.state, where)
    pieces, finished, begin = [], [], 0
    for end in ends:
        alive = int((lengths > begin).sum())
        finished.append(tree.rows(state, slice(alive, None)))
        state = tree.rows(state, slice(0, alive))
        lengths = lengths[:alive]
        y, state = _segment(call, x[:alive, begin:end], state, (lengths - begin).clamp(max=end - begin))
        pieces.append(torch.nn.functional.pad(y, (0, 0, 0, 0, 0, len(x) - alive)))
        begin = end
    rest = call.x.shape[1] - begin
    if rest:
        pieces.append(pieces[0].new_zeros(len(x), rest, call.weights.U.shape[1]))
    state = tree.map(lambda *parts: torch.cat(parts), state, *reversed(finished))
    back = where.argsort()
    return torch.cat(pieces, 1)[back], tree.rows(state, back)


def _segment(call: Call, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
    weights, full = call.weights, lengths is None or bool((lengths == x.shape[1]).all())
    W = weights.W
    if not full and len(state) > 1:
        x, W = _holding(x, W, lengths, call.cell.x_gates.index("i"), call.cell.x_gates.index("f"))
    flat = [W, weights.U, weights.b, _recurrent_bias(call)]
    start = tuple(leaf.unsqueeze(0).contiguous() for leaf in state)
    function = getattr(torch, kind(call.cell))
    grad = torch.is_grad_enabled()
    y, *last = function(x, start if len(start) > 1 else start[0], flat, True, 1, 0.0, grad, False, True)
    end = [leaf.squeeze(0) for leaf in last]
    if not full:
        end[0] = ragged.last(y, lengths, state[0])
    return y, type(state)(*end)


def _recurrent_bias(call: Call) -> Tensor:
    """Torch adds a second bias to U h; only the GRU's last gate has one that the first could not replace."""
    b = call.weights.b
    if not call.weights.vectors:
        return torch.zeros_like(b)
    (c,) = call.weights.vectors
    return torch.cat([b.new_zeros(len(b) - len(c)), c])


def _holding(x: Tensor, W: Tensor, lengths: Any, i: int, f: int) -> tuple[Tensor, Tensor]:
    """Make padding hold the cell state, so that its last value needs no packing.

    One more input is 1 in the padding. Its weight closes the input gate and opens the forget gate beyond the
    reach of any other term: sigmoid gives exactly 0 and 1, so c' = 1 c + 0 g = c, in gradients too.
    """
    hidden = len(W) // 4
    large = 1e4 if _half(x) else torch.finfo(W.dtype).max / 4
    column = W.new_zeros(4, hidden)
    column[i], column[f] = -large, large
    padding = ~ragged.mask(lengths, x.shape[1], x.device)
    return torch.cat([x, padding[..., None].to(x.dtype)], -1), torch.cat([W, column.view(-1, 1)], 1)
