"""Tracks and scenes: what is read, what is mended, what is refused, and that nothing of the future is known."""

from pathlib import Path

import pytest
import torch

from recurra.data.scenes import Split, scenes, side_by_side
from recurra.data.track_parts import recording_parts
from recurra.data.tracks import parse_tracks, read_tracks, write_tracks
from recurra.errors import ConfigError, DataError


def straight(agent: str, frames: range, speed: float = 1.0) -> str:
    return "\n".join(f"{frame} {agent} {speed * frame / 10:g} {len(agent)}" for frame in frames)


def test_lines_become_tracks_whatever_stands_between_the_numbers() -> None:
    plain = parse_tracks("780.0\t1.0\t8.5\t3.5\n790.0\t1.0\t9.5\t3.75\n790 2 1 1\n", "a")
    commas = parse_tracks("780,1,8.5,3.5\n790,1,9.5,3.75\n790,2,1,1", "a")
    for recording in (plain, commas):
        first, second = recording.tracks
        assert (recording.every, recording.first, first.agent, second.begin) == (10, 780, "1", 1)
        assert first.points.tolist() == [[8.5, 3.5], [9.5, 3.75]]


def test_boxes_stand_on_the_middle_of_their_lower_side() -> None:
    recording = parse_tracks("1,7,100,50,20,60,1,-1,-1,-1\n2,7,102,50,20,60,1,-1,-1,-1\n", "gt.txt")
    assert recording.tracks[0].points.tolist() == [[110, 110], [112, 110]]


def test_short_gaps_are_filled_and_long_ones_break_a_track() -> None:
    text = "\n".join(straight("7", frames) for frames in (range(0, 40, 10), range(60, 90, 10), range(120, 150, 10)))
    recording = parse_tracks(text, "a", fill=2)
    assert [(track.agent, track.begin, len(track.points)) for track in recording.tracks] == [
        ("7", 0, 9),
        ("7#2", 12, 3),
    ]
    assert recording.tracks[0].points[:, 0].tolist() == list(range(9))
    assert recording.notes == (
        "a: gaps at which a track is broken: 1",
        "a: gaps filled on a straight line: 1",
    )


def test_a_leap_joins_two_agents_and_breaks_the_track() -> None:
    recording = parse_tracks(straight("7", range(0, 50, 10)) + "\n50 7 90 1\n60 7 91 1", "a")
    assert [track.agent for track in recording.tracks] == ["7", "7#2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 1 2 3\n0 1 5 3", "lines 1 and 2: two agents with one id: '1' stands at (2, 3) and (5, 3) in frame 0"),
        ("0 1 2 3\n\n10 1 2", "line 3: expected a whole frame"),
        ("0 1 2 x", "line 1: expected a whole frame"),
        ("0 1 2 nan", "line 1: expected a whole frame"),
        ("0.5 1 2 3", "line 1: expected a whole frame"),
        ("0 1 0 0\n10 1 1 0\n20 1 2 0\n25 1 2 0", "stands in frame 25, which is not a multiple of 10"),
    ],
)
def test_what_is_no_track_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_tracks(text, "street.txt")
    assert says in str(raised.value)
    assert "street.txt" in str(raised.value)


def test_written_tracks_are_read_again(tmp_path: Path) -> None:
    recording = parse_tracks(straight("1", range(0, 50, 10)) + "\n" + straight("22", range(20, 90, 10)), "a")
    write_tracks(recording, tmp_path / "b.txt")
    again = read_tracks(tmp_path / "b.txt")
    for one, two in zip(recording.tracks, again.tracks, strict=True):
        assert (one.agent, one.begin) == (two.agent, two.begin)
        assert one.points.equal(two.points)


TEXT = "\n".join(
    [
        straight("a", range(0, 100, 10)),
        straight("bb", range(30, 100, 10), 2.0),  # comes late
        straight("ccc", range(0, 60, 10)),  # leaves early
        straight("dddd", range(60, 100, 10)),  # comes after the observed steps of the first windows
    ]
)


