"""Joints: files of them, points that were not seen, features that can be streamed, and mirrors."""

import json
import math
from pathlib import Path

import numpy
import pytest
import torch

from recurra.data.joints import Joints, read_joint_parts, read_joints, write_joints
from recurra.data.poses import Mirror, PoseFeatures, Resize, Turn, filled, mirrored
from recurra.errors import ConfigError, DataError, NotCausalError

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "actions" / "jhmdb14_split1_train.npz"
NAN = math.nan


def made(count: int = 4, frames: int = 7, joints: int = 15, directions: int = 2) -> list[Joints]:
    random = torch.Generator().manual_seed(0)
    shapes = [(frames + n, joints, directions) for n in range(count)]
    return [Joints(torch.randn(s, generator=random), ("run", "walk")[n % 2], "") for n, s in enumerate(shapes)]


def test_files_come_back(tmp_path):
    sequences = made()
    sequences[0].x[2, 3] = NAN
    write_joints(tmp_path / "a.npz", sequences)
    rows = [{"joints": s.x.tolist(), "label": s.label} for s in sequences]
    rows[0]["joints"][2][3] = [None, None]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for suffix, place in (("npz", "sequence 2"), ("jsonl", "line 2")):
        found = read_joints(tmp_path / f"a.{suffix}")
        assert [s.label for s in found] == ["run", "walk", "run", "walk"]
        assert found[1].where.endswith(f"a.{suffix}, {place}")
        for one, other in zip(found, sequences, strict=True):
            assert torch.allclose(one.x, other.x, rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"joints": numpy.zeros((5, 3, 2)), "lengths": numpy.array([5])}, "there is no labels"),
        ({"lengths": numpy.array([4])}, "add up to 5 frames"),
        ({"lengths": numpy.array([5, 0]), "labels": numpy.array(["a", "b"])}, "lengths >= 1"),
        ({"joints": numpy.zeros((5, 6))}, r"expected joints \(T, J, 2 or 3\)"),
        ({"joints": numpy.full((5, 3, 2), numpy.inf)}, "infinite numbers; a point that was not seen is NaN"),
        ({"joints": numpy.full((5, 3, 2), NAN)}, "no joint is seen in any frame"),
        ({"labels": numpy.array([""])}, "expected a label, got an empty one"),
        ({"joints": numpy.array([["a"]] * 5)}, "expected numbers"),
        ({"labels": numpy.array([object()], dtype=object)}, "never pickled"),
    ],
)
def test_bad_arrays(arrays, what, tmp_path):
    whole = {"joints": numpy.zeros((5, 3, 2)), "lengths": numpy.array([5]), "labels": numpy.array(["a"])}
    given = arrays if "joints" in arrays and "lengths" in arrays else whole | arrays
    numpy.savez(tmp_path / "a.npz", **given)
    with pytest.raises(DataError, match=what) as caught:
        read_joints(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "line 1: not JSON"),
        ('{"joints": [[[1, 2]]]}', "line 1: expected a JSON object with joints and label"),
        (
            '{"joints": [[[1, 2], [3]]], "label": "a"}',
            "line 1: expected frames of joints of 2 or 3 numbers or null",
        ),
        ('{"joints": [], "label": "a"}', "line 1: expected joints"),
        (
            '{"joints": [[[1, 2]]], "label": "a"}\n{"joints": [[[1, 2, 3]]], "label": "a"}',
            "line 2: expected 1x2 numbers",
        ),
    ],
)
def test_bad_lines(text, what, tmp_path):
    (tmp_path / "a.jsonl").write_text(text, "utf-8")
    with pytest.raises(DataError, match=what):
        read_joints(tmp_path / "a.jsonl")


def test_other_files(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no zip")
    for name, what in (
        ("a.npz", "never pickled"),
        ("b.npz", "no such file"),
        ("b.jsonl", "b.jsonl"),
        ("b.csv", "npz"),
    ):
        with pytest.raises(DataError, match=what):
            read_joints(tmp_path / name)


def test_parts(tmp_path):
    sequences = made(20)
    sequences[0].x[3, 2] = NAN
    write_joints(tmp_path / "train.npz", sequences)
    parts = read_joint_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [16, 2, 2]
    assert "15 joints in 2 directions; 1 of 4950 points were not seen and are held" in parts.notes[0]
    write_joints(tmp_path / "test.npz", [Joints(sequences[0].x, "swim", "")])
    with pytest.raises(DataError, match=r"test.npz, sequence 1: no sequence to learn from has the label 'swim'"):
        read_joint_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)
    write_joints(tmp_path / "test.npz", made(2, joints=3))
    with pytest.raises(DataError, match=r"test.npz, sequence 1: expected 15x2 numbers a frame"):
        read_joint_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)


