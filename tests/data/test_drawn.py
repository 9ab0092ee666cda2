"""What is drawn from a seed: moving digits and figures, by name too, and films and series from packages."""

import pickle

import numpy
import pytest
import torch

from recurra.data import figures, movements, moving_digits, sources
from recurra.data.bouncing import MovingDigits, of_part, read_digit_table
from recurra.data.clips import read_shot_parts
from recurra.data.drawn import draw
from recurra.data.joints import read_joint_parts
from recurra.data.preparations import drawings, exercises, films
from recurra.data.series import read_series
from recurra.errors import ConfigError, DataError


def glyphs(count: int = 20) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(1, 17, (count, 8, 8), generator=random, dtype=torch.uint8)


def test_digits_move_evenly_and_bounce():
    images = torch.full((1, 8, 8), 16, dtype=torch.uint8)
    sequence = MovingDigits(images, 5, 3, frames=60, size=64, digits=1)[2][:, 0]
    assert sequence.unique().tolist() == [0, 255]
    for axis in (1, 2):
        begins = sequence.amax(axis).int().argmax(1)  # the first row or column with a digit
        steps = begins.diff()
        assert ((sequence > 0).sum((1, 2)) == 28 * 28).all(), "it never leaves the frame"
        assert 0 <= int(begins.min()) < int(begins.max()) <= 64 - 28
        inner = (begins[1:] > 4) & (begins[1:] < 32) & (begins[:-1] > 4) & (begins[:-1] < 32)
        assert steps[inner].abs().max() - steps[inner].abs().min() <= 1, "as fast everywhere, but for rounding"
        turned = steps.sign().unique()
        assert {-1, 1} <= set(turned.tolist()), "it comes back from the wall"


def test_sequences_are_the_same_for_a_seed_and_others_for_another():
    one, other = MovingDigits(glyphs(), 4, 1), MovingDigits(glyphs(), 9, 1)
    assert one[3].equal(other[3])
    assert one[-1].equal(one[3])
    assert [s.shape for s in one[1:3]] == [(20, 1, 64, 64)] * 2
    assert not one[0].equal(one[1])
    assert not one[0].equal(MovingDigits(glyphs(), 4, 2)[0])
    assert len(list(one)) == 4
    with pytest.raises(IndexError):
        one[4]
    for wrong in ({"total": 0}, {"size": 7}, {"images": glyphs(0)}):
        with pytest.raises(ConfigError, match="moving digits"):
            MovingDigits(**{"images": glyphs(), "total": 1} | wrong)


def test_parts_share_no_digit():
    images = glyphs(50)
    parts = {part: of_part(images, part, 2, 0).images for part in ("train", "valid", "test")}
    assert [len(found) for found in parts.values()] == [40, 5, 5]
    assert len({image.numpy().tobytes() for found in parts.values() for image in found}) == 50
    seeds = {of_part(images, part, 2, seed).seed for part in parts for seed in range(3)}
    assert len(seeds) == 9
    with pytest.raises(ConfigError, match="train, valid, test"):
        of_part(images, "dev", 2)


def test_digits_of_the_library_or_by_name(tmp_path, monkeypatch):
    sklearn = pytest.importorskip("sklearn.datasets")
    images = moving_digits.digit_images()
    assert images.double().equal(torch.from_numpy(sklearn.load_digits().images))
    table = tmp_path / "digits.csv"
    table.write_text("".join(",".join(map(str, [*image.flatten().tolist(), 0])) + "\n" for image in images))
    monkeypatch.setattr(moving_digits.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sources, "get", lambda name: {"moving-digits": tmp_path}[name])
    assert moving_digits.moving_digits("test", 3, 5)[1].equal(of_part(images, "test", 3, 5)[1])
    table.write_text("1,2,3\n")
    with pytest.raises(DataError, match="expected 64 numbers"):
        read_digit_table(table)


def test_figures_are_the_same_for_a_seed_and_people_differ_by_part():
    one, other = (list(figures.figures("train", 1, seed, frames=4, size=32)) for seed in (0, 0))
    assert [film.action for film in one] == list(figures.ACTIONS)
    assert all(a.frames.equal(b.frames) and a.joints.equal(b.joints) for a, b in zip(one, other, strict=True))
    assert one[0].frames.shape == (4, 3, 32, 32)
    assert one[0].joints.shape == (4, 15, 2)
    valid = next(figures.figures("valid", 1, 0, frames=4, size=32))
    assert not valid.frames.equal(one[0].frames)
    assert not next(figures.figures("train", 1, 1, frames=4, size=32)).frames.equal(one[0].frames)
    for wrong in (("dev", 1), ("train", 0)):
        with pytest.raises(ConfigError):
            figures.figures(*wrong)