def test_scenes_are_what_brute_force_finds() -> None:
    recording, split = parse_tracks(TEXT, "a"), Split(observed=4, future=3)
    found = scenes(recording, split)
    for begin, scene in enumerate(found):
        now = begin + 3
        here = [track for track in recording.tracks if track.begin <= now < track.end]
        assert scene.agents == tuple(track.agent for track in here)
        assert scene.frame == 10 * now
        for row, track in enumerate(here):
            for step in range(7):
                at = begin + step - track.begin
                point = scene.past[row, step] if step < 4 else scene.future[row, step - 4]
                if 0 <= at < len(track.points):
                    assert point.equal(track.points[at])
                else:
                    assert point.isnan().all()
        assert scene.whole.tolist() == [track.begin <= begin and track.end >= begin + 7 for track in here]
    assert len(found) == 4
    assert [len(scenes(recording, Split(4, 3, company=n))) for n in (1, 2, 3)] == [4, 1, 0]
    assert len(scenes(recording, Split(4, 3, stride=2))) == 2


def test_who_is_in_a_scene_does_not_depend_on_the_future() -> None:
    split = Split(observed=4, future=3)
    whole = parse_tracks(TEXT, "a")
    other = parse_tracks("\n".join(line for line in TEXT.split("\n") if not line.startswith("90 bb")), "a")
    for one, two in zip(scenes(whole, split), scenes(other, split), strict=True):
        assert one.agents == two.agents
        assert one.past.nan_to_num(-1).equal(two.past.nan_to_num(-1))


def test_a_batch_holds_scenes_one_after_another() -> None:
    found = scenes(parse_tracks(TEXT, "a"), Split(4, 3))
    batch = side_by_side(found)
    assert batch.scene.tolist() == [i for i, scene in enumerate(found) for _ in scene.agents]
    assert batch.past.shape == (len(batch.scene), 4, 2)
    assert int(batch.whole.sum()) == 5


def test_one_file_is_cut_by_time_and_folds_are_chosen_by_name(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(straight("a", range(0, 200, 10)), "utf-8")
    parts = recording_parts(tmp_path / "one.txt", "", (0.5, 0.25, 0.25), read_tracks)
    points = [part[0].tracks[0].points[:, 0].tolist() for part in (parts.train, parts.valid, parts.test)]
    assert points == [list(range(10)), list(range(10, 15)), list(range(15, 20))]
    assert parts.test[0].first == 150
    for fold in ("eth", "zara"):
        for part in ("train", "val", "test"):
            (tmp_path / "folds" / fold / part).mkdir(parents=True)
            (tmp_path / "folds" / fold / part / f"{fold}.txt").write_text(straight("a", range(0, 90, 10)), "utf-8")
    found = recording_parts(tmp_path / "folds", "zara", (0.5, 0.25, 0.25), read_tracks)
    assert found.valid[0].where.endswith("zara/val/zara.txt")
    with pytest.raises(ConfigError, match="one of eth, zara"):
        recording_parts(tmp_path / "folds", "", (0.5, 0.25, 0.25), read_tracks)
    with pytest.raises(ConfigError, match="did you mean 'zara'"):
        recording_parts(tmp_path / "folds", "zaro", (0.5, 0.25, 0.25), read_tracks)
    with pytest.raises(DataError, match="nobody is there in the part 'test'"):
        recording_parts(tmp_path / "one.txt", "", (0.97, 0.02, 0.01), read_tracks)


def test_strides_are_of_steps_in_which_somebody_moves() -> None:
    recording = parse_tracks("0 1 0 0\n10 1 3 4\n20 1 3 4\n", "a")
    assert recording.strides().tolist() == [5.0]
    assert torch.isfinite(recording.tracks[0].points).all()


def test_lines_that_repeat_another_are_counted() -> None:
    recording = parse_tracks("0 1 0 0\n10 1 3 4\n10 1 3 4\n", "a")
    assert len(recording.tracks[0].points) == 2
    assert recording.notes == ("a: lines that repeat another: 1",)
