"""What is forecast of a series: its values, their logarithms, or their returns.

none       z_t = y_t
log        z_t = ln(1 + y_t)                    answers are exp(z) - 1; quantiles stay quantiles, a mean becomes
                                                the value whose logarithm is the mean: for most shapes the median
returns    z_t = 100 ln(y_t / y_s)              s: when y was last seen before t. Answers are returns, in per cent:
                                                a price is a sum of returns, and nearly all of it is yesterday's
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from recurra.errors import DataError

__all__ = ["Change", "change", "restore"]

Change = Literal["none", "log", "returns"]
Numbers = NDArray[np.float64]


def change(kind: Change, y: Numbers, where: str, before: float = np.nan) -> Numbers:
    """Values ``(T,)``, NaN where they are missing, as they are forecast; ``before`` is the last one seen earlier.

    Raises DataError, with the name of the series, for values that have no logarithm.
    """
    if kind == "none":
        return y
    least, what = (-1.0, "above -1") if kind == "log" else (0.0, "above 0")
    if np.any(y <= least):
        place = int(np.argmax(y <= least))
        raise DataError(
            f"{where}: data.change = {kind!r} needs values {what}, got {y[place]:g} in row {place}; "
            "use data.change = 'none', or mend the row"
        )
    return np.log1p(y) if kind == "log" else _returns(y, before)


def _returns(prices: Numbers, before: float) -> Numbers:
    found = np.full(len(prices), np.nan)
    seen = np.flatnonzero(~np.isnan(prices))
    if not np.isnan(before):
        found[seen[:1]] = 100 * np.log(prices[seen[:1]] / before)
    found[seen[1:]] = 100 * np.diff(np.log(prices[seen]))
    return found


def restore(kind: Change, z: Tensor) -> Tensor:
    """Forecasts in the units of answers."""
    return z.expm1() if kind == "log" else z
