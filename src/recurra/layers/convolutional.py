"""Gated cells over maps: a recurrence that is two convolutions and an elementwise equation (Shi et al. 2015).

As `Gated`, with frames in place of vectors: a cell's author writes the equation and names its parts. See
`recurra.layers.conv_gru` for a whole cell.
"""

from typing import Any

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.conv_recurrence import ConvCall, advance, conv_recurrence, multiply, project
from recurra.kernels.recurrence import Weights, named, split
from recurra.layers.base import Recurrent
from recurra.layers.gated import locals_of

__all__ = ["Convolutional", "check_maps"]


class Convolutional(Recurrent):
    """A cell over maps, given by its equation, with one convolution of x and one of h per gate.

    gates       names of the gates; the equation reads ``x.i = (W * x + b)_i`` and ``u.i = (U * h)_i``
    state       names of the state's tensors ``(B, H, *space)``; the first is h, the output and what U sees
    vectors     names of parameters that the equation uses elementwise, as ``p.c_n``: one number a channel
    places      those of them that have a number for each place as well, ``(H, *space)``
    normalized  whether each gate's W * x and U * h are layer-normalised (Ba et al. 2016)

    channels    maps of one input frame
    hidden      maps of the state, H
    kernel      odd size of both convolutions, or one for each dimension; what h sees grows by ``kernel // 2``
                places a step in each direction, so take it as large as things move between frames
    space       size of a map: ``(N,)`` for one dimension, ``(M, N)`` for rows and columns of a picture

    Maps keep their size; beyond the edges is zero. W ``(X*H, channels, *kernel)`` begins Xavier-uniform and U
    ``(G*H, H, *kernel)`` with orthogonal filters, each gate by itself; b and the vectors at zero, the forget gate's
    b at ``forget_bias``, an attribute. Scales of normalised products begin at one, a number a channel.

    Shapes: x ``(B, T, channels, *space)`` -> y ``(B, T, hidden, *space)``. Raises ConfigError for sizes that are
    not whole numbers of at least 1, even kernels, and other than one or two dimensions.
    """

    skips_padding = True
    gates: tuple[str, ...]
    state: tuple[str, ...] = ("h",)
    vectors: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    normalized: bool = False
    forget_bias: float = (
        1.0  # a map that is kept from the first step learns long memories sooner (Gers et al. 2000)
    )
    late: tuple[str, ...] = ()  # as a cell of `recurra.kernels.recurrence`: no second stage

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: int | tuple[int, ...],
        space: tuple[int, ...],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.space = check_maps(type(self).__name__, channels, hidden, kernel, space)
        self.channels, self.hidden = channels, hidden
        self.x_gates = self.u_gates = self.gates
        self.input_shape, self.output_shape = (channels, *self.space), (hidden, *self.space)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        rows = len(self.gates) * hidden
        self.W, self.U = parameter(rows, channels, *self.kernel), parameter(rows, hidden, *self.kernel)
        self.b = parameter(rows)
        for name in self.vectors:
            shape = self.space if name in self.places else [1] * len(self.space)
            self.register_parameter(name, parameter(hidden, *shape))
        if self.normalized:
            self.gain_x, self.gain_h = parameter(rows), parameter(rows)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew: see the class for the distributions."""
        for gate in self.W.split(self.hidden):
            nn.init.xavier_uniform_(gate)
        for gate in self.U.split(self.hidden):
            nn.init.orthogonal_(gate)
        for name in ("b", *self.vectors):
            self.get_parameter(name).zero_()
        if "f" in self.gates:
            self.b.split(self.hidden)[self.gates.index("f")].fill_(self.forget_bias)
        if self.normalized:
            self.gain_x.fill_(1)
            self.gain_h.fill_(1)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        """The elementwise part: gates ``x.*`` and ``u.*``, state ``s.*``, vectors ``p.*`` give the new State."""
        raise TypeError(f"{type(self).__name__} must define equation(self, x, u, s, p)")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        """Nothing: there are no late gates."""
        raise TypeError(f"{type(self).__name__} has no late gates")

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = self.b if like is None else like
        shape = (batch, self.hidden, *self.space)
        return tree.State(**{name: like.new_zeros(shape) for name in self.state})

    def weights(self) -> Weights:
        """The parameters as the value that kernels take."""
        vectors = tuple(self.get_parameter(name) for name in self.vectors)
        gains = (self.gain_x, self.gain_h) if self.normalized else ()
        return Weights(self.W, self.U, self.b, vectors, gains)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        weights = self.weights()
        after = advance(self, project(self, x, weights), state, weights)
        return after[0], after

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return conv_recurrence(ConvCall(self, x, state, self.weights(), lengths))

    def trace(self, x: Tensor, state: Any = None, lengths: Tensor | list[int] | None = None) -> dict[str, Tensor]:
        """Every quantity that the equation names, over time: ``{"i": (B, T, H, *space), "f": ..., "h": ...}``.

        They are the local variables of `equation` itself and the states, zero in the padding.
        """
        x, state, checked = self.prepare(x, state, lengths)
        weights, steps = self.weights(), []
        p = named(self.vectors, weights.vectors)
        for x_t in ragged.blank(x, checked).unbind(1):
            gates = split(self.gates, project(self, x_t, weights), 1)
            seen, state = locals_of(self.equation, gates, multiply(self, state, weights), state, p)
            steps.append({**seen, **state._asdict()})
        found = steps[0] if steps else {}
        return {name: ragged.blank(torch.stack([s[name] for s in steps], 1), checked) for name in found}

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.hidden}, kernel={self.kernel}, space={self.space}"


def check_maps(
    name: str, channels: int, hidden: int, kernel: int | tuple[int, ...], space: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The kernel and the space as tuples of one or two sizes, or ConfigError saying what is wrong."""
    if not isinstance(space, tuple | list) or len(space) not in (1, 2):
        raise ConfigError(f"{name}: expected space as a tuple (N,) or (M, N), the size of a map, got {space!r}")
    sizes = [kernel] * len(space) if isinstance(kernel, int) else kernel
    if not isinstance(sizes, tuple | list) or len(sizes) != len(space):
        raise ConfigError(
            f"{name}: expected one kernel size, or one for each of {len(space)} dimensions, got {kernel!r}"
        )
    wholes = [("channels", channels), ("hidden", hidden)]
    wholes += [("kernel", size) for size in sizes] + [("space", size) for size in space]
    for label, size in wholes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"{name}: expected {label} of whole numbers of at least 1, got {size!r}")
        if label == "kernel" and size % 2 == 0:
            raise ConfigError(
                f"{name}: expected an odd kernel, so that maps keep their size, got {size}; take {size + 1}"
            )
    return tuple(sizes), tuple(space)
