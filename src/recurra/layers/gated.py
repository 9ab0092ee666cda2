"""Gated cells: a recurrence that is two matrix products and an elementwise equation.

A cell's author writes the equation and names its parts; the loop, its gradients, ragged rows, streaming and gate
traces are derived from it. See `recurra.layers.gru` for a whole cell.
"""

import sys
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.cpu import fused
from recurra.kernels.recurrence import (
    Call,
    Weights,
    advance,
    keep_some,
    multiply,
    named,
    project,
    recurrence,
    split,
)
from recurra.layers import initialise
from recurra.layers.base import Recurrent

__all__ = ["Gated", "locals_of"]


class Gated(Recurrent):
    """A cell given by its equation, with one product W x and one product U h per gate.

    gates      names of the gates; the equation reads ``x.r = (W x + b)_r`` and ``u.r = (U h)_r``
    without_U  gates that have no recurrent product: the equation reads ``x.r`` alone
    without_W  gates that have no product of the input: the equation reads ``u.r`` alone
    late       gates whose U multiplies what the cell's method `inner` gives, instead of h: ``u.n = U_n (r * h)``
    state      names of the state's tensors ``(B, H)``; the first is h, the output and what U multiplies
    vectors    names of parameters ``(H,)`` that the equation uses elementwise, as ``p.c_n``
    normalized whether each gate's W x and U h are layer-normalised (Ba et al. 2016)

    W ``(X*H, F)`` begins Xavier-uniform, U ``(G*H, H)`` orthogonal gate by gate (Saxe et al. 2014), b and the
    vectors at zero; `recurra.initialise` has others. Their rows stand gate by gate in the order of ``x_gates``
    and of ``u_gates``, where late gates come last. ``initial="learned"`` makes the first state a parameter.

    Shapes: x ``(B, T, input_size)`` -> y ``(B, T, hidden_size)``.
    """

    skips_padding = True
    gates: tuple[str, ...]
    state: tuple[str, ...] = ("h",)
    vectors: tuple[str, ...] = ()
    without_U: tuple[str, ...] = ()
    without_W: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    normalized: bool = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        initial: Literal["zeros", "learned"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(type(self).__name__, input_size, hidden_size, initial)
        self._check_names()
        self.x_gates = tuple(name for name in self.gates if name not in self.without_W)
        early = tuple(name for name in self.gates if name not in (*self.without_U, *self.late))
        self.u_gates = early + self.late
        self.input_size, self.hidden_size = input_size, hidden_size
        self.input_shape, self.output_shape = (input_size,), (hidden_size,)

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        x_rows, u_rows = len(self.x_gates) * hidden_size, len(self.u_gates) * hidden_size
        self.W, self.U, self.b = parameter(x_rows, input_size), parameter(u_rows, hidden_size), parameter(x_rows)
        for name in self.vectors:
            self.register_parameter(name, parameter(hidden_size))
        if self.normalized:
            self.gain_x, self.gain_h = parameter(x_rows), parameter(u_rows)
        self.initial: nn.ParameterDict | None = None
        if initial == "learned":
            self.initial = nn.ParameterDict({name: parameter(hidden_size) for name in self.state})
        self.reset_parameters()

    def _check_names(self) -> None:
        """Raise ConfigError if gates, state and vectors cannot be the names of tensors."""
        for kind in ("gates", "state", "vectors"):
            names = getattr(self, kind, ())
            fine = isinstance(names, tuple) and all(isinstance(name, str) and name.isidentifier() for name in names)
            taken = [
                name for name in names if fine and kind == "vectors" and name in [*dir(type(self)), "W", "U", "b"]
            ]
            if not fine or taken or len(set(names)) < len(names) or (kind != "vectors" and not names):
                raise ConfigError(
                    f"{type(self).__name__}.{kind}: expected a tuple of different names such as ('r', 'z'), got "
                    f"{names!r}" + (f"; {taken[0]!r} is taken" if taken else "")
                )
        for kind in ("without_U", "without_W", "late"):
            strange = [name for name in getattr(self, kind) if name not in self.gates]
            if strange or set(self.late) & set(self.without_U) or set(self.without_W) == set(self.gates):
                raise ConfigError(
                    f"{type(self).__name__}.{kind}: expected names of gates {self.gates}, some of them with W, "
                    f"late ones with U, got {getattr(self, kind)!r}"
                )

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        """The elementwise part: gates ``x.*`` and ``u.*``, state ``s.*``, vectors ``p.*`` give the new State."""
        raise TypeError(f"{type(self).__name__} must define equation(self, x, u, s, p)")

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor | tuple[Tensor, ...]:
        """What U multiplies for the late gates: one ``(B, H)`` for all of them, or a tuple with one for each.

        It reads what `equation` reads, of u only the gates that are not late.
        """
        raise TypeError(f"{type(self).__name__} has late gates {self.late} and must define inner(self, x, u, s, p)")

    def reset_parameters(self) -> None:
        """Begin anew: see the class for the distributions."""
        initialise.default_(self)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = self.b if like is None else like
        if self.initial is None:
            return tree.State(**{name: like.new_zeros(batch, self.hidden_size) for name in self.state})
        learned = {name: self.initial[name].to(like.dtype) for name in self.state}
        return tree.State(**{name: value.expand(batch, -1) for name, value in learned.items()})

    def _dtype(self, x: Tensor) -> torch.dtype:
        return self.U.dtype

    def weights(self) -> Weights:
        """The parameters as the value that kernels take."""
        vectors = tuple(getattr(self, name) for name in self.vectors)
        gains = (self.gain_x, self.gain_h) if self.normalized else ()
        return Weights(self.W, self.U, self.b, vectors, gains)

    def step(
        self, x: Tensor, state: Any = None, dropout: Tensor | None = None, keep: Any = None
    ) -> tuple[Tensor, Any]:
        """One time step; ``dropout (B, H)`` and ``keep`` (as state) are what wrappers add to the recurrence."""
        if state is None:
            state = self.initial_state(x.shape[0], x)
        weights = self.weights()
        after = advance(self, project(self, x, weights), state, weights, dropout)
        if keep is not None:
            after = tree.map(keep_some, keep, state, after)
        return after[0], after

    def sequence(
        self,
        x: Tensor,
        state: Any,
        lengths: Tensor | None,
        dropout: Tensor | None = None,
        keep: Any = None,
    ) -> tuple[Tensor, Any]:
        return recurrence(self.call(x, state, lengths, dropout, keep))

    def call(
        self,
        x: Tensor,
        state: Any,
        lengths: Tensor | None,
        dropout: Tensor | None = None,
        keep: Any = None,
        backwards: bool = False,
    ) -> Call:
        """One run of this cell over a batch, as the value that kernels take."""
        return Call(self, x, state, self.weights(), lengths, dropout, keep, backwards)

    def trace(self, x: Tensor, state: Any = None, lengths: Tensor | list[int] | None = None) -> dict[str, Tensor]:
        """Every quantity that the equation names, over time: ``{"r": (B, T, H), "z": ..., "h": ...}``.

        They are the local variables of `equation` itself and the states, zero in the padding.
        """
        x, state, checked = self.prepare(x, state, lengths)
        weights = self.weights()
        projected = project(self, ragged.blank(x, checked), weights)
        steps: list[dict[str, Tensor]] = []
        for t in range(x.shape[1]):
            x_t = split(self.x_gates, projected[:, t])
            u_t = multiply(self, x_t, state, weights, None)
            seen, state = locals_of(self.equation, x_t, u_t, state, named(self.vectors, weights.vectors))
            seen = {name: value.expand_as(state[0]) for name, value in seen.items()}  # also what vectors alone give
            steps.append({**seen, **state._asdict()})
        found = steps[0] if steps else {}
        return {name: ragged.blank(torch.stack([s[name] for s in steps], 1), checked) for name in found}

    def kernel_source(self) -> str:
        """The C++ that this cell's equation becomes. Raises EquationError or BuildError if it cannot."""
        return fused.kernel_of(self).source

    def extra_repr(self) -> str:
        learned = ", initial='learned'" if self.initial is not None else ""
        return f"{self.input_size}, {self.hidden_size}{learned}"


def _check_sizes(name: str, input_size: int, hidden_size: int, initial: str) -> None:
    for label, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"{name}: expected {label} to be a whole number of at least 1, got {size!r}")
    if initial not in ("zeros", "learned"):
        raise ConfigError(f"{name}: expected initial='zeros' or 'learned', got {initial!r}")


def locals_of(function: Callable[..., Any], *args: Any) -> tuple[dict[str, Tensor], Any]:
    """Call a function and keep its local tensors by name; its arguments are left out."""
    code = function.__code__
    seen: dict[str, Tensor] = {}

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            inner = list(frame.f_locals.items())[code.co_argcount :]
            seen.update({name: value for name, value in inner if isinstance(value, Tensor)})

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        result = function(*args)
    finally:
        sys.setprofile(before)
    return seen, result
