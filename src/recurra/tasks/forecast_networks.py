"""The forecasting networks by name, as recipes have them."""

from collections.abc import Callable

from recurra.errors import ConfigError
from recurra.heads.output import Output
from recurra.tasks.forecast_autoregressive import AutoregressiveNetwork
from recurra.tasks.forecast_committee import Committee
from recurra.tasks.forecast_direct import DirectNetwork
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_network import ForecastNetwork, WindowSizes
from recurra.tasks.forecast_segments import SegmentNetwork

__all__ = ["NETWORKS", "forecast_network"]

NETWORKS: dict[str, Callable[[ForecastNet, WindowSizes, Callable[[int], Output]], ForecastNetwork]] = {
    "autoregressive": AutoregressiveNetwork,
    "direct": DirectNetwork,
    "segments": SegmentNetwork,
}


def forecast_network(net: ForecastNet, sizes: WindowSizes, output: Callable[[int], Output]) -> ForecastNetwork:
    """A new network of the kind that a recipe names.

    output  makes the output for so many hidden numbers: ``Gaussian``, or ``partial(Quantiles, levels=(0.1, 0.9))``

    Raises ConfigError for an output that counts and a normalisation that would make the counts fractions below 0.
    """

    def one(net: ForecastNet, sizes: WindowSizes) -> ForecastNetwork:
        return NETWORKS[net.kind](net, sizes, output)

    network = Committee(net, sizes, one) if net.members > 1 else one(net, sizes)
    if network.output.counts and net.normalisation in ("last", "instance"):
        raise ConfigError(
            f"model.normalisation: counts cannot be shifted; expected 'series' or 'mean', got {net.normalisation!r}"
        )
    return network
