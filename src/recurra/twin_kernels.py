"""The kernels under the twins: a call of torch.nn's layer, taken apart into runs of the loop over time.

For each level of the layer, both directions at the same time:

    y = the loop over time (`recurra.kernels.recurrence`) on x with weight_ih, weight_hh and the biases
    the next x = both y beside each other, after dropout

An LSTM with a projection (Sak et al. 2014), h = W_hr m with m = o * tanh(c), runs as an LSTM on m:

    U h_{t-1} = (U W_hr) m_{t-1}        all t but the first
    U h_0     = a part of W x_1         h_0 stands in features that x has at the first step only
    y         = m W_hr^T                one product over all steps
"""

from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear, pad
from torch.nn.utils.rnn import PackedSequence

from recurra import tree
from recurra.kernels import torch_functions
from recurra.kernels.cpu import fused
from recurra.kernels.recurrence import Call as Loop
from recurra.kernels.recurrence import Pair, Weights
from recurra.layers import GRU, LSTM, RNN, Gated

__all__ = ["ENOUGH", "Call", "accepts_fused", "accepts_torch_lstm", "few_steps", "run_fused", "run_torch_lstm"]

# From how many steps on a kernel is faster than torch's path, in inference and in training, by torch's mode and the
# kind of batch: with fewer steps our preparations cost more than the loop itself. Measured, as are the sizes in
# `_pays`, with room, so that no call becomes slower.
ENOUGH = {
    ("GRU", "even"): (16, 12),
    ("GRU", "ragged"): (32, 16),
    ("RNN_TANH", "even"): (48, 24),
    ("RNN_TANH", "ragged"): (64, 40),
    ("RNN_RELU", "even"): (48, 24),
    ("RNN_RELU", "ragged"): (64, 40),
    ("LSTM", "even"): (512, 128),
    ("LSTM", "ragged"): (32, 24),
    ("LSTM", "projected"): (64, 32),
}
FEW = 12  # steps for which nobody is asked
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class Call(NamedTuple):
    """One forward of a twin; the value that every variant of `recurra.dropin.torch_layer` takes."""

    layer: Any  # the twin, with torch's attributes and parameters
    input: Any  # (T, B, F), (B, T, F) if layer.batch_first, (T, F) without a batch, or a PackedSequence
    hx: Any  # the first state as torch takes it, None for zeros

    def __str__(self) -> str:
        name = f"{type(self.layer).__name__}({self.layer.extra_repr()})"
        if isinstance(self.input, PackedSequence):
            rows, steps = int(self.input.batch_sizes[0]), len(self.input.batch_sizes)
            return f"{name} on a PackedSequence of {rows} rows, {steps} steps"
        return f"{name} on {tuple(self.input.shape)}"


def few_steps(layer: Any, x: Any) -> bool:
    """A quick look at a padded batch: so few steps, as in streaming, that torch's path need not be asked about."""
    return type(x) is Tensor and x.dim() == 3 and x.shape[1 if layer.batch_first else 0] < FEW


def accepts_fused(call: Call) -> str:
    """Why the fused kernel does not take a twin's call, or ""."""
    return _refusal(call, fused.accepts)


def run_fused(call: Call) -> Any:
    """All levels by the fused kernel, two directions on a core each where there are two."""
    return _run(call, _fused)


def _fused(loops: list[Loop]) -> list[tuple[Tensor, Any]]:
    if len(loops) == 2 and not fused.accepts_both(Pair(*loops)):
        return list(fused.run_both(Pair(*loops)))
    return [fused.run(loop) for loop in loops]


def accepts_torch_lstm(call: Call) -> str:
    """Torch.nn runs a packed LSTM, and one with a projection, step by step; its fast LSTM can compute them too."""
    if call.layer.mode != "LSTM":
        return "this layer is no LSTM"
    if _kind(call) == "even":
        return "torch's own path uses oneDNN by itself here"
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return "oneDNN is off"
    return _refusal(call, _lstm_accepts)


def run_torch_lstm(call: Call) -> Any:
    """All levels and directions by torch's LSTM function; ragged rows are sorted, cut and padded for it."""
    return _run(call, lambda loops: [torch_functions.run(loop) for loop in loops])


def _lstm_accepts(loop: Loop) -> str:
    if loop.x.device.type != "cpu" or loop.x.dtype != torch.float32:
        return "this way round oneDNN is used in float32 on the processor"
    return torch_functions.accepts(loop)


# What a call must be. Whatever torch would complain about is refused, so that torch says it in its own words.

_MISFIT = "the input, the first state or the weights are empty or do not fit together: torch knows what to say"


