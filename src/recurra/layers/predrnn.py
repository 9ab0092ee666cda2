"""PredRNN: LSTMs over maps in a stack, and one more memory that runs through all of them (Wang et al. 2017)."""

from typing import Any

import torch
from torch import Tensor, nn, sigmoid, tanh

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.conv_recurrence import convolve, time_first
from recurra.kernels.pointwise import Elementwise, PointCall, pointwise
from recurra.layers.base import Recurrent
from recurra.layers.convolutional import check_maps

__all__ = ["PredRNN"]


class PredRNN(Recurrent):
    """A stack of spatio-temporal LSTMs (Wang et al. 2017): c is each layer's own, m runs through all layers.

        g  = tanh(W_g * x + U_g * h + b_g)           i, f = sigmoid(W * x + U * h + b)
        c' = f c + i g
        q  = tanh(W_q * x + V_q * m + b_q)           j, k = sigmoid(W * x + V * m + b)
        m' = k m + j q
        o  = sigmoid(W_o * x + U_o * h + P * [c', m'] + b_o)
        h' = o tanh(R [c', m'])                      R sees one place

    x of a higher layer is h' of the one below. m goes up: layer l takes m' of layer l-1 at the same step, and the
    lowest one that of the highest at the step before, so what the top saw helps the bottom see the next frame.

    channels, hidden, kernel, space   as in `ConvLSTM`, hidden maps for every layer
    layers   how many are stacked

    The state is ``State(m, layers)`` with ``State(h, c)`` for each layer, all ``(B, hidden, *space)``. Weights
    begin Xavier-uniform gate by gate, biases at zero and those of f and k at one.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``, h of the highest layer. Raises
    ConfigError as `ConvLSTM` does.
    """

    def __init__(
        self, channels: int, hidden: int, kernel: int | tuple[int, ...], space: tuple[int, ...], layers: int = 4
    ) -> None:
        super().__init__()
        self.kernel, self.space = check_maps("PredRNN", channels, hidden, kernel, space)
        if not isinstance(layers, int) or isinstance(layers, bool) or layers < 1:
            raise ConfigError(f"PredRNN: expected layers to be a whole number of at least 1, got {layers!r}")
        self.channels, self.hidden = channels, hidden
        self.input_shape, self.output_shape = (channels, *self.space), (hidden, *self.space)
        sizes = [channels] + [hidden] * (layers - 1)
        self.layers: Any = nn.ModuleList(SpatioTemporalLSTM(size, hidden, self.kernel) for size in sizes)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = self.layers[0].b if like is None else like
        m, *rest = [like.new_zeros(batch, self.hidden, *self.space) for _ in range(1 + 2 * len(self.layers))]
        pairs = zip(rest[::2], rest[1::2], strict=True)
        return tree.State(m=m, layers=tuple(tree.State(h=h, c=c) for h, c in pairs))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        return self._advance(self.layers[0].project(x), state)

    def _advance(self, projected: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step through all layers; ``projected`` is the lowest layer's product of x."""
        m = state.m
        after: list[Any] = []
        for i, (layer, branch) in enumerate(zip(self.layers, state.layers, strict=True)):
            branch, m = layer(projected if i == 0 else layer.project(after[-1].h), branch, m)
            after.append(branch)
        return after[-1].h, tree.State(m=m, layers=tuple(after))

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        batch, time = x.shape[:2]
        projected = self.layers[0].project(time_first(x)).unflatten(0, (time, batch))
        if time == 0:
            return x.new_zeros(batch, 0, *self.output_shape) + projected.sum(), state  # type: ignore[misc]
        alive = None if lengths is None else ragged.mask(lengths, time, x.device).unbind(1)
        outputs = []
        for t in range(time):
            y, after = self._advance(projected[t], state)
            state = after if alive is None else tree.where(alive[t], after, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, {self.hidden}, kernel={self.kernel}, space={self.space}, layers={len(self.layers)}"
        )


class SpatioTemporalLSTM(nn.Module):
    """One layer of `PredRNN`: its parameters and its single step. Rows of W: i f g, j k q, o."""

    def __init__(self, channels: int, hidden: int, kernel: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden = hidden

        def parameter(gates: int, channels: int, *sizes: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(gates * hidden, channels, *sizes))

        self.W, self.U = parameter(7, channels, *kernel), parameter(4, hidden, *kernel)  # U: i f g o
        self.V, self.P = parameter(3, hidden, *kernel), parameter(1, 2 * hidden, *kernel)  # V: j k q; P: o
        self.R = parameter(1, 2 * hidden, *[1] * len(kernel))
        self.b = nn.Parameter(torch.empty(7 * hidden))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew: see `PredRNN` for the distributions."""
        for weights in (self.W, self.U, self.V, self.P, self.R):
            for gate in weights.split(self.hidden):
                nn.init.xavier_uniform_(gate)
        self.b.zero_()
        for keeper in ("f", "k"):
            self.b.split(self.hidden)[_WRITE.x_gates.index(keeper)].fill_(1)

    def project(self, x: Tensor) -> Tensor:
        """W * x + b of any number of frames."""
        return convolve(x, self.W, self.b)

    def forward(self, projected: Tensor, state: Any, m: Tensor) -> tuple[Any, Tensor]:
        """One step: the layer's own state and the shared memory after it."""
        *x, x_o = projected.chunk(7, 1)
        *u, u_o = convolve(state.h, self.U).chunk(4, 1)
        v = convolve(m, self.V).chunk(3, 1)
        written = pointwise(PointCall(_WRITE, tuple(x), (*u, *v), (state.c, m)))
        both = torch.cat(tuple(written), 1)
        read = (u_o, convolve(both, self.P), convolve(both, self.R))
        (h,) = pointwise(PointCall(_READ, (x_o,), read, (state.h,)))
        return tree.State(h=h, c=written.c), written.m


class _Write(Elementwise):
    """What a layer writes: into its own memory c by h, into the shared memory m by m."""

    x_gates = u_gates = ("i", "f", "g", "j", "k", "q")
    state = ("c", "m")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        c = sigmoid(x.f + u.f) * s.c + sigmoid(x.i + u.i) * tanh(x.g + u.g)
        m = sigmoid(x.k + u.k) * s.m + sigmoid(x.j + u.j) * tanh(x.q + u.q)
        return tree.State(c=c, m=m)


class _Read(Elementwise):
    """What a layer shows of both memories: o by x, h and P, the value by R."""

    x_gates, u_gates = ("o",), ("o", "p", "r")
    state = ("h",)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return tree.State(h=sigmoid(x.o + u.o + u.p) * tanh(u.r))


_WRITE, _READ = _Write(), _Read()
