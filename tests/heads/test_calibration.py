"""Calibration and confusion against other libraries and brute force; attributions against exact integrals."""

import numpy
import pytest
import torch
from torch.nn.functional import cross_entropy

from recurra.heads.attribution import integrated_gradients, log_odds
from recurra.heads.calibration import calibration_error, fit_temperature
from recurra.heads.confusion import accuracy, confusion, macro_f1


def rows(count: int = 400, kinds: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    logits = torch.randn(count, kinds) * 4
    labels = torch.distributions.Categorical(logits=logits / 2.5).sample()
    return logits, labels


def test_confusion_and_its_numbers_equal_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    logits, labels = rows()
    labels[labels == 3] = 1  # a class that nothing belongs to, but that some rows are taken for
    predicted = logits.argmax(1)
    counts = confusion(predicted, labels, 6)
    assert numpy.array_equal(counts[:5, :5], metrics.confusion_matrix(labels, predicted, labels=range(5)))
    assert accuracy(counts) == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert macro_f1(counts) == pytest.approx(metrics.f1_score(labels, predicted, average="macro", zero_division=0))


def test_calibration_error_by_hand() -> None:
    logits, labels = rows()
    chances = logits.softmax(1)
    expected = 0.0
    for low in range(15):
        inside = [i for i, p in enumerate(chances.max(1).values.tolist()) if low / 15 < p <= (low + 1) / 15]
        if inside:
            right = sum(int(chances[i].argmax() == labels[i]) for i in inside) / len(inside)
            said = sum(float(chances[i].max()) for i in inside) / len(inside)
            expected += len(inside) / len(labels) * abs(right - said)
    assert calibration_error(chances, labels) == pytest.approx(expected, rel=1e-5)
    assert calibration_error(torch.eye(3), torch.arange(3)) == 0
    assert calibration_error(torch.eye(3), torch.tensor([1, 2, 0])) == 1


def test_temperature_is_where_the_likelihood_is_highest() -> None:
    logits, labels = rows()
    found = fit_temperature(logits, labels)
    doubt = 1 / (len(labels) + 2)
    targets = torch.full(logits.shape, doubt / 4).scatter(1, labels[:, None], 1 - doubt)
    losses = {t / 100: float(cross_entropy(logits / (t / 100), targets)) for t in range(100, 500)}
    assert found == pytest.approx(min(losses, key=losses.__getitem__), abs=0.011)
    assert found == pytest.approx(2.5, abs=0.4)
    before, after = (calibration_error((logits / t).softmax(1), labels) for t in (1.0, found))
    assert after < before / 3


def test_temperature_without_a_mistake_stays_modest() -> None:
    labels = torch.arange(5).repeat(10)
    logits = torch.eye(5)[labels] * 9
    found = fit_temperature(logits, labels)
    assert float((logits / found).softmax(1).max()) == pytest.approx(51 / 52, abs=1e-4)
    assert fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.long)) == 1


def test_log_odds() -> None:
    logits = torch.randn(7, 4, dtype=torch.float64)
    p = logits.softmax(1)[:, 2]
    assert torch.allclose(log_odds(logits, 2), (p / (1 - p)).log())


def test_shares_equal_the_exact_integral_of_a_polynomial_and_add_up() -> None:
    torch.manual_seed(2)
    x, w = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    shares = integrated_gradients(lambda inputs: (inputs * w).sum((1, 2)) ** 3 + 1, x, at_once=5)
    # d/dx (w x)^3 along a x is 3 a^2 (w x)^2 w, whose integral is (w x)^2 w.
    assert torch.allclose(shares.values, ((x * w) * (x * w).sum() ** 2).sum(1))
    assert float(shares.values.sum()) == pytest.approx(shares.score - shares.base)
    assert shares.base == pytest.approx(1)
    assert abs(shares.gap) < 1e-9


def test_a_hard_integral_gets_more_points() -> None:
    asked = []

    def score(inputs: torch.Tensor) -> torch.Tensor:
        asked.append(len(inputs))
        return (80 * (inputs.sum((1, 2)) - 0.511)).sigmoid() * 3

    shares = integrated_gradients(score, torch.ones(1, 1), at_once=1000)
    assert abs(shares.gap) <= 0.03
    assert asked[1:] == [32 * 2**i for i in range(len(asked) - 1)]
    assert len(asked) > 2