def _refusal(call: Call, accepts: Callable[[Loop], str]) -> str:
    """Why a kernel cannot take a call: the quickest answers first, what the kernel itself says last."""
    layer, data, kind = call.layer, _data(call.input), _kind(call)
    learns = layer.training and torch.is_grad_enabled()
    enough = ENOUGH[layer.mode, kind][learns]
    if _steps(call) < enough:
        return f"torch is as fast for fewer than {enough} steps"
    if torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack():
        return "a tracer or a mode of torch watches the operations"
    if torch._C._is_any_autocast_enabled():
        return "autocast is on, under which torch's own path chooses the types"
    if not _plain(data):
        return f"the kernels take plain tensors, not {type(data).__name__}"
    sizes = _sizes(call, data)
    if sizes is None or not _state_fits(call, sizes):
        return _MISFIT
    if layer.mode == "LSTM" and not _pays(layer, kind, *sizes, learns):
        return f"torch's LSTM is as fast for {sizes[0]} {kind} rows of these sizes"
    layer._update_flat_weights()
    if not _weights_fit(layer):
        return _MISFIT
    reason = accepts(_like(layer, data, *sizes))
    return reason or ("" if _alike(data, [*layer._flat_weights, *_leaves(call.hx)]) else _MISFIT)


def _steps(call: Call) -> float:
    x = call.input
    if type(x) is Tensor and x.dim() == 3:
        return x.shape[1 if call.layer.batch_first else 0]
    if isinstance(x, PackedSequence):
        return len(x.batch_sizes)
    return len(x) if type(x) is Tensor and x.dim() == 2 else inf


def _kind(call: Call) -> str:
    """Torch computes an LSTM fast if its batch is even; the others in a slow loop, in which each step is a call."""
    if call.layer.proj_size:
        return "projected"
    x = call.input
    return "ragged" if isinstance(x, PackedSequence) and bool(x.batch_sizes[0] > x.batch_sizes[-1]) else "even"


def _pays(layer: Any, kind: str, rows: int, steps: int, learns: bool) -> bool:
    """Whether an LSTM's sizes are none at which torch is as fast, however many the steps."""
    hidden = layer.hidden_size
    if kind == "projected":  # the product grows from U to U W_hr
        return hidden <= 256 and steps >= hidden // 2 if rows == 1 else hidden <= 512 and steps >= hidden // 4
    return kind == "ragged" or learns or rows == 1


def _data(x: Any) -> Any:
    return x.data if isinstance(x, PackedSequence) else x


def _plain(x: Any) -> bool:
    return type(x) in (Tensor, nn.Parameter) and x.layout is torch.strided


def _leaves(hx: Any) -> list:
    return [] if hx is None else list(hx) if isinstance(hx, tuple | list) else [hx]


def _sizes(call: Call, data: Tensor) -> tuple[int, int] | None:
    """Rows and steps of an input that fits the layer and is not empty, else None."""
    if data.shape[-1:] != (call.layer.input_size,):
        return None
    if isinstance(call.input, PackedSequence):
        counts = call.input.batch_sizes
        sound = data.dim() == 2 and counts.device.type == "cpu" and 0 < int(counts.sum()) == len(data)
        falling = sound and bool((counts[1:] <= counts[:-1]).all()) and int(counts[-1]) > 0
        return (int(counts[0]), len(counts)) if falling else None
    if data.dim() not in (2, 3):
        return None
    steps, rows = (len(data), 1) if data.dim() == 2 else data.shape[:2]
    if call.layer.batch_first and data.dim() == 3:
        steps, rows = rows, steps
    return (rows, steps) if rows and steps else None


def _state_fits(call: Call, sizes: tuple[int, int]) -> bool:
    layer = call.layer
    if call.hx is None:
        return True
    if isinstance(call.hx, Tensor) == (layer.mode == "LSTM"):
        return False
    depth = layer.num_layers * (1 + layer.bidirectional)
    rows = () if _data(call.input).dim() == 2 and not isinstance(call.input, PackedSequence) else sizes[:1]
    widths = [layer.proj_size or layer.hidden_size, layer.hidden_size][: 1 + (layer.mode == "LSTM")]
    leaves = _leaves(call.hx)
    return len(leaves) == len(widths) and all(
        _plain(leaf) and leaf.shape == (depth, *rows, width) for leaf, width in zip(leaves, widths, strict=True)
    )


def _weights_fit(layer: Any) -> bool:
    """Whether every weight has the shape that the layer's sizes say: a kernel trusts them."""
    flat = layer._flat_weights
    sizes = (layer.input_size, layer.hidden_size, layer.proj_size, layer.num_layers)
    shapes = _shapes(layer.mode, *sizes, layer.bias, layer.bidirectional)
    return len(flat) == len(shapes) and all(_plain(w) and w.shape == s for w, s in zip(flat, shapes, strict=True))


