"""The recogniser by templates against warping written down plainly."""

import pytest
import torch
from benchmarks.templates import Template, distance, nearest, transcribe
from torch import Tensor

pytest.importorskip("dtaidistance")


def warped(a: Tensor, b: Tensor) -> float:
    local = torch.cdist(a.double(), b.double()).tolist()
    cost = {(-1, -1): 0.0}
    for i in range(len(a)):
        for j in range(len(b)):
            before = (cost.get(k, torch.inf) for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1)))
            cost[i, j] = local[i][j] + min(before)
    return cost[len(a) - 1, len(b) - 1] / (len(a) + len(b))


def sound(steps: int, seed: int) -> Tensor:
    return torch.randn(steps, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("steps", "others"), [(1, 1), (1, 7), (5, 9), (19, 8), (20, 20)])
def test_distance_is_the_cheapest_warping(steps: int, others: int) -> None:
    a, b = sound(steps, 1), sound(others, 2)
    assert distance(a, b) == pytest.approx(warped(a, b))
    assert distance(a, a) == 0


def test_the_nearest_is_found_though_loops_stop_early() -> None:
    templates = [Template(sound(10 + k, k), f"text {k}") for k in range(12)]
    recordings = [sound(14, 100 + k) for k in range(5)] + [templates[7].features.repeat_interleave(2, 0)]
    expected = [min(templates, key=lambda one: warped(one.features, sound)).text for sound in recordings]
    assert transcribe(templates, recordings, band=1.0) == expected
    assert expected[-1] == "text 7"
    text, far = nearest(templates, recordings[0], band=1.0)
    assert (text, far) == (
        expected[0],
        pytest.approx(min(warped(one.features, recordings[0]) for one in templates)),
    )


def test_a_band_keeps_to_the_diagonals() -> None:
    a, b = sound(30, 3), torch.cat([sound(30, 3)[:1].expand(12, 3), sound(30, 3)[:18]])
    assert distance(a, b, 0.05) > distance(a, b) == pytest.approx(warped(a, b))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="at least one template"):
        nearest([], sound(3, 0))
    with pytest.raises(ValueError, match=r"T >= 1, got \(0, 3\)"):
        transcribe([Template(sound(0, 0), "")], [])
