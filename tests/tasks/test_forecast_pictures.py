"""Pictures of forecasts: that they can be drawn from anything that comes, and that they show what they say."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from recurra.errors import DataError
from recurra.tasks import calibration_pictures, forecast_pictures
from recurra.tasks.calibration_pictures import draw_calibration, draw_copying
from recurra.tasks.forecast_pictures import Fan, draw_back_test, draw_error_by_step, draw_fans, intervals

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
DAYS = np.datetime64("2020-02-20", "ns") + np.arange(60) * np.timedelta64(1, "D")


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn, which are not written: that takes most of the time."""
    drawn: list[Figure] = []
    for module in (forecast_pictures, calibration_pictures):
        monkeypatch.setattr(module, "save", lambda picture, path: drawn.append(picture))
    return drawn


def fan(target: bool, steps: bool = False) -> Fan:
    stamps = np.arange(60) if steps else DAYS
    history = np.random.default_rng(1).normal(size=50)
    history[-1] = np.nan
    quantiles = np.linspace(-1, 1, 7) + np.zeros((10, 1))
    return Fan("a series", stamps[:50], history, stamps[50:], quantiles, np.full(10, 0.5) if target else None)


def test_intervals_are_pairs_of_levels() -> None:
    assert intervals(LEVELS) == [(0, 6, pytest.approx(0.95)), (1, 5, pytest.approx(0.8)), (2, 4, 0.5)]
    assert intervals((0.5,)) == []
    assert intervals((0.1, 0.2, 0.5, 0.8)) == [(1, 3, pytest.approx(0.6))]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_fans(count: int, figure: list[Figure]) -> None:
    draw_fans([fan(target=place > 0, steps=count == 8) for place in range(count)], LEVELS, "fans.png", "units")
    panels = [axes for axes in figure[0].axes if axes.get_title(loc="left")]
    assert len(panels) == min(count, 6)
    legend = [text.get_text() for text in figure[0].legends[0].get_texts()]
    came = ["what came"] if count > 1 else []
    assert legend == ["history", "95%", "80%", "50%", "median", *came]
    median = next(line for line in panels[0].lines if line.get_label() == "median")
    assert median.get_ydata()[1:].tolist() == [0] * 10
    assert median.get_ydata()[0] == fan(False).history[48]


def test_windows_of_a_back_test_do_not_lie_over_each_other(figure: list[Figure]) -> None:
    series = np.arange(60.0)
    quantiles = np.zeros((4, 10, 7)) + np.arange(4.0)[:, None, None]
    draw_back_test(DAYS, series, [30, 10, 12, 55], quantiles, LEVELS, "back.png", "a series")
    medians = [line for line in figure[0].axes[0].lines if len(set(line.get_ydata())) == 1]
    drawn = [float(line.get_ydata()[0]) for line in medians if len(line.get_ydata()) in (4, 10)]
    assert drawn == [1, 0, 3]
    truth = next(line for line in figure[0].axes[0].lines if line.get_label() == "what came")
    assert truth.get_ydata().tolist() == list(range(60))


def test_error_by_step(figure: list[Figure]) -> None:
    draw_error_by_step({"seasonal_naive": np.arange(3.0), "gru": np.ones(3)}, "steps.png", own="gru")
    assert [text.get_text() for text in figure[0].axes[0].get_legend().get_texts()] == ["seasonal naive", "gru"]
    assert figure[0].axes[0].get_ylim() == (0, pytest.approx(2.1))


def test_calibration(figure: list[Figure]) -> None:
    pit = np.concatenate([np.random.default_rng(2).random(5000), [np.nan]])
    draw_calibration(pit.reshape(3, -1), [(0.95, 0.9), (0.5, 0.6)], "calibration.png", 1000)
    left, right = figure[0].axes
    heights = [bar.get_height() for bar in left.patches]
    assert len(heights) == 20
    assert np.mean(heights) == pytest.approx(1)
    low, high = left.lines[1].get_ydata()[0], left.lines[2].get_ydata()[0]
    assert sum(low < height < high for height in heights) >= 18
    assert right.lines[1].get_xdata().tolist() == [50, 95]
    assert right.lines[1].get_ydata().tolist() == pytest.approx([60, 90])
    draw_calibration(np.zeros(0), [], "calibration.png")


@pytest.mark.parametrize(
    ("late", "said"), [(1, "1 step late"), (0, "the step that it is for"), (-2, "2 steps early")]
)
def test_a_copy_is_shown_for_what_it_is(late: int, said: str, figure: list[Figure]) -> None:
    series = np.random.default_rng(3).normal(size=60).cumsum()
    forecast = np.roll(series, late) + 1e-3 * np.random.default_rng(4).normal(size=60)
    forecast[:4] = forecast[-4:] = np.nan
    draw_copying(DAYS, series, forecast, "copy.png", "prices")
    titles = [axes.get_title(loc="left") for axes in figure[0].axes]
    assert titles[1] == f"the forecast fits best {said}"
    if late == 0:
        assert titles[2].startswith("correlation +1.00; direction right 100%")
    with pytest.raises(DataError, match="got none to compare"):
        draw_copying(DAYS, series, np.full(60, np.nan), "copy.png")


def test_pictures_are_written_whole(tmp_path: Path) -> None:
    draw_fans([fan(target=True)] * 3, LEVELS, tmp_path / "fans.png", "units")
    draw_back_test(np.arange(60), np.arange(60.0), [30], np.zeros((1, 10, 7)), LEVELS, tmp_path / "back.png")
    draw_error_by_step({"naive": np.ones(3)}, tmp_path / "steps.png")
    draw_calibration(np.linspace(0, 1, 99), [(0.8, 0.7)], tmp_path / "calibration.png")
    draw_copying(DAYS, np.arange(60.0), np.arange(60.0) - 1, tmp_path / "copy.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["back.png", "calibration.png", "copy.png", "fans.png", "steps.png"]
    assert all(image.imread(tmp_path / name).std() > 0.05 for name in names)