@cache
def _shapes(
    mode: str, features: int, hidden: int, projected: int, levels: int, bias: bool, bidirectional: bool
) -> list[tuple[int, ...]]:
    """The shapes of torch's weights, in its order."""
    rows, output, shapes = _GATES[mode] * hidden, projected or hidden, []
    for _ in range(levels):
        own = [(rows, features), (rows, output), *[(rows,)] * 2 * bias, *[(projected, hidden)] * bool(projected)]
        shapes += own * (1 + bidirectional)
        features = output * (1 + bidirectional)
    return shapes


def _alike(data: Tensor, others: list[Tensor]) -> bool:
    dtype, device = data.dtype, data.device
    return all(other.dtype is dtype and other.device == device for other in others)


def _like(layer: Any, data: Tensor, rows: int, steps: int) -> Loop:
    """A run of the sizes that all levels and directions have, to ask a kernel; its numbers are not read."""
    W, U = layer._flat_weights[:2]
    x = data.new_empty(1).expand(rows, steps, layer.input_size)
    if layer.proj_size:
        U = U.new_empty(1).expand(len(W), layer.hidden_size)
    return Loop(_cell(layer.mode), x, None, Weights(W, U, W, ()))


@cache
def _cell(mode: str) -> Gated:
    """A cell with the equation of a torch layer. Its own parameters, which draw no random numbers, are not used."""
    if mode in ("RNN_TANH", "RNN_RELU"):
        return RNN(1, 1, "tanh" if mode == "RNN_TANH" else "relu", device="meta")
    return (LSTM if mode == "LSTM" else GRU)(1, 1, device="meta")


# How the rows of a batch are read and written.


class _Even:
    """Rows of one length: values ``(B, T, F)`` between the levels."""

    lengths = None

    def __init__(self, values: Tensor, time_first: bool) -> None:
        self.values, self.time_first = values, time_first

    def read(self, values: Tensor) -> Tensor:
        """x ``(B, T, F)`` of a level."""
        return values

    write = read

    def drop(self, values: Tensor, share: float) -> Tensor:
        """Dropout with the very mask that torch draws, which has time first."""
        return dropout(values.transpose(0, 1).contiguous(), share).transpose(0, 1)

    def finish(self, outputs: list[Tensor]) -> Tensor:
        """The last output, in memory of its own: what is done to it in place must not reach what gradients need."""
        if len(outputs) == 1 and not self.time_first and not outputs[0].requires_grad:
            return outputs[0]
        return torch.cat([y.transpose(0, 1) for y in outputs] if self.time_first else outputs, -1)


class _Packed:
    """Ragged rows, longest first: values ``(N, F)`` between the levels, N the sum of the lengths, time first."""

    def __init__(self, values: Tensor, counts: Tensor) -> None:
        """counts  ``(T,)`` rows that are alive at each step."""
        self.values, self._shape = values, (int(counts[0]), len(counts))
        self.lengths = (counts > torch.arange(self._shape[0])[:, None]).sum(1)
        step = torch.arange(len(counts)).repeat_interleave(counts)
        row = torch.arange(len(values)) - (counts.cumsum(0) - counts)[step]
        self._places = row * len(counts) + step  # (N,) of the values in (B * T)

    def read(self, values: Tensor) -> Tensor:
        """x ``(B, T, F)`` of a level, zero in the padding."""
        rows, steps = self._shape
        x = values.new_zeros(rows * steps, values.shape[1]).index_copy_(0, self._places, values)
        return x.unflatten(0, self._shape)

    def write(self, y: Tensor) -> Tensor:
        """y ``(B, T, H)`` of a direction without its padding ``(N, H)``."""
        return y.flatten(0, 1).index_select(0, self._places)

    def drop(self, values: Tensor, share: float) -> Tensor:
        return dropout(values, share)

    def finish(self, outputs: list[Tensor]) -> Tensor:
        return torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]


def _arranged(call: Call) -> _Even | _Packed:
    if isinstance(call.input, PackedSequence):
        counts = call.input.batch_sizes
        if int(counts[-1]) < int(counts[0]):
            return _Packed(call.input.data, counts)
        return _Even(call.input.data.unflatten(0, (len(counts), -1)).transpose(0, 1), True)
    if call.input.dim() == 2:
        return _Even(call.input.unsqueeze(0), True)
    first = call.layer.batch_first
    return _Even(call.input if first else call.input.transpose(0, 1), not first)


# The run itself.


class _Parameters(NamedTuple):
    """What torch.nn keeps for one level and direction; None where it has none."""

    W: Tensor
    U: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    W_hr: Tensor | None = None


def _parameters(layer: Any) -> list[_Parameters]:
    """Level by level, and in each direction by direction: the order of torch's states too."""
    step = 2 + 2 * layer.bias + (layer.proj_size > 0)
    flat = layer._flat_weights
    parts = [flat[i : i + step] for i in range(0, len(flat), step)]
    found = [_Parameters(*part[: 2 + 2 * layer.bias]) for part in parts]
    return [p._replace(W_hr=part[-1]) for p, part in zip(found, parts, strict=True)] if layer.proj_size else found