def test_points_that_are_not_seen_are_held():
    x = torch.arange(24.0).view(4, 3, 2)
    holes = x.clone()
    holes[0] = NAN  # nothing is seen yet
    holes[1, 0] = NAN  # never seen before: the middle of the others
    holes[2, 0, 1] = NAN  # half a point is none
    holes[3, 2] = NAN
    found = filled(holes)
    assert found[0].isnan().all()
    assert found[1, 0].equal(x[1, 1:].mean(0))
    assert found[2, 0].equal(found[1, 0])
    assert found[3, 2].equal(x[2, 2])
    seen = ~holes.isnan().any(2)
    assert found[seen].equal(x[seen])
    assert filled(x) is x


FEATURES = [PoseFeatures(c, s, o) for c in ("frame", "none") for s in ("frame", "none") for o in (0, 1, 2)]


@pytest.mark.parametrize("features", FEATURES, ids=str)
@pytest.mark.parametrize("directions", [2, 3])
def test_streamed_features_equal_the_whole(features, directions):
    x = made(1, 19, 5, directions)[0].x
    x[torch.rand(19, 5, generator=torch.Generator().manual_seed(3)) < 0.4] = NAN
    x[:2] = NAN
    whole = features(x)
    assert whole.shape == (19, features.size(5, directions))
    assert whole.isfinite().all()
    for sizes in ([1] * 19, [2, 7, 10], [19]):
        state, found = features.initial(x), []
        for piece in x.split(sizes):
            part, state = features.push(piece, state)
            found.append(part)
        assert torch.cat(found).equal(whole)


def test_features_by_hand():
    x = made(1, 6, 4)[0].x.double()
    found = PoseFeatures("frame", "frame", 2)(x).view(6, 3, 4, 2)
    for t in range(6):
        middle = x[t].mean(0)
        scale = sum(math.dist(joint, middle) for joint in x[t]) / 4
        assert torch.allclose(found[t, 0], (x[t] - middle) / scale)
        assert torch.allclose(found[t, 1], (x[t] - x[t - 1]) / scale if t else torch.zeros(4, 2).double())
        bent = x[t] - 2 * x[t - 1] + x[t - 2] if t > 1 else torch.zeros(4, 2).double()
        assert torch.allclose(found[t, 2], bent / scale)
    clip = PoseFeatures("clip", "clip", 0)(x)
    assert clip.view(-1, 2).mean(0).abs().max() < 1e-12, "the whole clip has its middle at 0"
    assert torch.allclose(PoseFeatures("clip", "clip", 1)(5 * x + 3), PoseFeatures("clip", "clip", 1)(x))
    assert PoseFeatures()(torch.ones(3, 4, 2)).equal(torch.zeros(3, 16)), "a body in one point"


def test_what_cannot_be_asked():
    with pytest.raises(NotCausalError, match="stream with centre and scale of the frame"):
        PoseFeatures("clip").push(torch.zeros(1, 3, 2), PoseFeatures().initial(torch.zeros(1, 3, 2)))
    for wrong in ({"centre": "body"}, {"scale": ""}, {"orders": 3}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            PoseFeatures(**wrong)


def test_mirrors_and_turns():
    random = torch.Generator().manual_seed(0)
    x = made()[0].x
    other = mirrored(x)
    assert mirrored(other).equal(x)
    assert other[:, 3, 0].equal(-x[:, 4, 0])
    assert other[:, 0, 1].equal(x[:, 0, 1])
    assert Mirror(chance=1.0)(x, random).equal(other)
    assert Mirror(chance=0.0)(x, random) is x
    turned = Turn(30)(x, random)
    assert torch.allclose(turned.norm(dim=2), x.norm(dim=2))
    assert not torch.allclose(turned, x)
    resized = Resize(0.2)(x, random) / x
    assert torch.allclose(resized, resized[:1, :1].expand_as(resized))


@pytest.mark.skipif(not SHARED.exists(), reason="the measured joints are not here")
def test_measured_joints():
    sequences = read_joints(SHARED)
    assert len(sequences) == 433
    assert {len(s.x) for s in sequences} <= set(range(15, 41))
    assert len({s.label for s in sequences}) == 14
    assert PoseFeatures()(sequences[0].x).shape[1] == 60
