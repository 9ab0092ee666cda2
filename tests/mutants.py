"""Deliberately broken layers: bugs seen in other projects, one each, in a layer that is otherwise sound."""

from typing import Any

import torch
from torch import Tensor, nn, sigmoid, tanh

from recurra import RNN, Bidirectional, Recurrent, State, Stepwise, tree
from recurra import lengths as ragged
from recurra.errors import NotCausalError
from recurra.layers.noise import draw_seed, dropped

SIZE = 4  # features and units


class Sound(Stepwise):
    """h' = tanh(W x + U h + b), y = h': keeps every law until a mutant changes something."""

    def __init__(self) -> None:
        super().__init__()
        self.input_shape, self.output_shape = (SIZE,), (SIZE,)
        self.W, self.U = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return State(h=(self.W.weight if like is None else like).new_zeros(batch, SIZE))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        h = tanh(self.W(x) + self.U(state.h))
        return h, State(h=h)


class EmptyInFloat32(Sound):
    """No time steps give outputs of torch's default dtype."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return super().sequence(x, state, lengths) if x.shape[1] else (torch.zeros(len(x), 0, SIZE), state)


class EmptyBatch(Sound):
    """An empty batch has no largest length."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return super().sequence(x, state, lengths if lengths is None or lengths.max() >= 0 else None)


class TrustsStrides(Sound):
    """The features of a time step are taken to be neighbours in memory."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        if lengths is None and x.numel():
            x = x.as_strided(x.shape, (*x.stride()[:2], 1))
        return super().forward(x, state, lengths)


class LayersFirst(Sound):
    """The state has an axis of layers before the batch, as in torch.nn."""

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return tree.map(lambda leaf: leaf[None], super().initial_state(batch, like))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = super().step(x, None if state is None else tree.map(lambda leaf: leaf[0], state))
        return y, tree.map(lambda leaf: leaf[None], state)


class ListState(Sound):
    """A state that is a list."""

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return list(super().initial_state(batch, like))


class SpareInFloat32(Sound):
    """A leaf of the state does not take the dtype of x."""

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return State(h=super().initial_state(batch, like).h, spare=torch.zeros(batch, dtype=torch.float32))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, _ = super().step(x, state)
        return y, self.initial_state(len(x), x)._replace(h=y)


class ChangesState(Sound):
    """Without gradients, the state before is overwritten to save memory."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, after = super().step(x, state)
        if state is not None and not torch.is_grad_enabled():
            state.h.copy_(y)
        return y, after


class BlanksInPlace(Sound):
    """The caller's padding is set to zero in the caller's tensor."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        if lengths is not None and not x.requires_grad:
            x[~ragged.mask(torch.as_tensor(lengths), x.shape[1])] = 0
        return super().forward(x, state, lengths)


class CountsDownLengths(Sound):
    """The caller's lengths are counted down to zero."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        y, last = super().forward(x, state, lengths)
        if isinstance(lengths, Tensor):
            lengths.zero_()
        return y, last


class Stateful(Sound):
    """An attribute carries the state from call to call, as "stateful" layers do elsewhere."""

    memory: Any = None

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        if state is None and self.memory is not None and len(self.memory.h) == len(x):
            state = self.memory
        y, state = super().forward(x, state, lengths)
        self.memory = tree.detach(state)
        return y, state


class CountsCalls(Sound):
    """A buffer counts the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        self.calls += 1
        return super().forward(x, state, lengths)


class RedrawsMask(Sound):
    """Dropout of the recurrent product draws its mask at each call: chunks differ from the whole."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        drop = torch.rand(len(x), 1, SIZE, dtype=x.dtype) < 0.3
        return super().sequence(x.masked_fill(drop, 0) if self.training else x, state, lengths)


class OtherStart(Sound):
    """None begins from ones, initial_state from zeros."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        return super().forward(x, State(h=x.new_ones(len(x), SIZE)) if state is None else state, lengths)


class LearnedStartLeftOut(RNN):
    """The first step of a stream begins from zeros, though the first state is learned."""

    def step(self, x: Tensor, state: Any = None, **more: Any) -> tuple[Tensor, Any]:
        return super().step(x, State(h=x.new_zeros(len(x), 3)) if state is None else state, **more)


class BatchNormalized(Sound):
    """Inputs are centred over the batch in training mode."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return super().step(x - x.mean(0) if self.training else x, state)


class NeighbourLeak(Sound):
    """A row reads a little of its neighbour, where no lengths are given."""

    ragged = False

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        self.ragged = lengths is not None
        found = super().sequence(x, state, lengths)
        self.ragged = False
        return found

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return super().step(x if self.ragged or len(x) < 2 else x + 0.1 * x.roll(1, 0), state)