def _run(call: Call, kernel: Callable[[list[Loop]], list[tuple[Tensor, Any]]]) -> Any:
    layer, rows, cell = call.layer, _arranged(call), _cell(call.layer.mode)
    first, parameters = _first_states(call), _parameters(layer)
    sides, ends = 1 + layer.bidirectional, list[Any]()
    values, outputs = rows.values, list[Tensor]()
    for level in range(layer.num_layers):
        if level:
            values = torch.cat(outputs, -1) if sides > 1 else outputs[0]
            values = rows.drop(values, layer.dropout) if layer.dropout and layer.training else values
        x, here = rows.read(values), range(sides * level, sides * level + sides)
        starts = [first and [leaf[i] for leaf in first] for i in here]
        loops = [_loop(cell, x, parameters[i], starts[i % sides], rows.lengths, i % sides > 0) for i in here]
        found = kernel(loops)
        outputs = [_projected(rows.write(y), parameters[i]) for i, (y, _) in zip(here, found, strict=True)]
        ends += [end._replace(h=_projected(end.h, parameters[i])) for i, (_, end) in zip(here, found, strict=True)]
    return _as_torch(call, rows.finish(outputs), [torch.stack(leaves) for leaves in zip(*ends, strict=True)])


def _projected(m: Tensor, own: _Parameters) -> Tensor:
    return m if own.W_hr is None else linear(m, own.W_hr)


def _first_states(call: Call) -> list[Tensor] | None:
    """The given states ``(levels * directions, B, H)``, in the order of the packed rows."""
    states = _leaves(call.hx)
    if isinstance(call.input, PackedSequence):
        order = call.input.sorted_indices
        states = states if order is None else [state.index_select(1, order) for state in states]
    elif call.input.dim() == 2:
        states = [state.unsqueeze(1) for state in states]
    return states or None


def _loop(
    cell: Gated,
    x: Tensor,
    own: _Parameters,
    first: list[Tensor] | None,
    lengths: Tensor | None,
    backwards: bool,
) -> Loop:
    """The run of one level and direction; with a projection its state is m in the place of h."""
    W, U = own.W, own.U
    start = first or [x.new_zeros(len(x), len(W) // len(cell.x_gates))] * len(cell.state)
    if own.W_hr is not None:
        U = own.U @ own.W_hr
        if first:
            h, c = first
            x = torch.cat([x, _at_the_first_step(h, x, lengths, backwards)], -1)
            W, start = torch.cat([W, own.U], 1), [torch.zeros_like(c), c]
    state = tree.State(**dict(zip(cell.state, start, strict=True)))
    return Loop(cell, x, state, Weights(W, U, *_biases(cell, own)), lengths, backwards=backwards)


def _at_the_first_step(h: Tensor, x: Tensor, lengths: Tensor | None, backwards: bool) -> Tensor:
    """``h (B, P)`` as features ``(B, T, P)``, zero at all steps but the first that is read."""
    steps = torch.arange(x.shape[1])
    ends = torch.full((len(x), 1), x.shape[1]) if lengths is None else lengths.unsqueeze(1)
    begins = ends - 1 if backwards else torch.zeros_like(ends)
    return h.unsqueeze(1) * (steps == begins).unsqueeze(-1)


def _biases(cell: Gated, own: _Parameters) -> tuple[Tensor, tuple[Tensor, ...]]:
    """b and the vectors: the last third of a GRU's b_hh stands inside the product with r, the rest adds to b_ih."""
    units = len(own.W) // len(cell.x_gates)
    if own.b_ih is None or own.b_hh is None:
        return own.W.new_zeros(len(own.W)), tuple(own.W.new_zeros(units) for _ in cell.vectors)
    if not cell.vectors:
        return own.b_ih + own.b_hh, ()
    outer, inner = own.b_hh.split([len(own.W) - units, units])
    return own.b_ih + pad(outer, (0, units)), (inner,)


def _as_torch(call: Call, output: Tensor, states: list[Tensor]) -> Any:
    """``(output, h_n)`` or ``(output, (h_n, c_n))`` in the shapes and the order of rows that torch gives."""
    packed, given = None, call.input
    if isinstance(given, PackedSequence):
        back = given.unsorted_indices
        states = states if back is None else [state.index_select(1, back) for state in states]
        rows = output if output.dim() == 2 else output.flatten(0, 1)
        packed = PackedSequence(rows, given.batch_sizes, given.sorted_indices, back)
    elif given.dim() == 2:
        output, states = output.squeeze(1), [state.squeeze(1) for state in states]
    return output if packed is None else packed, tuple(states) if len(states) > 1 else states[0]
