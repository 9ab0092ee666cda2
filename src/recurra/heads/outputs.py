"""All output heads for forecasting, by the name that recipes use."""

from recurra.heads.negative_binomial import NegativeBinomial
from recurra.heads.normal_outputs import Gaussian, Mixture
from recurra.heads.output import Output
from recurra.heads.quantiles import Point, Quantiles
from recurra.heads.student_t import StudentT

__all__ = ["OUTPUTS", "Gaussian", "Mixture", "NegativeBinomial", "Output", "Point", "Quantiles", "StudentT"]

# Each takes the size of the vector that it reads, and has defaults for everything else.
OUTPUTS: dict[str, type[Output]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "negative_binomial": NegativeBinomial,
    "mixture": Mixture,
    "quantiles": Quantiles,
    "point": Point,
}
