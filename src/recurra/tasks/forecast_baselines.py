"""All baselines of forecasting, by name."""

from recurra.tasks.baseline import Baseline, Drift, Historical, Naive, SeasonalNaive
from recurra.tasks.statistical_baselines import Autoregression, ExponentialSmoothing, Garch

__all__ = [
    "BASELINES",
    "Autoregression",
    "Baseline",
    "Drift",
    "ExponentialSmoothing",
    "Garch",
    "Historical",
    "Naive",
    "SeasonalNaive",
]

# Each takes the season.
BASELINES: dict[str, type[Baseline]] = {
    kind.name: kind
    for kind in (Naive, SeasonalNaive, Drift, Historical, Autoregression, ExponentialSmoothing, Garch)
}
