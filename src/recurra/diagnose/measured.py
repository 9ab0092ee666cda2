"""What a measurement of gradients found, as plain values."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.diagnose.jacobian import Growth

__all__ = ["SHARE", "Fault", "Gradients", "LayerGradients", "by_lag"]

SHARE = 0.01  # an input whose influence on the last output is under this share of the largest is forgotten


@dataclass(frozen=True)
class Fault:
    """Where a number first stopped being finite.

    what        "input" or "state" on the way forward, "gradient" on the way back
    place       of the layer in the network; "" is the network itself
    kind        of layer
    step        counted from 1, the first one met: from the beginning, for gradients from the end
    steps       of the sequence
    parameters  whose gradients are not finite either, those of the layer itself first
    """

    what: str
    place: str
    kind: str
    step: int
    steps: int
    parameters: tuple[str, ...] = ()

    def __str__(self) -> str:
        layer = f"{self.place} ({self.kind})" if self.place else self.kind
        met = "from the end" if self.what == "gradient" else "from the beginning"
        more = f"; gradients that are not finite: {_few(self.parameters)}" if self.parameters else ""
        return f"the {self.what} of {layer} is not finite, first at step {self.step} of {self.steps}, {met}{more}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


@dataclass(frozen=True)
class LayerGradients:
    """One recurrent layer, seen. Lags count steps back from the last valid one of each row.

    place           where it stands in the network, such as "layers.1"; "" is the network itself
    kind            of layer
    units           real numbers of its state
    rows            (B, T) norm of dL/ds_t of the whole state, by time; NaN past the end of a row
    tensors         the same for each tensor of the state, such as "h" and "c", averaged over rows, (T,) by lag
    growth          of a small change of the state, for some rows; empty if there is no single step
    saturation      share of saturated values by gate; None for a layer that has no gates to look at
    parameters      norm of the gradient of the layer's own parameters
    cell            facts about the cell that advice needs, such as its gates and its bias of f
    """

    place: str
    kind: str
    units: int
    rows: Tensor
    tensors: dict[str, Tensor]
    growth: tuple[Growth, ...]
    saturation: dict[str, float] | None
    parameters: float
    cell: dict[str, Any]

    @property
    def title(self) -> str:
        """The layer in words: its place and its kind."""
        return f"{self.place} {self.kind}".strip()

    @property
    def steps(self) -> int:
        """Time steps of the longest row."""
        return self.rows.shape[1]

    @property
    def norm(self) -> Tensor:
        """``(T,)`` norm of dL/ds_t at each time step, the mean over the rows that reach it."""
        return self.rows.nanmean(0)

    @property
    def norm_by_lag(self) -> Tensor:
        """``(T,)`` the same by distance from the end of each row: 0 is the last valid step."""
        return by_lag(self.rows).nanmean(0)

    @property
    def lags(self) -> Tensor:
        """``(P,)`` distances at which singular values are known, of the longest row."""
        return max((g.lags for g in self.growth), key=len, default=torch.zeros(0, dtype=torch.int64))

    @property
    def singular(self) -> Tensor:
        """``(P, 3)`` natural logarithms of the largest, median and smallest singular value of ds_T / ds_{T-lag}.

        Of several rows the mean, over those that have the same distances as the longest one.
        """
        same = [g.singular for g in self.growth if torch.equal(g.lags, self.lags)]
        return torch.stack(same).mean(0) if same else torch.zeros(0, 3, dtype=torch.float64)

    @property
    def whole(self) -> bool:
        """Whether all directions of the state were followed: else median and smallest are not known."""
        return all(g.directions == g.size for g in self.growth)

    @property
    def lyapunov(self) -> float:
        """The largest Lyapunov exponent in nats a step, the mean over rows."""
        found = [g.exponent for g in self.growth if not math.isnan(g.exponent)]
        return sum(found) / len(found) if found else math.nan

    @property
    def factor(self) -> float:
        """By what a small change of the state is multiplied in one step, in the long run: exp(lyapunov)."""
        return math.exp(min(self.lyapunov, 700.0))

    @property
    def influence(self) -> Tensor:
        """``(T,)`` |dy_T / dx_{T-lag}| beside its largest, the mean over rows."""
        found = [(g.influence - g.influence.max()).exp() for g in self.growth if len(g.influence)]
        longest = max(map(len, found), default=0)
        rows = [torch.nn.functional.pad(f, (0, longest - len(f)), value=math.nan) for f in found]
        return torch.stack(rows).nanmean(0) if rows else torch.zeros(0, dtype=torch.float64)

    @property
    def horizon(self) -> int | None:
        """Steps after which an input has less than 1 % of the largest influence; None: not within these steps."""
        influence = self.influence
        heard = (influence >= SHARE).nonzero()
        if not len(heard) or int(heard[-1]) + 1 == len(influence):
            return None
        return int(heard[-1]) + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "place": self.place,
            "kind": self.kind,
            "units": self.units,
            "steps": self.steps,
            "lyapunov": _plain(self.lyapunov),
            "factor_per_step": _plain(self.factor),
            "horizon": self.horizon,
            "saturation": self.saturation,
            "parameter_gradient_norm": _plain(self.parameters),
            "gradient_norm": [_plain(v) for v in self.norm.tolist()],
            "gradient_norm_by_lag": [_plain(v) for v in self.norm_by_lag.tolist()],
            "influence_by_lag": [_plain(v) for v in self.influence.tolist()],
            "lags": self.lags.tolist(),
            "log_singular_values": [[_plain(v) for v in row] for row in self.singular.tolist()],
            "whole_jacobian": self.whole,
        }


def by_lag(rows: Tensor) -> Tensor:
    """``(B, T)`` with NaN past the end of each row, turned so that the last valid step comes first."""
    alive = ~rows.isnan()
    steps, ends = torch.arange(rows.shape[1]), _ends(alive)
    index = (ends[:, None] - 1 - steps).clamp(min=0)
    return rows.gather(1, index).masked_fill(steps >= ends[:, None], math.nan)


def _ends(alive: Tensor) -> Tensor:
    steps = torch.arange(1, alive.shape[1] + 1)
    return (alive * steps).amax(1) if alive.shape[1] else alive.sum(1)


def _plain(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Gradients:
    """All recurrent layers of a network, from the bottom up.

    layers   in the order in which they were called
    loss     what was differentiated, in words
    norm     of the gradient of all parameters, the mean over the losses
    fault    where a number first stopped being finite, or None
    missing  layers that could not be seen, with the reason
    """

    layers: tuple[LayerGradients, ...]
    loss: str
    norm: float
    fault: Fault | None
    missing: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "loss": self.loss,
            "parameter_gradient_norm": _plain(self.norm),
            "fault": None if self.fault is None else str(self.fault),
            "layers": [layer.to_dict() for layer in self.layers],
            "missing": self.missing,
        }
