"""Scores, the Diebold-Mariano test and conformal calibration against loops, scipy and what they promise."""

import math

import numpy as np
import pytest
import torch

from recurra.errors import ConfigError, DataError, ShapeError
from recurra.heads import forecast_scores as scores
from recurra.heads.comparison import diebold_mariano
from recurra.heads.conformal import fit_conformal, least_windows

NAN = math.nan


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Targets ``(40, 6)`` with some missing, and forecasts of them."""
    random = torch.Generator().manual_seed(1)
    target = torch.randn(40, 6, generator=random, dtype=torch.float64)
    forecast = target + torch.randn(40, 6, generator=random, dtype=torch.float64)
    target[torch.rand(40, 6, generator=random) < 0.2] = NAN
    return target, forecast


def pairs(target: torch.Tensor, forecast: torch.Tensor) -> list[tuple[float, float]]:
    both = zip(target.flatten().tolist(), forecast.flatten().tolist(), strict=True)
    return [(y, f) for y, f in both if not math.isnan(y)]


def test_errors_by_hand() -> None:
    target, forecast = windows()
    known = pairs(target, forecast)
    assert 100 < len(known) < 220
    assert scores.mae(target, forecast) == pytest.approx(np.mean([abs(y - f) for y, f in known]))
    assert scores.mse(target, forecast) == pytest.approx(np.mean([(y - f) ** 2 for y, f in known]))
    assert scores.rmse(target, forecast) == pytest.approx(np.mean([(y - f) ** 2 for y, f in known]) ** 0.5)
    expected = np.mean([200 * abs(y - f) / (abs(y) + abs(f)) for y, f in known])
    assert scores.smape(target, forecast) == pytest.approx(expected)
    assert scores.smape(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0])) == 100
    assert math.isnan(scores.mae(torch.tensor([NAN]), torch.tensor([1.0])))
    assert math.isnan(scores.mae(torch.tensor([1.0]), torch.tensor([NAN])))
    with pytest.raises(ShapeError, match=r"targets' shape \(40, 6\), got \(40,\)"):
        scores.mae(target, forecast[:, 0])


def test_errors_scaled_by_those_of_the_naive_forecast() -> None:
    history = torch.tensor([[1.0, 2.0, 4.0, NAN, 5.0, 9.0], [3.0] * 6])
    assert scores.naive_error(history).tolist() == [pytest.approx(7 / 3), 0]
    assert scores.naive_error(history, 2).tolist() == [pytest.approx((3 + 1) / 2), 0]
    target, forecast = torch.tensor([[1.0, NAN], [1.0, 1.0]]), torch.tensor([[3.0, 1.0], [9.0, 9.0]])
    assert scores.mase(target, forecast, torch.tensor([4.0, 0.0])) == pytest.approx(0.5)
    assert scores.mase(target, forecast, torch.tensor([4.0, 8.0])) == pytest.approx((0.5 + 1 + 1) / 3)


def test_quantile_loss_and_crps_of_samples() -> None:
    target, forecast = windows()
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    quantiles = forecast[..., None] + torch.tensor([-1.0, 0.0, 1.0])
    size = sum(abs(y) for y, _ in pairs(target, forecast))
    losses = [
        2 * sum(max(q * (y - f - s), (q - 1) * (y - f - s)) for y, f in pairs(target, forecast)) / size
        for q, s in zip(levels.tolist(), (-1.0, 0.0, 1.0), strict=True)
    ]
    assert scores.weighted_quantile_loss(target, quantiles, levels) == pytest.approx(np.mean(losses))
    paths = torch.randn(40, 30, 6, dtype=torch.float64)
    found = scores.crps_of_samples(paths, target)
    assert torch.equal(found.isnan(), target.isnan())
    for b, h in ((0, 0), (7, 3), (39, 5)):
        x, y = paths[b, :, h], target[b, h]
        expected = (x - y).abs().mean() - (x[:, None] - x).abs().mean() / 2
        torch.testing.assert_close(found[b, h], expected, equal_nan=True)


def test_intervals() -> None:
    target = torch.tensor([1.0, 2.0, NAN, 4.0, 5.0])
    lower, upper = torch.tensor([1.0, 0.0, 0.0, 0.0, 7.0]), torch.tensor([2.0, 1.5, 9.0, 5.0, 8.0])
    assert scores.coverage(target, lower, upper) == 0.5
    assert scores.width(target, lower, upper) == pytest.approx((1 + 1.5 + 5 + 1) / 4)
    assert scores.interval_score(target, lower, upper, 0.8) == pytest.approx((1 + 1.5 + 5 + 1 + 5 + 20) / 4)


def test_volatility_and_direction() -> None:
    realised, variance = torch.tensor([0.0, 1.0, NAN]), torch.tensor([1.0, 2.0, -1.0])
    assert scores.qlike(realised, variance) == pytest.approx((0 + math.log(2) + 0.5) / 2)
    with pytest.raises(DataError, match="above 0, got -1"):
        scores.qlike(torch.tensor([1.0, 1.0, 1.0]), variance)
    change, forecast = torch.tensor([1.0, -1.0, 0.0, NAN, 2.0, 3.0]), torch.tensor([0.5, 1.0, 1.0, 1.0, 0.0, 2.0])
    found = scores.direction_accuracy(change, forecast)
    assert (found.share, found.cases) == (2.5 / 4, 4)
    stats = pytest.importorskip("scipy.stats")
    for right, count in ((3, 10), (0, 5), (70, 100), (5, 5)):
        expected = stats.binomtest(right, count).proportion_ci(method="wilson")
        assert scores.share(right, count)[1:3] == pytest.approx(tuple(expected), abs=1e-12)
    assert scores.share(0, 0).cases == 0


def by_brute_force(d: np.ndarray, h: int) -> tuple[float, float]:
    stats = pytest.importorskip("scipy.stats")
    n, centred = len(d), d - d.mean()
    variance = sum(
        sum(centred[t] * centred[t - k] for t in range(n) if 0 <= t - k < n) / n for k in range(-h + 1, h)
    )
    statistic = d.mean() / math.sqrt(variance / n) * math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return statistic, 2 * stats.t(n - 1).sf(abs(statistic))


@pytest.mark.parametrize("overlap", [1, 4])
def test_diebold_mariano_by_brute_force(overlap: int) -> None:
    random = torch.Generator().manual_seed(2)
    noise = torch.randn(60, generator=random, dtype=torch.float64)
    first, second = noise.unfold(0, 3, 1).mean(1).square(), torch.rand(58, generator=random, dtype=torch.float64)
    first[5] = second[9] = NAN
    d = (first - second).numpy()
    expected = by_brute_force(d[~np.isnan(d)], overlap)
    found, other = diebold_mariano(first, second, overlap), diebold_mariano(second, first, overlap)
    assert (found.statistic, found.p_value) == pytest.approx(expected)
    assert (other.statistic, other.p_value) == pytest.approx((-expected[0], expected[1]))
    assert (found.windows, found.kernel) == (56, "flat")
    assert found.difference == pytest.approx(np.nanmean(d))


def test_diebold_mariano_with_a_variance_below_zero() -> None:
    first = torch.tensor([2.0, -1.0] * 10) + 0.1
    found = diebold_mariano(first, torch.zeros(20), 2)
    assert found.kernel == "bartlett"
    assert math.isfinite(found.statistic)
    d = first.double().numpy()
    centred = d - d.mean()
    variance = (centred @ centred + centred[1:] @ centred[:-1]) / 20
    shrink = math.sqrt((21 - 4 + 2 / 20) / 20)
    assert found.statistic == pytest.approx(shrink * d.mean() / math.sqrt(variance / 20))


def test_diebold_mariano_at_its_edges() -> None:
    same = torch.rand(9)
    assert diebold_mariano(same, same, 3)[:3] == (0, 0, 1)
    assert diebold_mariano(torch.ones(9), torch.zeros(9))[1:3] == (math.inf, 0)
    with pytest.raises(DataError, match="more than 4 windows for an overlap of 4, got 4"):
        diebold_mariano(same[:4], same[1:5], 4)
    with pytest.raises(ShapeError, match="two rows of losses"):
        diebold_mariano(same, same[1:])


def test_diebold_mariano_is_rarely_sure_of_nothing() -> None:
    random, sure = torch.Generator().manual_seed(3), 0
    for _ in range(400):
        noise = torch.randn(2, 63, generator=random).unfold(1, 4, 1).sum(-1).square()  # errors four steps ahead
        sure += diebold_mariano(noise[0], noise[1], 4).p_value < 0.05
    assert 5 <= sure <= 40


def overconfident(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Targets ``(count, 2)`` of wild and calm days, and quantiles that are too narrow, and too low in step 2."""
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    spread = torch.where(torch.rand(count, 1) < 0.5, 1.0, 5.0).double()
    target = spread * torch.randn(count, 2, dtype=torch.float64)
    quantiles = spread[..., None] * torch.tensor([[-0.4, 0, 0.4], [-1.4, -1, -0.6]], dtype=torch.float64)
    return target, quantiles, levels


