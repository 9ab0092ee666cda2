"""Pictures of states: the right units in the right order, and a real picture."""

from pathlib import Path

import pytest
import torch
from matplotlib.image import imread

from recurra.diagnose.traces import draw_heat_map, liveliest
from recurra.errors import ShapeError


def test_liveliest_units_in_the_order_of_their_peaks() -> None:
    values = torch.zeros(6, 4)
    values[4, 0], values[1, 2], values[2, 3] = 1.0, 2.0, 1.5  # unit 1 never moves
    assert liveliest(values, 3).tolist() == [2, 3, 0]
    assert liveliest(values, 2).tolist() == [2, 3]
    assert len(liveliest(values, 99)) == 4


def test_the_picture_shows_the_values(tmp_path: Path) -> None:
    values = torch.linspace(-1, 1, 60).view(12, 5)
    draw_heat_map(values, list("twelve chars"), tmp_path / "a.png", "title")
    picture = imread(tmp_path / "a.png")[..., :3]
    red = ((picture[..., 0] > 0.6) & (picture[..., 2] < 0.3)).mean()
    blue = ((picture[..., 2] > 0.5) & (picture[..., 0] < 0.3)).mean()
    assert picture.shape[1] >= 700
    assert red > 0.02
    assert blue > 0.02


@pytest.mark.parametrize(("shape", "labels"), [((3,), 3), ((3, 2), 4), ((0, 2), 0)])
def test_bad_shapes(tmp_path: Path, shape: tuple, labels: int) -> None:
    with pytest.raises(ShapeError, match=r"values \(T, H\) and T labels"):
        draw_heat_map(torch.zeros(shape), ["x"] * labels, tmp_path / "a.png", "title")
    assert not list(tmp_path.iterdir())
