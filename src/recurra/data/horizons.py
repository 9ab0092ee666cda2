"""What a network that forecasts reads: windows of history with the horizon that follows each of them."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Window"]


class Window(NamedTuple):
    """A batch of histories, right padded, and what came after them, in the units of the scaled series.

    y         (B, L)     the history; 0 where it is missing and in the padding
    seen      (B, L)     true where y was measured
    past      (B, L, P)  covariates that are known for the history only
    known     (B, L, K)  covariates that are known ahead, the calendar among them
    lengths   (B,)       steps of each history
    target    (B, H)     the horizon; NaN where it is missing or not known
    ahead     (B, H, K)  covariates that are known ahead, over the horizon
    static    (B, S)     covariates of the series
    series    (B,)       number of the series; 0: one that training did not know
    location  (B,)       what was subtracted from the series
    scale     (B,)       and by what it was divided then
    """

    y: Tensor
    seen: Tensor
    past: Tensor
    known: Tensor
    lengths: Tensor
    target: Tensor
    ahead: Tensor
    static: Tensor
    series: Tensor
    location: Tensor
    scale: Tensor
