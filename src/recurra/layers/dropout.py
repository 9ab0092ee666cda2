"""Dropout for sequences: what is dropped belongs to the state, so that steps equal forward in training too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.errors import ConfigError
from recurra.layers.base import Recurrent
from recurra.layers.gated import Gated
from recurra.layers.noise import check_rate, draw_seed, dropped

__all__ = ["Dropout", "RecurrentDropout", "VariationalDropout", "Zoneout"]


class Dropout(Recurrent):
    """Dropout with new units at every time step (Srivastava et al. 2014).

        y = m_t * x / (1 - p),  m_t = 0 with probability p        training
        y = x                                                    evaluation

    Shapes: x ``(B, T, *F)`` -> y the same, any F.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_rate("Dropout", p)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        seed = draw_seed(batch, torch.empty(0) if like is None else like)
        return tree.State(seed=seed, time=torch.zeros_like(seed))

    def renew(self, state: Any) -> Any:
        return tree.State(seed=draw_seed(len(state.seed), state.seed), time=state.time)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(x.shape[0], x) if state is None else state
        return self._apply_at(x, state.seed, state.time), state._replace(time=state.time + 1)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        steps = torch.arange(x.shape[1], device=x.device)
        y = self._apply_at(x, state.seed, state.time[:, None] + steps)
        passed = x.shape[1] if lengths is None else lengths.to(x.device)
        return y, state._replace(time=state.time + passed)

    def _apply_at(self, x: Tensor, seed: Tensor, step: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        drop = dropped(self.p, seed, step, x.shape[step.dim() :])
        return x.masked_fill(drop, 0) / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class VariationalDropout(Recurrent):
    """Dropout with one choice of units for the whole sequence (Gal and Ghahramani 2016).

        y = m * x / (1 - p),  m = 0 with probability p, drawn once        training
        y = x                                                           evaluation

    The choice is state: a carried state keeps it, `renew` draws another. Shapes: ``(B, T, *F)``, any F.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_rate("VariationalDropout", p)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return tree.State(seed=draw_seed(batch, torch.empty(0) if like is None else like))

    def renew(self, state: Any) -> Any:
        return tree.State(seed=draw_seed(len(state.seed), state.seed))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(x.shape[0], x) if state is None else state
        return (x * _mask(self.p, state.seed, x, x.shape[1:]) if self.training and self.p else x), state

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        if not self.training or not self.p:
            return x, state
        return x * _mask(self.p, state.seed, x, x.shape[2:]).unsqueeze(1), state

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RecurrentDropout(Recurrent):
    """Dropout of the recurrent product of a gated cell, once for the whole sequence (Gal and Ghahramani 2016).

        u = U (m * h) / (1 - p),  m = 0 with probability p, drawn once        training
        u = U h                                                             evaluation

    layer  a `Gated` cell
    """

    def __init__(self, layer: Gated, p: float = 0.25) -> None:
        super().__init__()
        self.layer, self.p = _gated("RecurrentDropout", layer), check_rate("RecurrentDropout", p)
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        inner = self.layer.initial_state(batch, like)
        return tree.State(layer=inner, seed=draw_seed(batch, inner[0] if like is None else like))

    def renew(self, state: Any) -> Any:
        return state._replace(seed=draw_seed(len(state.seed), state.seed))

    def _dropout(self, state: Any) -> Tensor | None:
        h = state.layer[0]
        return _mask(self.p, state.seed, h, h.shape[1:]) if self.training and self.p else None

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(x.shape[0], x) if state is None else state
        y, inner = self.layer.step(x, state.layer, dropout=self._dropout(state))
        return y, state._replace(layer=inner)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        y, inner = self.layer.sequence(x, state.layer, lengths, dropout=self._dropout(state))
        return y, state._replace(layer=inner)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Zoneout(Recurrent):
    """Zoneout of a gated cell: some units keep their old value at each time step (Krueger et al. 2017).

        s' = k_t * s + (1 - k_t) * equation(...),  k_t = 1 with probability p        training
        s' = p * s + (1 - p) * equation(...)                                       evaluation

    layer  a `Gated` cell
    p      one rate for all state tensors, or one by name: ``Zoneout(LSTM(3, 5), {"h": 0.05, "c": 0.5})``
    """

    def __init__(self, layer: Gated, p: float | dict[str, float] = 0.1) -> None:
        super().__init__()
        self.layer = _gated("Zoneout", layer)
        rates = p if isinstance(p, dict) else dict.fromkeys(layer.state, p)
        if set(rates) != set(layer.state):
            raise ConfigError(f"Zoneout: expected a rate for each of {layer.state}, got {tuple(rates)}")
        self.p = {name: check_rate("Zoneout", rates[name]) for name in layer.state}
        self.input_shape, self.output_shape = layer.input_shape, layer.output_shape

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        inner = self.layer.initial_state(batch, like)
        seed = draw_seed(batch, inner[0] if like is None else like)
        return tree.State(layer=inner, seed=seed, time=torch.zeros_like(seed))

    def renew(self, state: Any) -> Any:
        return state._replace(seed=draw_seed(len(state.seed), state.seed))

    def _keep(self, state: Any, step: Tensor) -> Any:
        """Which units keep their values ``(*step.shape, H)``, or a share for all, for each tensor of the state."""
        rates = list(self.p.values())
        h = state.layer[0]
        if not self.training:
            return tree.State(**{k: h.new_full([1] * (step.dim() + 1), p) for k, p in self.p.items()})
        kept = [dropped(p, state.seed + i, step, h.shape[1:]) for i, p in enumerate(rates)]
        return tree.State(**dict(zip(self.p, kept, strict=True)))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.initial_state(x.shape[0], x) if state is None else state
        y, inner = self.layer.step(x, state.layer, keep=self._keep(state, state.time))
        return y, state._replace(layer=inner, time=state.time + 1)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        steps = state.time[:, None] + torch.arange(x.shape[1], device=x.device)
        y, inner = self.layer.sequence(x, state.layer, lengths, keep=self._keep(state, steps))
        passed = x.shape[1] if lengths is None else lengths.to(x.device)
        return y, state._replace(layer=inner, time=state.time + passed)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={p}" for name, p in self.p.items())


def _gated(name: str, layer: Recurrent) -> Gated:
    if not isinstance(layer, Gated):
        raise ConfigError(f"{name}: expected a Gated cell such as LSTM, got {type(layer).__name__}")
    return layer


def _mask(p: float, seed: Tensor, like: Tensor, shape: Sequence[int]) -> Tensor:
    """``(B, *shape)`` of 0 and 1 / (1 - p) in the dtype of ``like``, always the same for a seed ``(B,)``."""
    drop = dropped(p, seed, torch.zeros_like(seed), shape)
    return torch.full(drop.shape, 1 / (1 - p), dtype=like.dtype, device=like.device).masked_fill(drop, 0)
