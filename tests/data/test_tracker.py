"""Tracks from boxes and from a film that is drawn here, of which everything is known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from recurra.data.tracker import Tracker, Tracking, background, boxes, track_film
from recurra.data.video import write_video
from recurra.errors import ConfigError, DataError
from recurra.run.fit import Fit
from recurra.tasks.trajectory import TrajectoryConfig, TrajectoryData, TrajectoryNet, TrajectoryPredictor

pytest.importorskip("cv2")
pytest.importorskip("av")
pytest.importorskip("scipy")


def test_agents_who_cross_keep_their_names() -> None:
    tracker = Tracker(Tracking(rate=10.0, least=1.0, gate=0.1), 100)
    for frame in range(20):
        tracker.push([(5.0 * frame, 50.0), (100.0 - 5.0 * frame, 54.0)][:: 1 if frame % 2 else -1])
    ends = sorted(round(seen[max(seen)][0]) for seen in tracker.tracks().values())
    assert len(ends) == 2
    assert all(len({round(x[1]) for x in seen.values()}) <= 2 for seen in tracker.tracks().values())
    assert ends == pytest.approx([5, 95], abs=4)


def test_who_is_hidden_for_a_moment_comes_again_and_noise_is_no_agent() -> None:
    tracker = Tracker(Tracking(rate=10.0, least=1.0, patience=0.5, gate=0.1), 100)
    for frame in range(20):
        seen = [] if 8 <= frame < 11 else [(3.0 * frame, 50.0)]
        tracker.push([*seen, (90.0, 10.0)] if frame == 5 else seen)
    (track,) = tracker.tracks().values()
    assert set(range(8, 11)).isdisjoint(track)
    assert {7, 11, 19} <= set(track)


def film(path: Path, walkers: bool = True) -> None:
    """A square, on which one goes to the right and one to the left: 6 seconds, 10 frames each."""
    street = torch.randint(90, 110, (3, 96, 160), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    write_video(path, (frame_of(street, t) if walkers else street for t in range(60)), 10)


def frame_of(street: Tensor, t: int) -> Tensor:
    frame = street.clone()
    frame[:, 20:36, 4 + 2 * t : 11 + 2 * t] = 230
    frame[:, 60:76, 140 - 2 * t : 147 - 2 * t] = 10
    return frame


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "street.mp4"
    film(path)
    return path


def test_a_film_becomes_the_tracks_that_were_drawn(street: Path) -> None:
    recording = track_film(street)
    assert recording.every == 4  # of the 10 frames a second that are looked at, 2.5 are kept
    ways = {}
    for track in recording.tracks:
        step = track.points.diff(dim=0).median(0).values
        ways[round(float(track.points[:, 1].mean()) / 40)] = step.tolist()
        frame = recording.frame(track.end - 1)
        middle = 7.5 + 2 * frame if step[0] > 0 else 143.5 - 2 * frame
        assert float(track.points[-1, 0]) == pytest.approx(middle, abs=5)
    assert {number: pytest.approx(step, abs=0.6) for number, step in ways.items()} == {1: [8, 0], 2: [-8, 0]}


def test_the_background_is_what_stays(street: Path) -> None:
    found = background(street).double()
    assert float((found - 100).abs().mean()) < 12
    assert all(len(seen) <= 2 for _, seen in boxes(street))


def test_a_film_in_which_nothing_moves_is_refused(tmp_path: Path) -> None:
    film(tmp_path / "still.mp4", walkers=False)
    with pytest.raises(DataError, match=r"nothing was seen to move for 1.5 seconds; is the camera fixed"):
        track_film(tmp_path / "still.mp4")


def test_a_predictor_is_trained_on_a_film_and_draws_on_it(street: Path, tmp_path: Path) -> None:
    data = TrajectoryData(path=str(street), observed=2, future=1, split=(0.4, 0.3, 0.3))
    task = TrajectoryPredictor(TrajectoryConfig(data, model=TrajectoryNet(hidden=8, futures=2)))
    task.fit(tmp_path / "run", Fit(steps=2, evaluate_every=2), quiet=True)
    answer = task.predict(str(street))
    (first, *_) = task.draw_answer(str(street), tmp_path, "street")
    assert first.read_bytes().startswith(b"\x89PNG")
    for futures in answer["agents"].values():
        assert abs(futures["expected"][0][1] - 36) < 6 or abs(futures["expected"][0][1] - 76) < 6


@pytest.mark.parametrize("values", [{"rate": 0.0}, {"gate": -1.0}, {"smallest": 0.0}])
def test_tracking_that_makes_no_sense_is_named(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"tracking.{next(iter(values))}"):
        Tracking(**values)
    with pytest.raises(ConfigError, match=r"a multiple of 2\.5 steps"):
        track_film("street.mp4", 2.5, Tracking(rate=9.0))
