"""The subject: one layer under examination, the inputs it is given, and the comparison of two answers.

Every law says that two ways to compute ``(y, state)`` are the same. An answer holds all that such a way gives,
by name: its values, and under fixed random upstream gradients the gradients of x, of the state before and of
every parameter. So a law is a few lines: two ways and one `Subject.same`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra import tree
from recurra.errors import ContractError
from recurra.layers.base import Recurrent

__all__ = ["EXACT", "ROUNDING", "Answer", "Case", "Subject", "Way", "answer", "build", "upstream", "values"]

Way = Callable[[Tensor, Any], tuple[Tensor, Any]]  # x and the state before give y and the state after
Answer = dict[str, Tensor]

ROUNDING = 1e-10  # what two orders of the same float64 sums may differ by, next to the largest value
EXACT = 0.0
UNSET = 4  # features of one time step where a layer takes any


@dataclass(frozen=True)
class Case:
    """What a layer is called with: x ``(B, T, *F)``, NaN in the padding, the state before, and lengths."""

    x: Tensor
    state: Any
    lengths: Tensor | None = None

    def __str__(self) -> str:
        batch, time = self.x.shape[:2]
        text = f"B={batch}, T={time}"
        if self.lengths is None:
            return text
        shown = self.lengths.tolist()
        return f"{text}, lengths {shown}" if batch <= 7 else f"{text}, lengths {shown[:6]} and more"

    @property
    def padding(self) -> Tensor:
        """``(B, T)`` booleans: true past the end of a row."""
        batch, time = self.x.shape[:2]
        if self.lengths is None:
            return torch.zeros(batch, time, dtype=torch.bool)
        return ~ragged.mask(self.lengths, time)

    def filled(self, value: float) -> "Case":
        """The same case with ``value`` in the padding of x."""
        return Case(_fill(self.x, self.padding, value), self.state, self.lengths)

    def to(self, dtype: torch.dtype) -> "Case":
        """The same case in another floating-point type."""
        convert = lambda leaf: leaf.to(dtype) if leaf.is_floating_point() else leaf
        return Case(self.x.to(dtype), tree.map(convert, self.state), self.lengths)


def _fill(x: Tensor, where: Tensor, value: float) -> Tensor:
    return x.masked_fill(where.to(x.device).view(*where.shape, *[1] * (x.dim() - 2)), value)


def build(make_layer: Callable[[], Recurrent], training: bool, seed: int = 0) -> Recurrent:
    """A new layer in float64. All parameters are moved a little: one that is 0 would hide that nobody reads it."""
    torch.manual_seed(seed)
    layer = make_layer()
    if not isinstance(layer, Recurrent):
        raise ContractError(f"check_layer: expected make_layer() to return a Recurrent, got {type(layer).__name__}")
    layer = layer.double().train(training)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, dtype=parameter.dtype).to(parameter.device))
    return layer


def answer(layer: Recurrent, way: Way, case: Case, fill: float | None = None, only: str = "") -> Answer:
    """Run ``way`` on ``case`` and return its values and gradients by name.

    fill  what stands in the padding of y's upstream gradient, a NaN say; None leaves random numbers
    only  the beginning of the names of the values that gradients come from; "" means y and the last state
    """
    x, state = _trainable(case.x), tree.map(_trainable, case.state)
    found = values(*way(x, state))
    inputs = {"x": x, **_named("state before", state)}
    inputs = {name: leaf for name, leaf in inputs.items() if leaf.requires_grad}
    inputs |= {f"parameter {name}": p for name, p in layer.named_parameters() if p.requires_grad}
    flows = upstream(found, case.padding, fill)
    ends = {name: value for name, value in found.items() if value.requires_grad and name.startswith(only)}
    gradients = _gradients(ends, inputs, flows)
    detached = {name: value.detach() for name, value in found.items()}
    return detached | {f"gradient of {name}": value for name, value in gradients.items()}


def _trainable(leaf: Tensor) -> Tensor:
    """A copy of ``leaf`` that collects a gradient, where its numbers can have one."""
    return leaf.detach().clone().requires_grad_(leaf.is_floating_point())


def values(y: Tensor, last: Any) -> Answer:
    """What a call returned, by name."""
    return {"y": y, **_named("last state", last)}


def _named(prefix: str, state: Any) -> Answer:
    return {f"{prefix} {k}": v for k, v in zip(tree.names(state), tree.leaves(state), strict=True)}


def upstream(found: Answer, padding: Tensor, fill: float | None) -> Answer:
    """A random upstream gradient of each real value, the same for the same shapes."""
    generator = torch.Generator().manual_seed(1)
    flows = {}
    for name, value in found.items():
        flow = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if name == "y" and fill is not None:
            flow = _fill(flow, padding, fill)
        if value.is_floating_point():
            flows[name] = flow.to(value)
    return flows


def _gradients(ends: Answer, inputs: Answer, flows: Answer) -> Answer:
    if not ends or not inputs:
        return {name: torch.zeros_like(value) for name, value in inputs.items()}
    found = torch.autograd.grad(
        list(ends.values()), list(inputs.values()), [flows[name] for name in ends], allow_unused=True
    )
    both = zip(inputs.items(), found, strict=True)
    return {name: torch.zeros_like(v) if g is None else g for (name, v), g in both}


class Subject:
    """One layer in one mode. ``trying`` says what is being tried, ``largest`` is the largest difference so far."""

    def __init__(
        self, make_layer: Callable[[], Recurrent], features: tuple[int, ...] | None, training: bool
    ) -> None:
        self.make_layer, self.training = make_layer, training
        self.trying, self.largest = "building the layer", 0.0
        self.layer = build(make_layer, training)
        self.features = self.layer.input_shape or features or (UNSET,)
        parameter = next(self.layer.parameters(), None)
        self.device = torch.device("cpu") if parameter is None else parameter.device
        self.generator = torch.Generator().manual_seed(2)

    def random(self, batch: int, time: int) -> Tensor:
        """x ``(B, T, *F)`` of standard normal numbers."""
        shape = (batch, time, *self.features)
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.device)

    def case(self, batch: int, time: int, lengths: list[int] | None = None) -> Case:
        """A case that begins from a state with a past: one that is all zeros would hide a state nobody reads."""
        self.trying = f"B={batch}, T={time}"
        with torch.no_grad():
            _, state = self.layer(self.random(batch, 3))
        ends = None if lengths is None else torch.tensor(lengths, dtype=torch.int64)
        case = Case(self.random(batch, time), tree.map(torch.clone, state), ends).filled(float("nan"))
        self.trying = str(case)
        return case

    def forward(self, lengths: Tensor | None = None, layer: Recurrent | None = None) -> Way:
        """The way of a plain call."""
        layer = self.layer if layer is None else layer
        return lambda x, state: layer(x, state, None if lengths is None else lengths.clone())

    def answer(self, way: Way, case: Case, fill: float | None = None) -> Answer:
        """The values and gradients of ``way``; see the function `answer`."""
        return answer(self.layer, way, case, fill)

    def same(self, got: Answer, want: Answer, tolerance: float = ROUNDING) -> None:
        """Raise ContractError unless both answers hold the same, each up to ``tolerance``."""
        if list(got) != list(want):
            raise ContractError(f"expected {', '.join(want)}; got {', '.join(got)}")
        wrong = {}
        for name, value in want.items():
            size, text = _difference(got[name], value)
            self.largest = max(self.largest, size)
            if size > tolerance:
                wrong[name] = (size, f"{name}: {text}")
        if wrong:
            # Wrong values explain wrong gradients, so the worst of them goes first.
            leading = [v for k, v in wrong.items() if not k.startswith("gradient")] or list(wrong.values())
            others = f" ({len(wrong)} of {len(want)} values and gradients differ)" if len(wrong) > 1 else ""
            raise ContractError(f"{max(leading)[1]}, tolerated {tolerance:.0e}{others}")

    def equal(self, name: str, got: Tensor, want: Tensor, tolerance: float = ROUNDING) -> None:
        """`same` for one tensor."""
        self.same({name: got}, {name: want}, tolerance)

    def require(self, kept: bool, otherwise: str) -> None:
        """Raise ContractError with the reason ``otherwise`` unless ``kept``."""
        if not kept:
            raise ContractError(otherwise)

    def copy(self, dtype: torch.dtype) -> Recurrent:
        """The layer with its parameters in another floating-point type."""
        return copy.deepcopy(self.layer).to(dtype)


def _difference(got: Tensor, want: Tensor) -> tuple[float, str]:
    """The largest difference next to the largest expected value (1 at least), and where it stands."""
    got, want = got.detach(), want.detach()
    if got.shape != want.shape:
        return float("inf"), f"expected shape {tuple(want.shape)}, got {tuple(got.shape)}"
    if not want.numel():
        return 0.0, ""
    difference = (got.double() - want.double()).abs().nan_to_num(nan=float("inf"))
    worst = int(difference.argmax())
    size = float(difference.flatten()[worst]) / max(1.0, float(want.abs().max()))
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), got.shape)]
    a, b = got.flatten()[worst].item(), want.flatten()[worst].item()
    return size, f"largest difference {size:.3g} at {place} ({a:.6g} instead of {b:.6g})"
