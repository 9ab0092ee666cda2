"""Output heads for forecasting against torch.distributions, scipy, and sums and integrals by brute force."""

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, distributions

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.heads import quantile_function
from recurra.heads.negative_binomial import NegativeBinomial
from recurra.heads.normal_outputs import Gaussian, Mixture
from recurra.heads.outputs import OUTPUTS, Output
from recurra.heads.quantiles import LEVELS, Point, Quantiles, pinball
from recurra.heads.student_t import StudentT

stats = pytest.importorskip("scipy.stats")

TORCH: dict[str, Callable[[Tensor], distributions.Distribution]] = {
    "gaussian": lambda p: distributions.Normal(p[..., 0], p[..., 1]),
    "student_t": lambda p: distributions.StudentT(p[..., 2], p[..., 0], p[..., 1]),
    "negative_binomial": lambda p: distributions.NegativeBinomial(
        1 / p[..., 1], logits=(p[..., 0] * p[..., 1]).log()
    ),
    "mixture": lambda p: distributions.MixtureSameFamily(
        distributions.Categorical(logits=p[..., :3]), distributions.Normal(p[..., 3:6], p[..., 6:])
    ),
}
REAL = ("gaussian", "student_t", "mixture", "quantiles")
CONTINUOUS = pytest.mark.parametrize("name", REAL)
EVERY = pytest.mark.parametrize("name", sorted(OUTPUTS))
FEATURES, SHAPE = 5, (3, 7)


def head(name: str) -> Output:
    torch.manual_seed(4)
    return OUTPUTS[name](FEATURES).double()


def case(name: str) -> tuple[Output, Tensor, Tensor]:
    """A head, the parameters of 21 distributions, and a number for each."""
    output = head(name)
    parameters = output(2 * torch.randn(*SHAPE, FEATURES, dtype=torch.float64)).detach()
    target = 2 * torch.randn(SHAPE, dtype=torch.float64)
    return output, parameters, target.abs().mul(3).round() if output.counts else target


@pytest.mark.parametrize("name", sorted(TORCH))
def test_likelihood_and_mean_equal_torch(name: str) -> None:
    output, parameters, target = case(name)
    other = TORCH[name](parameters)
    torch.testing.assert_close(output.loss(parameters, target), -other.log_prob(target), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output.mean(parameters), other.mean, rtol=1e-10, atol=1e-10)


def test_distribution_functions_and_quantiles_equal_scipy() -> None:
    levels = torch.tensor([0.001, 0.1, 0.5, 0.9, 0.999])
    families = {
        "gaussian": lambda p: stats.norm(*p),
        "student_t": lambda p: stats.t(p[2], p[0], p[1]),
        "negative_binomial": lambda p: stats.nbinom(1 / p[1], 1 / (1 + p[0] * p[1])),
    }
    for name, family in families.items():
        output, parameters, target = case(name)
        cdf, quantile = output.cdf(parameters, target), output.quantile(parameters, levels)
        for p, y, found, row in zip(
            parameters.view(21, -1), target.view(-1), cdf.view(-1), quantile.view(21, -1), strict=True
        ):
            other = family(p.numpy())
            assert float(found) == pytest.approx(other.cdf(float(y)), rel=1e-9, abs=1e-12), name
            assert row.numpy() == pytest.approx(other.ppf(levels.numpy()), rel=1e-6, abs=1e-9), name


@CONTINUOUS
def test_quantiles_invert_the_distribution_function(name: str) -> None:
    output, parameters, _ = case(name)
    levels = torch.tensor([1e-4, 0.01, 0.3, 0.5, 0.77, 0.975, 0.9999], dtype=torch.float64)
    found = output.quantile(parameters, levels)
    assert bool((found.diff() > 0).all())
    for place, level in enumerate(levels.tolist()):
        assert output.cdf(parameters, found[..., place]).numpy() == pytest.approx(level, rel=1e-6)


