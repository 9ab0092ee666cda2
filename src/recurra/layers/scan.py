"""Scan layers: recurrences that are linear in the state, so that all time steps can be computed at once.

A layer's author writes the coefficients as an equation; parallel training, ragged rows and streaming are derived
from it. See `recurra.layers.scans.mingru` for a whole layer. The parallel form is that of Martin and Cundy
("Parallelizing linear recurrent neural nets over sequence length", 2018).
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ConfigError
from recurra.kernels.gated_scan import GatedScan, extend, gated_scan, windows
from recurra.kernels.recurrence import Weights, named, split
from recurra.kernels.scan import ScanCall, scan
from recurra.layers.base import Recurrent

__all__ = ["Scan"]


class Scan(Recurrent):
    """A layer given by the coefficients of a linear recurrence, which must not depend on the state.

        h' = a * h + b          (a, b) = coefficients(gates of x, vectors)          y = readout(h')

    gates     names of the gates; coefficients read ``x.z = (W x + b)_z``
    vectors   names of parameters ``(H,)`` that are used elementwise, as ``p.decay``
    window    time steps that each gate sees: W multiplies this input and the ``window - 1`` before it, oldest first
    numbers   "real" or "complex": of h, a and b. Complex states are kept as real tensors ``(B, H, 2)``
    project   how gates come from x; override it where they are not one product W x + b
    readout   y from h, the gates and ``x.input``, the layer's input itself; h by default

    a and b may also be ``(H,)`` or a number, the same for all steps. Keep abs(a) <= 1, by sigmoid or exp(-exp(nu))
    say: beyond it h may grow without bound, and `recurra.check_stable` on ``trace(x)["a"]`` says where. W
    ``(X*H, window*F)`` begins Xavier-uniform gate by gate, b and the vectors at zero. ``initial="learned"`` makes
    the first state a parameter.

    Shapes: x ``(B, T, input_size)`` -> y ``(B, T, hidden_size)``. The state is ``State(h=...)``, and with a wider
    window ``State(h=..., x=...)``, the last inputs. Raises ConfigError, naming the method, where coefficients or
    readout give what does not fit.
    """

    skips_padding = True
    gates: tuple[str, ...]
    vectors: tuple[str, ...] = ()
    window: int = 1
    numbers: Literal["real", "complex"] = "real"
    projected: tuple[str, ...] | None = None  # gates that come by W; all of them where this is None

    # As a cell of the gated loop (`recurra.kernels.recurrence`): no recurrent products.
    u_gates: tuple[str, ...] = ()
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
        self._check(input_size, hidden_size, initial)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.input_shape, self.output_shape = (input_size,), (hidden_size,)
        self.x_gates = self.gates
        self.state: tuple[str, ...] = ("h",) if type(self).readout is Scan.readout else ("y", "h")
        rows = len(self.gates if self.projected is None else self.projected) * hidden_size

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        self.W = parameter(rows, self.window * input_size) if rows else None
        self.b = parameter(rows) if rows else None
        for name in self.vectors:
            self.register_parameter(name, parameter(hidden_size))
        self.initial = parameter(*self._h_shape()) if initial == "learned" else None
        self.make_parameters(parameter)
        self.reset_parameters()

    def _check(self, input_size: int, hidden_size: int, initial: str) -> None:
        """Raise ConfigError if sizes or names cannot be used."""
        kind = type(self).__name__
        for label, size in (("input_size", input_size), ("hidden_size", hidden_size), ("window", self.window)):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ConfigError(f"{kind}: expected {label} to be a whole number of at least 1, got {size!r}")
        if initial not in ("zeros", "learned") or self.numbers not in ("real", "complex"):
            raise ConfigError(
                f"{kind}: expected initial='zeros' or 'learned' and numbers='real' or 'complex', got {initial!r} "
                f"and {self.numbers!r}"
            )
        for label in ("gates", "vectors"):
            names = getattr(self, label, ())
            fine = isinstance(names, tuple) and all(isinstance(name, str) and name.isidentifier() for name in names)
            taken = [name for name in names if fine and name in [*dir(type(self)), "W", "b", "input", "initial"]]
            if not fine or taken or len(set(names)) < len(names) or (label == "gates" and not names):
                raise ConfigError(
                    f"{kind}.{label}: expected a tuple of different names such as ('z', 'n'), got {names!r}"
                    + (f"; {taken[0]!r} is taken" if taken else "")
                )

    def make_parameters(self, parameter: Any) -> None:
        """Parameters beside W, b and the vectors, each ``self.name = parameter(*shape)``; none by default."""

    def reset_parameters(self) -> None:
        """Begin anew: see the class for the distributions."""
        with torch.no_grad():
            for parameter in (self.b, self.initial, *map(self.get_parameter, self.vectors)):
                if parameter is not None:
                    parameter.zero_()
            if self.W is not None:
                for gate in self.W.split(self.hidden_size):
                    nn.init.xavier_uniform_(gate)

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        """a and b from the gates ``x.* (B, T, H)`` and the vectors ``p.* (H,)``, elementwise if it can be."""
        raise TypeError(f"{type(self).__name__} must define coefficients(self, x, p)")

    def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
        """y ``(B, T, G)`` from the states h ``(B, T, H)``, the gates, ``x.input`` and the vectors."""
        return h

    def project(self, x: Tensor) -> Tensor:
        """All gates side by side, ``(B, T, X*H)``, of x ``(B, T + window - 1, F)``."""
        return linear(windows(x, self.window), self.W, self.b)  # type: ignore[arg-type]

    def _h_shape(self) -> tuple[int, ...]:
        return (self.hidden_size,) if self.numbers == "real" else (self.hidden_size, 2)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        like = next(self.parameters()) if like is None else like
        shape = self._h_shape()
        if self.initial is None:
            h = like.new_zeros(batch, *shape)
        else:
            h = self.initial.to(like.dtype).expand(batch, *shape)
        if self.window == 1:
            return tree.State(h=h)
        return tree.State(h=h, x=like.new_zeros(batch, self.window - 1, self.input_size))

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return gated_scan(GatedScan(self, x, state, lengths))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(len(x), x) if state is None else state
        extended = extend(x.unsqueeze(1), state, self.window)
        gates, vectors, a, b = self.see(extended)
        h = torch.addcmul(b, a, self.begin(state).unsqueeze(1))
        y = self.show(h, gates, vectors).squeeze(1).to(x.dtype)
        values = self.remember(h.squeeze(1), state)
        if self.window > 1:
            values["x"] = extended[:, 1:].to(state.x.dtype)
        return y, tree.State(**values)

    def trace(self, x: Tensor, state: Any = None, lengths: Tensor | list[int] | None = None) -> dict[str, Tensor]:
        """Coefficients, states and outputs over time: ``{"a": (B, T, H), "b": ..., "h": ..., "y": ...}``.

        They are zero in the padding. A constant a is shown at every step; h, a and b are complex where they are so.
        """
        x, state, checked = self.prepare(x, state, lengths)
        gates, vectors, a, b = self.see(extend(ragged.blank(x, checked), state, self.window))
        h, _ = scan(ScanCall(a, b, self.begin(state), checked))
        found = {"a": a.expand_as(b), "b": b, "h": h, "y": self.show(h, gates, vectors)}
        return {name: ragged.blank(value, checked) for name, value in found.items()}

    # What `recurra.kernels.gated_scan` asks a layer for.

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        """The layer as a cell of the gated loop, whose first state is its output."""
        a, b = self.coefficients(x, p)
        h = a * s.h + b
        return tree.State(h=h) if self.state == ("h",) else tree.State(y=self.readout(h, x, p), h=h)

    def inner(self, x: Any, u: Any, s: Any, p: Any) -> Tensor:
        """Nothing: there are no late gates."""
        raise TypeError(f"{type(self).__name__} has no late gates")

    def weights(self) -> Weights | str:
        """The parameters as the value that the gated loop takes, or why it cannot run this layer."""
        if self.numbers == "complex":
            return "the fused kernel computes with real numbers"
        if type(self).project is not Scan.project or self.W is None or self.b is None:
            return f"{type(self).__name__}.project is not one product W x + b"
        vectors = tuple(self.get_parameter(name) for name in self.vectors)
        return Weights(self.W, self.W.new_empty(0, self.hidden_size), self.b, vectors)

    def begin(self, state: Any) -> Tensor:
        """The first state, in float32 at least, and as complex numbers if it is."""
        h = _whole(state.h)
        return h if self.numbers == "real" else torch.view_as_complex(h.contiguous())

    def remember(self, last: Tensor, state: Any) -> dict[str, Tensor]:
        """The last state as the layer's state has it."""
        last = torch.view_as_real(last) if last.is_complex() else last
        return {"h": last.to(state.h.dtype)}

    def see(self, x: Tensor) -> tuple[Any, Any, Tensor, Tensor]:
        """Gates and vectors by name, and the coefficients that they give, checked."""
        product = _whole(self.project(x))  # 16 bits cannot tell 0.999 from 1, the memory of a scan
        seen = x[:, self.window - 1 :]
        gates = named((*self.gates, "input"), (*split(self.gates, product), seen))
        vectors = named(self.vectors, [_whole(self.get_parameter(name)) for name in self.vectors])
        found = self.coefficients(gates, vectors)
        a, b = self._check_coefficients(found, product, (*seen.shape[:2], self.hidden_size))
        return gates, vectors, a, b

    def _check_coefficients(self, found: Any, gates: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """What `coefficients` gave, b at every step; ConfigError if it is not (a, b) of this shape."""
        name = f"{type(self).__name__}.coefficients"
        if (
            not isinstance(found, tuple)
            or [isinstance(value, Tensor | int | float) for value in found] != [True] * 2
        ):
            kinds = [type(value).__name__ for value in found] if isinstance(found, tuple) else type(found).__name__
            raise ConfigError(f"{name}: expected two tensors (a, b), got {kinds}")
        a, b = (v if isinstance(v, Tensor) else gates.new_full(shape[2:], float(v)) for v in found)
        for value in (a, b):
            if tuple(value.shape) != (shape[2:] if value.dim() == 1 else shape):
                raise ConfigError(
                    f"{name}: expected a and b of shape {shape} or {shape[2:]}, got {tuple(a.shape)} and "
                    f"{tuple(b.shape)}"
                )
        if {a.is_complex(), b.is_complex()} != {self.numbers == "complex"}:
            raise ConfigError(
                f"{name}: expected {self.numbers} numbers as the class attribute says, got {a.dtype} and {b.dtype}"
            )
        return a, b.expand(shape)

    def show(self, h: Tensor, gates: Any, vectors: Any) -> Tensor:
        """The outputs of all states, checked."""
        y = self.readout(h, gates, vectors)
        shape = (*h.shape[:2], *(self.output_shape or ()))
        if not isinstance(y, Tensor) or tuple(y.shape) != shape or y.is_complex():
            got = f"{tuple(y.shape)} in {y.dtype}" if isinstance(y, Tensor) else type(y).__name__
            raise ConfigError(f"{type(self).__name__}.readout: expected real y of shape {shape}, got {got}")
        return y

    def extra_repr(self) -> str:
        learned = ", initial='learned'" if self.initial is not None else ""
        return f"{self.input_size}, {self.hidden_size}{learned}"


def _whole(values: Tensor) -> Tensor:
    """In float32 where they are in half precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
