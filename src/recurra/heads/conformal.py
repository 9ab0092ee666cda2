"""Intervals that hold what they promise: quantiles moved by what they missed on held-out windows.

Conformalized quantile regression (Romano et al. 2019), with each quantile calibrated for itself, as in the second
theorem of the paper.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.heads.quantile_function import check_levels

__all__ = ["Conformal", "Kind", "fit_conformal", "least_windows", "misses", "moves"]

Kind = Literal["shift", "stretch"]
ROUNDED = 1e-7  # a level such as 0.975 in float32 is off by so much
SMALLEST = 1e-12  # spread of a forecast that claims to be certain


@dataclass(frozen=True)
class Conformal:
    """How far each quantile of each step moves.

        shift    v_hq + move_hq                               in units of the target
        stretch  v_hq + move_hq (v_h,last - v_h,first)        in units of the forecast's own spread

    levels  (Q,)    of the quantiles
    move    (H, Q)  for step h and level q; or (B, H, Q), other ones for each forecast
    kind    "shift" or "stretch"; the second keeps apart calm and wild days, whose spreads differ
    """

    levels: Tensor
    move: Tensor
    kind: Kind

    def __call__(self, quantiles: Tensor) -> Tensor:
        """Calibrated quantiles ``(B, H, Q)``. Raises ShapeError if the steps or levels are not those.

        Where they cross, the outer one follows the inner one: no interval gets narrower by that.
        """
        if quantiles.dim() != 3 or quantiles.shape[1:] != self.move.shape[-2:]:
            expected = ", ".join(map(str, self.move.shape[-2:]))
            raise ShapeError(f"conformal: expected quantiles (B, {expected}), got {tuple(quantiles.shape)}")
        moved = quantiles + self.move.to(quantiles) * _unit(quantiles, self.kind)
        middle = int((self.levels - 0.5).abs().argmin())
        lower = moved[..., : middle + 1].flip(-1).cummin(-1).values.flip(-1)
        return torch.cat([lower[..., :-1], moved[..., middle:].cummax(-1).values], -1)

    def by(self, move: Tensor) -> "Conformal":
        """The same with other moves ``(B, H, Q)``; where one is NaN, this one's stays."""
        return replace(self, move=torch.where(move.isnan(), self.move, move))


def least_windows(levels: Tensor) -> int:
    """How many windows with a known target each step needs: so many that the outermost level is not beyond all.

    The smallest n with ceil((n + 1) q) <= n, for the level q furthest from 1/2, or 1 - q below 1/2.
    """
    outermost = float(torch.maximum(levels, 1 - levels).max())
    return math.ceil(outermost / (1 - outermost + ROUNDED))


def fit_conformal(target: Tensor, quantiles: Tensor, levels: Tensor, kind: Kind = "shift") -> Conformal:
    """Learn from held-out windows how far quantiles must move.

        level q > 1/2   move = the ceil((n + 1) q)-th smallest of the n errors (y - v) / unit
        level q < 1/2   the same from above: the ceil((n + 1)(1 - q))-th largest
        level 1/2       the median of the errors

    A new target, if its window is exchangeable with the n, lies below the moved quantile of an upper level with a
    probability of q at least, and of at most q + 1 / (n + 1) if errors do not tie: so an interval from 0.1 to 0.9
    holds 80 % or more, whatever the network has learned. Windows of a series are not quite exchangeable, above all
    if they overlap or the world changes: evaluate says how far that goes.

    target     (N, H)     of windows that training has not seen; NaN where missing
    quantiles  (N, H, Q)  the forecasts of them
    levels     (Q,)

    Raises DataError if a step has fewer than `least_windows` known targets.
    """
    if kind not in ("shift", "stretch"):
        raise ConfigError(f"conformal: expected the kind 'shift' or 'stretch', got {kind!r}")
    checked = check_levels("conformal", levels, 1)
    if quantiles.shape != (*target.shape, len(checked)) or target.dim() != 2:
        raise ShapeError(
            f"conformal: expected target (N, H) and quantiles (N, H, {len(checked)}), got {tuple(target.shape)} "
            f"and {tuple(quantiles.shape)}"
        )
    known = (~target.isnan()).sum(0)
    need, fewest = least_windows(checked), int(known.min()) if target.shape[1] else 0
    if fewest < need:
        raise DataError(
            f"conformal: the outermost level needs {need} held-out windows with a known target for each step, "
            f"got {fewest}; hold out more, or ask for narrower intervals"
        )
    return Conformal(checked, moves(misses(target, quantiles, kind), checked), kind)


def misses(target: Tensor, quantiles: Tensor, kind: Kind) -> Tensor:
    """How far each quantile was below its target, ``(N, H, Q)`` in the units of moves; see `fit_conformal`."""
    exact = quantiles.double()
    return (target.double()[..., None] - exact) / _unit(exact, kind)


def moves(errors: Tensor, levels: Tensor) -> Tensor:
    """How far quantiles must move ``(..., Q)``, by the errors ``(N, ..., Q)`` of N windows.

    NaN for a level that needs more known errors than there are.
    """
    known = (~errors[..., 0].isnan()).sum(0)
    found = [_at(errors[..., q], known, float(level)) for q, level in enumerate(levels)]
    need = torch.tensor([least_windows(level) for level in levels])
    return torch.stack(found, -1).masked_fill(known[..., None] < need, torch.nan)


def _unit(quantiles: Tensor, kind: Kind) -> Tensor:
    """What a move is measured in, ``(N, H, 1)``."""
    if kind == "shift":
        return quantiles.new_ones(1, 1, 1)
    return (quantiles[..., -1:] - quantiles[..., :1]).clamp(min=SMALLEST)


def _at(errors: Tensor, known: Tensor, level: float) -> Tensor:
    """The move ``(...)`` for one level, from errors ``(N, ...)``."""
    if math.isclose(level, 0.5):
        return errors.nanquantile(0.5, 0)
    if level < 0.5:
        return -_at(-errors, known, 1 - level)
    ordered = errors.nan_to_num(nan=torch.inf).sort(0).values  # missing ones come last
    place = (((known + 1) * level - ROUNDED * known).ceil().long() - 1).clamp(0, len(errors) - 1)
    return ordered.gather(0, place[None])[0]