@pytest.mark.parametrize("kind", ["shift", "stretch"])
def test_calibrated_intervals_hold_what_they_promise(kind: str) -> None:
    torch.manual_seed(4)
    target, quantiles, levels = overconfident(1000)
    target[torch.rand(1000, 2) < 0.1] = NAN
    conformal = fit_conformal(target, quantiles, levels, kind)
    new, forecast, _ = overconfident(4000)
    assert scores.coverage(new, forecast[..., 0], forecast[..., 2]) < 0.35
    better = conformal(forecast)
    for step in (0, 1):
        low, middle, high = better[:, step].unbind(-1)
        assert scores.coverage(new[:, step], low, high) == pytest.approx(0.8, abs=0.03)
        assert float((new[:, step] < middle).double().mean()) == pytest.approx(0.5, abs=0.04)
    calm = forecast[:, 0, 2] < 1
    held = scores.coverage(new[calm, 0], better[calm, 0, 0], better[calm, 0, 2])
    assert held == pytest.approx(0.8, abs=0.04) if kind == "stretch" else held > 0.9


def test_the_promise_holds_exactly_over_all_that_could_come() -> None:
    # Of n + 1 exchangeable numbers each may be the new one: at least the level's share lies below its bound.
    values, levels = torch.randn(12, dtype=torch.float64), torch.tensor([0.15, 0.5, 0.85])
    below = above = 0
    for new in range(12):
        others = torch.cat([values[:new], values[new + 1 :]])
        moved = fit_conformal(others[:, None], torch.zeros(11, 1, 3, dtype=torch.float64), levels).move[0]
        below, above = below + int(values[new] <= moved[2]), above + int(values[new] >= moved[0])
    assert 0.85 * 12 <= below <= 0.85 * 12 + 1
    assert 0.85 * 12 <= above <= 0.85 * 12 + 1


def test_calibrated_quantiles_do_not_cross_and_errors_are_clear() -> None:
    target, quantiles, levels = overconfident(50)
    conformal = fit_conformal(target, quantiles, levels)
    assert bool((conformal(100 * torch.randn(20, 2, 3)).diff() >= 0).all())
    assert [least_windows(torch.tensor(q)) for q in ([0.5], [0.9], [0.05, 0.9], [0.975])] == [1, 9, 19, 39]
    target[8:, 1] = NAN
    with pytest.raises(DataError, match="needs 9 held-out windows with a known target for each step, got 8"):
        fit_conformal(target, quantiles, levels)
    with pytest.raises(ShapeError, match=r"expected quantiles \(B, 2, 3\), got \(20, 1, 3\)"):
        conformal(torch.zeros(20, 1, 3))
    with pytest.raises(ConfigError, match="'shift' or 'stretch', got 'scale'"):
        fit_conformal(target, quantiles, levels, "scale")