def test_a_figure_stands_where_its_joints_are(monkeypatch):
    """Before a black background without noise, what is seen is around the joints, and all of it."""
    monkeypatch.setattr(figures, "GRAIN", 0.0)
    monkeypatch.setattr(figures, "_background", lambda size, random: torch.zeros(3, size, size))
    for film in figures.figures("valid", 1, 3, frames=3, size=64):
        for frame, joints in zip(film.frames, film.joints, strict=True):
            seen = frame.int().sum(0) > 0
            row, column = seen.nonzero().T
            away = ((column[:, None] + 0.5 - joints[:, 0]) ** 2 + (row[:, None] + 0.5 - joints[:, 1]) ** 2).sqrt()
            assert away.min(1).values.max() < 12, film.action
            inside = ((joints > 1) & (joints < 63)).all(1)
            places = joints[inside].long()
            assert seen[places[:, 1], places[:, 0]].float().mean() > 0.9, film.action


def test_bodies_keep_their_lengths_and_stand_on_the_ground():
    body = movements.Body()
    lengths = {
        (0, 1): body.trunk,
        (3, 7): body.upper_arm,
        (8, 12): body.forearm,
        (5, 9): body.thigh,
        (10, 14): body.shank,
    }
    times = torch.arange(24) / 12
    for action in movements.ACTIONS:
        found = movements.joints(body, action, times, 0.3, 1.0)
        for (start, end), length in lengths.items():
            spans = (found[:, start] - found[:, end]).norm(dim=1)
            assert torch.allclose(spans, torch.full_like(spans, length), atol=1e-5)
        lowest = found[:, 13:, 1].amin(1)
        assert (lowest > -1e-6).all()
        assert lowest.min() < 0.1, "it comes down again"
        moved = (found - found[:, 1:2]).diff(dim=0).norm(dim=2).amax()
        assert moved > 0.02, "and moves"
    left, right = (movements.joints(body, "wave", times, 0, side) for side in (1.0, -1.0))
    mirror = right[:, [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13]] * torch.tensor([-1, 1, 1])
    assert torch.allclose(left, mirror, atol=1e-6)


def test_drawn_sets_are_read_as_any_other(tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.setattr(drawings, "FILMS", {"train": 1, "valid": 1, "test": 1})
    drawings.draw_figures(tmp_path)
    shots = read_shot_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)
    joints = read_joint_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)
    for part in ("train", "valid", "test"):
        films_, bodies = getattr(shots, part), getattr(joints, part)
        assert [shot.label for shot in films_] == [body.label for body in bodies] == sorted(figures.ACTIONS)
    monkeypatch.setattr(drawings, "SEQUENCES", {"test": 2})
    drawings.draw_digits(tmp_path, glyphs())
    with numpy.load(tmp_path / "test.npz", allow_pickle=False) as file:
        assert torch.from_numpy(file["frames"])[1].equal(of_part(glyphs(), "test", 2)[1])


def test_a_seed_of_one_s_own(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(drawings, "SEQUENCES", {"test": 1})
    for seed in (0, 1):
        draw("moving-digits", tmp_path / str(seed), seed)
        with numpy.load(tmp_path / str(seed) / "test.npz", allow_pickle=False) as file:
            assert torch.from_numpy(file["frames"])[0].equal(moving_digits.moving_digits("test", 1, seed)[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    with pytest.raises(ConfigError, match="is there already"):
        draw("moving-digits", tmp_path / "0", 0)
    with pytest.raises(ConfigError, match="did you mean 'figures'"):
        draw("figure", tmp_path / "2", 0)


def test_boxes_become_paths(tmp_path):
    for name in films.TRACKS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "gt.txt").write_text("2,1,10,20,4,30,1,-1,-1,-1\n1,7,0,0,5,9,1,-1,-1,-1\n", "utf-8")
    films.prepare_tracks(tmp_path, tmp_path)
    assert (tmp_path / "campus.txt").read_text("utf-8") == "1\t7\t2.5\t9\n2\t1\t12\t50\n"
    (tmp_path / "TUD-Campus" / "gt.txt").write_text("2,a,10,20,4,30,1,-1,-1,-1\n", "utf-8")
    with pytest.raises(DataError, match=r"gt.txt of TUD-Campus, line 1: expected frame, person"):
        films.prepare_tracks(tmp_path, tmp_path)


class Bomb:
    """What runs a program when a pickle is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


def test_exercises_are_taken_out_of_a_pickle_that_is_never_loaded(tmp_path, monkeypatch):
    random = numpy.random.default_rng(0)
    recordings = [numpy.asfortranarray(random.standard_normal((20 + n, 6))) for n in range(14)]
    labels, people = numpy.arange(14) % 7, numpy.arange(14) % 5
    content = {"X": recordings, "y": labels, "subject": people, "side": labels.astype(float), "bomb": Bomb()}
    packed = b"\x93NUMPY\x01\x00v\x00{}\n" + pickle.dumps(content, protocol=2)
    (tmp_path / "watch_dataset.npy").write_bytes(packed)
    monkeypatch.setattr(exercises, "RECORDINGS", 14)
    exercises.prepare(tmp_path, tmp_path)
    for part, numbers in (("test", (0, 5, 10)), ("valid", (1, 6, 11)), ("train", (2, 3, 4, 7, 8, 9, 12, 13))):
        found, _ = read_series(tmp_path / f"{part}.ts")
        assert [series.label for series in found] == [exercises.LABELS[n % 7] for n in numbers]
        for series, number in zip(found, numbers, strict=True):
            assert numpy.abs(series.x.numpy() - recordings[number]).max() < 1e-4
