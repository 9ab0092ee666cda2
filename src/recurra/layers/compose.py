"""Layers made of layers: deep, residual and bidirectional networks, of any kinds mixed."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra.errors import ConfigError, ShapeError
from recurra.kernels.recurrence import Pair, recurrences
from recurra.layers.base import Recurrent
from recurra.layers.gated import Gated

__all__ = ["Bidirectional", "Residual", "Stack"]

MERGES = ("concat", "sum", "mean")


def _check_layers(name: str, layers: tuple[Any, ...]) -> None:
    for layer in layers:
        if not isinstance(layer, Recurrent):
            raise ConfigError(
                f"{name}: expected recurrent layers, got {type(layer).__name__}; "
                "a linear layer is recurra.Readout, dropout is recurra.Dropout"
            )


class Stack(Recurrent):
    """A deep network: each layer reads the outputs of the one below (Graves et al. 2013).

        y_t = layer_n(... layer_2(layer_1(x_t)))

    ``Stack(LSTM(64, 128), Dropout(0.2), Residual(GRU(128, 128)), Readout(128, 10))``; the state is the tuple of
    the layers' states. Raises ShapeError if neighbours do not fit.
    """

    def __init__(self, *layers: Recurrent) -> None:
        super().__init__()
        _check_layers("Stack", layers)
        shape = None
        for i, layer in enumerate(layers):
            if shape is not None and layer.input_shape is not None and layer.input_shape != shape:
                raise ShapeError(
                    f"Stack: layer {i} ({type(layer).__name__}) expects {layer.input_shape} features, "
                    f"the layer below gives {shape}"
                )
            shape = layer.output_shape if layer.output_shape is not None else shape
        self.layers = nn.ModuleList(layers)
        self.input_shape = next((x.input_shape for x in layers if x.input_shape is not None), None)
        self.output_shape = shape
        self.skips_padding = bool(layers)  # as each layer does for itself
        self.causal = all(layer.causal for layer in layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return tuple(layer.initial_state(batch, like) for layer in self)

    def renew(self, state: Any) -> Any:
        return tuple(layer.renew(branch) for layer, branch in zip(self, state, strict=True))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if not self.causal:
            raise self.refuse_step()
        state = self.initial_state(x.shape[0], x) if state is None else state
        after = []
        for layer, branch in zip(self, state, strict=True):
            x, branch = layer.step(x, branch)
            after.append(branch)
        return x, tuple(after)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        after = []
        for layer, branch in zip(self, state, strict=True):
            x, branch = layer(x, branch, lengths)
            after.append(branch)
        return x, tuple(after)


class Residual(Recurrent):
    """A layer with a way past it, so that gradients reach the layers below unhindered (He et al. 2016).

    y = x + layer(x)                 input and output of the same size
    """

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        _check_layers("Residual", (layer,))
        if layer.input_shape != layer.output_shape:
            raise ShapeError(
                f"Residual: expected a layer with equal input and output, got {layer.input_shape} -> "
                f"{layer.output_shape}"
            )
        self.layer = layer
        self.input_shape, self.output_shape, self.causal = layer.input_shape, layer.output_shape, layer.causal

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return self.layer.initial_state(batch, like)

    def renew(self, state: Any) -> Any:
        return self.layer.renew(state)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layer.step(x, state)
        return x + y, state

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        y, state = self.layer(x, state, lengths)
        return x + y, state


class Bidirectional(Recurrent):
    """Two layers over the same sequence, one from each end (Schuster and Paliwal 1997).

        y_t = merge(ahead(x)_t, back(reversed x)_t)            concat, sum or mean

    Each row is reversed within its own length. The state is ``(state of ahead, state of back)``; the second has
    read the row from its end to its beginning. The layer needs the future: ``causal`` is False, `step` raises
    NotCausalError.
    """

    causal = False
    skips_padding = True  # as both directions do for themselves

    def __init__(
        self,
        ahead: Recurrent,
        back: Recurrent,
        merge: Literal["concat", "sum", "mean"] = "concat",
    ) -> None:
        super().__init__()
        _check_layers("Bidirectional", (ahead, back))
        _check_pair(ahead, back, merge)
        self.ahead, self.back, self.merge = ahead, back, merge
        self.input_shape, self.output_shape = ahead.input_shape, ahead.output_shape
        if merge == "concat" and ahead.output_shape and back.output_shape:
            self.output_shape = (ahead.output_shape[0] + back.output_shape[0], *ahead.output_shape[1:])

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return (self.ahead.initial_state(batch, like), self.back.initial_state(batch, like))

    def renew(self, state: Any) -> Any:
        return (self.ahead.renew(state[0]), self.back.renew(state[1]))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        raise self.refuse_step()

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        (y, ahead), (z, back) = self._directions(x, state, lengths)
        if self.merge == "concat":
            return torch.cat([y, z], 2), (ahead, back)
        return (y + z) * (0.5 if self.merge == "mean" else 1.0), (ahead, back)

    def _directions(self, x: Tensor, state: Any, lengths: Tensor | None) -> Any:
        """Both outputs, each at the place of its input, and both states; two cells run at the same time."""
        ahead, back = self.ahead, self.back
        if isinstance(ahead, Gated) and isinstance(back, Gated) and not (_hooked(ahead) or _hooked(back)):
            second = back.call(x, state[1], lengths, backwards=True)
            return recurrences(Pair(ahead.call(x, state[0], lengths), second))
        z, last = back(ragged.reverse(x, lengths), state[1], lengths)
        return ahead(x, state[0], lengths), (ragged.reverse(z, lengths), last)

    def extra_repr(self) -> str:
        return f"merge={self.merge!r}"


def _hooked(layer: Recurrent) -> bool:
    """Whether somebody wants to see the calls of a layer."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks)


def _check_pair(ahead: Recurrent, back: Recurrent, merge: str) -> None:
    if merge not in MERGES:
        raise ConfigError(f"Bidirectional: expected merge to be one of {MERGES}, got {merge!r}")
    if ahead is back:
        raise ConfigError(
            "Bidirectional: both directions are the same object and would share their parameters; "
            "pass two layers: Bidirectional(LSTM(3, 5), LSTM(3, 5))"
        )
    if ahead.input_shape != back.input_shape:
        raise ShapeError(
            f"Bidirectional: both directions read the same x, got input {ahead.input_shape} and {back.input_shape}"
        )
    if merge != "concat" and ahead.output_shape != back.output_shape:
        raise ShapeError(
            f"Bidirectional: merge={merge!r} needs equal outputs, got {ahead.output_shape} and {back.output_shape}"
        )