@CONTINUOUS
def test_crps_is_the_integral(name: str) -> None:
    output, parameters, target = case(name)
    far = [1e-9, 1e-6, 1e-3]  # beyond them (F - 1)^2 or F^2 is below 1e-18
    levels = torch.tensor([*far, *LEVELS, *(1 - level for level in reversed(far))], dtype=torch.float64)
    cuts = torch.cat([output.quantile(parameters, levels), target[..., None]], -1).sort(-1).values
    nodes, weights = (torch.as_tensor(values) for values in np.polynomial.legendre.leggauss(60))
    half = cuts.diff()[..., None] / 2
    x = (cuts[..., :-1, None] + half * (nodes + 1)).flatten(-2)
    many = parameters[..., None, :].expand(*x.shape, -1)
    square = (output.cdf(many, x) - (x >= target[..., None]).double()).square()
    expected = (square * (half * weights).flatten(-2)).sum(-1)
    torch.testing.assert_close(output.crps(parameters, target), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dispersion", [1e-6, 1e-3, 0.02, 0.049, 0.051, 1.0, 30.0])
def test_crps_of_counts_is_the_sum(dispersion: float) -> None:
    output = head("negative_binomial")
    for mean in (1e-3, 0.7, 40.0, 3000.0 if dispersion < 1 else 60.0):
        end = int(2 * mean + 40 * math.sqrt(mean + dispersion * mean**2) + 80 * dispersion * mean + 50)
        counts = np.arange(end)
        cdf = stats.nbinom.cdf(counts, 1 / dispersion, 1 / (1 + dispersion * mean))
        for y in (0, round(mean), round(2 * mean) + 1):
            parameters = torch.tensor([mean, dispersion], dtype=torch.float64)
            found = float(output.crps(parameters, torch.tensor(float(y))))
            assert found == pytest.approx(((cdf - (counts >= y)) ** 2).sum(), rel=1e-8)


@EVERY
def test_samples_are_from_the_distribution(name: str) -> None:
    output, parameters, _ = case(name)
    many = parameters.view(21, -1)[:3].expand(20_000, 3, -1)
    drawn = output.sample(many, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, output.sample(many, torch.Generator().manual_seed(1)))
    levels = output.pit(many, drawn, torch.Generator().manual_seed(2))
    if levels is None:
        assert torch.equal(drawn, output.mean(many))
        return
    for column in levels.T:
        assert stats.kstest(column.numpy(), "uniform").pvalue > 1e-3


@EVERY
def test_the_sample_mean_is_the_mean(name: str) -> None:
    output, parameters, _ = case(name)
    one = parameters.view(21, -1)[:1]
    drawn = output.sample(one.expand(100_000, -1), torch.Generator().manual_seed(3))
    assert float(drawn.mean()) == pytest.approx(float(output.mean(one)), abs=6 * float(drawn.std()) / 316 + 1e-9)


@EVERY
def test_missing_targets_cost_nothing_and_pass_no_gradient(name: str) -> None:
    output = head(name)
    hidden = torch.randn(*SHAPE, FEATURES, dtype=torch.float64, requires_grad=True)
    target = torch.full(SHAPE, 2.0, dtype=torch.float64)
    target[1] = torch.nan
    parameters = output(hidden)
    loss = output.loss(parameters, target)
    assert torch.equal(loss[1], torch.zeros(7))
    torch.testing.assert_close(loss[0], output.loss(parameters[0], target[0]))
    loss.sum().backward()
    assert torch.equal(hidden.grad[1], torch.zeros(7, FEATURES))
    assert bool((hidden.grad[0] != 0).any(-1).all())
    scores = [output.crps(parameters, target), output.pit(parameters, target)]
    for values in filter(lambda found: found is not None, scores):
        assert bool(values[1].isnan().all())
        assert bool(values[0].isfinite().all())


HEADS = {
    "gaussian": lambda: Gaussian(FEATURES, "likelihood"),
    "gaussian crps": lambda: Gaussian(FEATURES, "crps"),
    "student_t": lambda: StudentT(FEATURES, "likelihood"),
    "student_t crps": lambda: StudentT(FEATURES, "crps"),
    "mixture": lambda: Mixture(FEATURES, 3, "likelihood"),
    "mixture crps": lambda: Mixture(FEATURES, 1, "crps"),
    "negative_binomial": lambda: NegativeBinomial(FEATURES),
    "quantiles": lambda: Quantiles(FEATURES, (0.1, 0.4, 0.8)),
    "point": lambda: Point(FEATURES, "l2"),
}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_gradients(name: str) -> None:
    torch.manual_seed(5)
    output = HEADS[name]().double()
    target = torch.tensor([0.0, 3.0, 1.0, 12.0], dtype=torch.float64)
    hidden = torch.randn(4, FEATURES, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: output.loss(output(h), target), hidden, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["gaussian crps", "student_t crps", "mixture crps"])
def test_the_crps_can_be_the_loss(name: str) -> None:
    output = HEADS[name]().double()
    parameters, target = output(torch.randn(9, FEATURES, dtype=torch.float64)), torch.randn(9)
    assert torch.equal(output.loss(parameters, target), output.crps(parameters, target))


@EVERY
def test_scaled_distributions(name: str) -> None:
    output, parameters, target = case(name)
    scale = torch.rand(3, 1, dtype=torch.float64) + 0.5
    if output.counts:
        scaled = output.rescale(parameters, torch.zeros(3, 1), scale)
        torch.testing.assert_close(output.mean(scaled), scale * output.mean(parameters))
        torch.testing.assert_close(scaled[..., 1], parameters[..., 1] / scale.sqrt())
        with pytest.raises(ConfigError, match="cannot be shifted"):
            output.rescale(parameters, torch.ones(3, 1), scale)
        return
    location, levels = torch.randn(3, 1, dtype=torch.float64), torch.tensor([0.2, 0.9])
    scaled = output.rescale(parameters, location, scale)
    moved = location[..., None] + scale[..., None] * output.quantile(parameters, levels)
    torch.testing.assert_close(output.quantile(scaled, levels), moved)
    torch.testing.assert_close(output.mean(scaled), location + scale * output.mean(parameters))
    torch.testing.assert_close(
        output.crps(scaled, location + scale * target), scale * output.crps(parameters, target)
    )


@EVERY
def test_half_precision_and_extreme_inputs_stay_finite(name: str) -> None:
    output = head(name).bfloat16()
    hidden = torch.tensor([-1e4, -30.0, 0.0, 30.0, 1e4])[:, None].expand(5, FEATURES).bfloat16()
    parameters = output(hidden)
    assert parameters.dtype == torch.float32
    plain, exact = OUTPUTS[name](FEATURES), torch.randn(4, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain(exact), plain(exact.double()))
    assert torch.equal(plain(exact), plain(exact.double()))
    target = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    assert bool(output.loss(parameters, target).isfinite().all())
    assert bool(output.quantile(parameters, torch.tensor([0.1, 0.9])).isfinite().all())


def test_a_new_head_says_standard_normal() -> None:
    nothing = torch.zeros(1, FEATURES)
    levels = torch.tensor([0.1, 0.5, 0.9])
    for name in ("gaussian", "quantiles"):
        found = OUTPUTS[name](FEATURES).quantile(OUTPUTS[name](FEATURES)(nothing), levels)
        assert found[0].tolist() == pytest.approx([-1.28155, 0, 1.28155], abs=1e-3)


def test_quantiles_rise_and_pinball_by_hand() -> None:
    output = Quantiles(FEATURES)
    parameters = output(100 * torch.randn(50, FEATURES))
    assert bool((parameters.diff() > 0).all())
    y = torch.randn(50)
    expected = [
        2 * np.mean([max(q * (t - v), (q - 1) * (t - v)) for q, v in zip(output.levels.tolist(), row, strict=True)])
        for row, t in zip(parameters.tolist(), y.tolist(), strict=True)
    ]
    assert output.loss(parameters, y).tolist() == pytest.approx(expected, rel=1e-5)
    assert pinball(torch.tensor([1.0]), torch.tensor([0.9]), torch.tensor(3.0)).tolist() == pytest.approx([1.8])


def test_the_quantile_function_of_normal_quantiles_is_normal() -> None:
    normal, output = Gaussian(1), quantile_function
    parameters, y = torch.tensor([[1.5, 2.0]], dtype=torch.float64), torch.tensor([-97.0, 1.0, 4.0, 300.0])
    levels = torch.tensor([0.05, 0.3, 0.8], dtype=torch.float64)
    values = normal.quantile(parameters, levels)
    assert float(output.mean(values, levels)) == pytest.approx(1.5)
    assert float(output.variance(values, levels)) == pytest.approx(4)
    for one in y.double()[:, None]:
        assert float(output.crps(values, levels, one)) == pytest.approx(float(normal.crps(parameters, one)))
        assert float(output.level_of(values, levels, one)) == pytest.approx(float(normal.cdf(parameters, one)))


def test_variance_of_a_quantile_function() -> None:
    levels = torch.tensor([0.1, 0.4, 0.5, 0.9], dtype=torch.float64)
    values = torch.tensor([[-3.0, 0.0, 0.1, 0.4], [5.0, 6.0, 30.0, 31.0]], dtype=torch.float64)
    z = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    x = quantile_function.transform(values[:, None].expand(2, len(z), 4), levels, z.expand(2, -1))
    weights = torch.exp(-z.square() / 2) / torch.exp(-z.square() / 2).sum()
    mean = (x * weights).sum(1)
    torch.testing.assert_close(quantile_function.mean(values, levels), mean, rtol=1e-8, atol=1e-8)
    expected = ((x - mean[:, None]).square() * weights).sum(1)
    torch.testing.assert_close(quantile_function.variance(values, levels), expected, rtol=1e-8, atol=1e-8)


def test_quantiles_that_tie() -> None:
    values, levels = torch.full((1, 3), 2.0), torch.tensor([0.1, 0.5, 0.9])
    assert float(quantile_function.crps(values, levels, torch.tensor([5.0]))) == pytest.approx(3, rel=1e-6)
    found = quantile_function.level_of(values.expand(3, 3), levels, torch.tensor([1.0, 2.0, 3.0]))
    assert found.tolist() == [0, 0.5, 1]


def test_errors_say_what_to_do() -> None:
    with pytest.raises(ShapeError, match=r"expected hidden of shape \(\.\.\., 5\), got \(2, 4\)"):
        Gaussian(5)(torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="expected the objective 'likelihood' or 'crps', got 'loglik'"):
        StudentT(5, "loglik")
    for levels in ((0.5,), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.1, math.nan)):
        with pytest.raises(ConfigError, match="levels"):
            Quantiles(5, levels)
    with pytest.raises(ConfigError, match="1 part or more"):
        Mixture(5, 0)
    output = NegativeBinomial(5)
    for wrong in (-1.0, 2.5):
        with pytest.raises(DataError, match=f"whole numbers from 0, got {wrong:g}"):
            output.loss(output(torch.zeros(3, 5)), torch.tensor([1.0, math.nan, wrong]))


def test_without_scipy_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    output, parameters, target = case("student_t")
    with pytest.raises(ConfigError, match=r"pip install 'recurra\[forecast\]'"):
        output.cdf(parameters, target)
    assert bool(output.loss(parameters, target).isfinite().all())