class MultipliesPadding(Sound):
    """Padding is multiplied by 0, and 0 * NaN is NaN."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        y, last = super().forward(x, state, lengths)
        if lengths is None:
            return y, last
        return y + 0 * (x * ragged.mask(torch.as_tensor(lengths), x.shape[1])[..., None]), last


class MultipliesOutputs(Sound):
    """Outputs are multiplied by 0 instead of replaced: a NaN in the upstream gradient passes."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        if lengths is None:
            return super().forward(x, state)
        ends = ragged.check(lengths, *x.shape[:2])
        state = self.initial_state(len(x), x) if state is None else state
        y, last = self.sequence(ragged.blank(x, ends), state, ends)
        return y * ragged.mask(ends, x.shape[1])[..., None], last


class FillsTheEnd(Sound):
    """Outputs past the end hold a number."""

    def forward(self, x: Tensor, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        y, last = super().forward(x, state, lengths)
        if lengths is not None:
            y = y + 0.1 * ~ragged.mask(torch.as_tensor(lengths), x.shape[1])[..., None]
        return y, last


class LastAtLengthsMinusOne(Sound):
    """The last state is y at lengths - 1, which for length 0 is the last of all steps."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        y, last = super().sequence(x, state, None)
        if lengths is not None and x.shape[1]:
            last = State(h=y[torch.arange(len(y)), lengths - 1])
        return y, last


class LastAtT(Sound):
    """The last state is that at T, whatever the lengths."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return super().sequence(x, state, None)


class ReversesPadding(Bidirectional):
    """The way back begins with the padding."""

    skips_padding = False

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        y, ahead = self.ahead(x, state[0], lengths)
        z, back = self.back(x.flip(1), state[1])
        return torch.cat([y, z.flip(1)], 2), (ahead, back)


class RoundsToFloat32(Sound):
    """A kernel computes in float32 whatever it is given."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, _ = super().step(x, state)
        y = y.to(torch.float32).to(x.dtype)
        return y, State(h=y)


class HalfGradient(Sound):
    """A part of the gradient is lost: y is right, its slope is not."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return super().step(0.5 * x + 0.5 * x.detach(), state)


class Detached(Recurrent):
    """The last state is cut from the graph."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        y, last = super().sequence(x, state, lengths)
        return y, tree.detach(last)


class DetachedLastState(Detached, Sound):
    """A causal layer: chunks notice too."""


class DetachedBothEnds(Detached, Bidirectional):
    """A layer that needs the future: only the law of its own notices."""


class CentredConvolution(Sound):
    """A convolution over time looks one step ahead."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        ahead = nn.functional.pad(x, (0, 0, 0, 1))[:, 1:]
        return super().sequence(x + 0.5 * ahead, state, lengths)


class StepWithOtherWeight(Sound):
    """The single step uses the transpose of the U that the loop over time uses."""

    inside = False

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        self.inside = True
        found = super().sequence(x, state, lengths)
        self.inside = False
        return found

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        U = self.U.weight if self.inside else self.U.weight.T
        h = tanh(self.W(x) + state.h @ U.T)
        return h, State(h=h)


class MinLSTM(Sound):
    """A parallel minLSTM that puts the carried state through an activation again at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(SIZE, 3 * SIZE)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        f, i, g = sigmoid(self.gates(x)).chunk(3, -1)
        h = (f * state.h + i * g) / (f + i)
        return h, State(h=h)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        moved = tree.map(lambda h: h + 0.5, state) if x.shape[1] else state
        return super().sequence(x, moved if lengths is None else tree.where(lengths > 0, moved, state), lengths)


class ClockNotCarried(Sound):
    """Dropout that hashes (seed, step) begins to count anew at each chunk."""

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        h = super().initial_state(batch, like).h
        return State(h=h, seed=draw_seed(batch, h))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        y, _ = super().step(x, state)
        return y, state._replace(h=y)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        steps = torch.arange(x.shape[1]).expand(len(x), -1)
        drop = dropped(0.3, state.seed, steps, (SIZE,))
        return super().sequence(x.masked_fill(drop, 0) if self.training else x, state, lengths)


class PositionTable(Sound):
    """Positions are learned for forty time steps."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, SIZE)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return State(h=super().initial_state(batch, like).h, time=torch.zeros(batch, dtype=torch.int64))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        y, _ = super().step(x + self.table(state.time), state)
        return y, State(h=y, time=state.time + 1)


class UnsavedBuffer(Sound):
    """Random numbers that the layer needs are not in its state_dict."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("signs", torch.randn(SIZE), persistent=False)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return super().step(x * self.signs, state)


class ForgetsOnRenew(Sound):
    """New dropout masks come with an empty memory."""

    def renew(self, state: Any) -> Any:
        return self.initial_state(len(state.h), state.h)


class StepsAhead(Bidirectional):
    """Needs the future, and steps all the same."""

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.ahead.step(x)


class NamesNoRemedy(Bidirectional):
    """Needs the future, and only says no."""

    def refuse_step(self) -> NotCausalError:
        return NotCausalError("not supported")
