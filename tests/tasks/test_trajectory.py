"""Paths: nothing of the future is read, nothing of the place is known, and scores are what brute force finds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tasks.trials import trajectory

from recurra.cli import main
from recurra.data.scenes import PathBatch, Split, scenes, side_by_side
from recurra.data.tracks import Recording, parse_tracks
from recurra.errors import ConfigError
from recurra.run.fit import Fit
from recurra.tasks.trajectory import TrajectoryPredictor
from recurra.tasks.trajectory_config import TrajectoryAugment, TrajectoryNet, TrajectoryScore
from recurra.tasks.trajectory_data import augmented
from recurra.tasks.trajectory_network import Futures, PathNetwork
from recurra.tasks.trajectory_scores import constant_velocity, linear_fit, scores

NETS = {
    "alone": TrajectoryNet(embedding=8, hidden=9, futures=3, code=4),
    "social": TrajectoryNet(embedding=8, hidden=9, futures=3, code=4, social="grid", cells=3),
}


def crowd() -> Recording:
    """Twelve people who come and go, and turn."""
    random, lines = np.random.default_rng(0), []
    for agent in range(12):
        at, angle = random.normal(size=2) * 3, random.uniform(0, 6)
        for step in range(int(random.integers(0, 12)), int(random.integers(14, 30))):
            lines.append(f"{10 * step} {agent} {at[0]:.4f} {at[1]:.4f}")
            angle += random.normal() * 0.1
            at = at + 0.5 * np.array([math.cos(angle), math.sin(angle)])
    return parse_tracks("\n".join(lines), "crowd")


def network(kind: str) -> PathNetwork:
    torch.manual_seed(1)
    found = PathNetwork(NETS[kind], 4, 0.5).eval()
    torch.nn.init.normal_(found.step.weight, std=0.3)
    return found


@pytest.mark.parametrize("kind", NETS)
def test_what_comes_later_changes_nothing(kind: str) -> None:
    found, whole = network(kind), crowd()
    for scene in scenes(whole, Split(8, 4))[::3]:
        now = (scene.frame - whole.first) // whole.every
        kept = [track for track in whole.tracks if track.begin <= now]
        poisoned = tuple(
            track._replace(
                points=torch.where(
                    torch.arange(len(track.points))[:, None] <= now - track.begin, track.points, 1e30
                )
            )
            for track in kept
        )
        others = scenes(replace(whole, tracks=poisoned), Split(8, 4))
        (other,) = [one for one in others if one.frame == scene.frame]
        past = [one.past[[one.agents.index(agent) for agent in scene.agents]] for one in (scene, other)]
        paths = [found.futures(part, torch.zeros(len(part))).paths for part in past]
        assert paths[0].equal(paths[1])


@pytest.mark.parametrize("kind", NETS)
def test_a_turned_and_moved_street_turns_and_moves_its_futures(kind: str) -> None:
    found, batch = network(kind).double(), side_by_side(scenes(crowd(), Split(8, 4))[:3])
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]]).double()
    moved = lambda points: points @ turn.T + torch.tensor([30.0, -7.0]).double()
    past = batch.past.double()
    one, two = found.futures(past, batch.scene), found.futures(moved(past), batch.scene)
    torch.testing.assert_close(moved(one.paths), two.paths, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.logits, two.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", NETS)
def test_scenes_do_not_see_each_other(kind: str) -> None:
    found, parts = network(kind), scenes(crowd(), Split(8, 4))[:3]
    batch = side_by_side(parts)
    together = found.futures(batch.past, batch.scene).paths
    alone = [found.futures(part.past, torch.zeros(len(part.past))).paths for part in parts]
    torch.testing.assert_close(together, torch.cat(alone))


def test_neighbours_matter_only_to_those_who_see_them() -> None:
    batch = side_by_side(scenes(crowd(), Split(8, 4))[:1])
    moved = batch.past.clone()
    moved[0, :, 0] += 0.7
    for kind, matters in (("alone", False), ("social", True)):
        one, two = (network(kind).futures(past, batch.scene).paths[1:] for past in (batch.past, moved))
        assert one.equal(two) != matters


def test_an_untrained_network_goes_on_as_before() -> None:
    batch = side_by_side(scenes(crowd(), Split(8, 4)))
    paths = PathNetwork(TrajectoryNet(), 4, 0.5).futures(batch.past, batch.scene).paths[:, 0]
    torch.testing.assert_close(paths, constant_velocity(batch.past, 4), rtol=0, atol=1e-2)


def test_the_linear_fit_is_that_of_least_squares() -> None:
    past = torch.randn(5, 8, 2).double()
    past[3, :5] = torch.nan
    past[4, :7] = torch.nan
    found = linear_fit(past, 3)
    for row, points in enumerate(past):
        here = ~points.isnan().any(-1)
        times = np.arange(-7, 1)[here.numpy()]
        for axis in range(2):
            line = np.polyfit(times, points[here, axis].numpy(), min(1, len(times) - 1))
            np.testing.assert_allclose(found[row, :, axis], np.polyval(line, [1, 2, 3]), atol=1e-9)


def test_scores_are_the_sums_written_out() -> None:
    batch = side_by_side(scenes(crowd(), Split(8, 4))[2:5])
    torch.manual_seed(2)
    paths = batch.past[:, -1:, None] + torch.randn(len(batch.past), 3, 4, 2).cumsum(2)
    found, score = Futures(paths, torch.randn(len(paths), 3)), TrajectoryScore(miss=1.0, collision=0.6)
    sums, want = scores(found, batch, score), dict.fromkeys(("ade", "fde", "min_ade", "min_fde"), 0.0)
    misses = collisions = 0
    for a in batch.whole.nonzero()[:, 0].tolist():
        off = [[math.dist(paths[a, k, t], batch.future[a, t]) for t in range(4)] for k in range(3)]
        best = 0
        want["ade"] += sum(off[best]) / 4
        want["fde"] += off[best][3]
        want["min_ade"] += min(sum(row) / 4 for row in off)
        want["min_fde"] += min(row[3] for row in off)
        misses += min(row[3] for row in off) > 1
        mine, others = (
            found.expected[a],
            [b for b in range(len(paths)) if b != a and batch.scene[b] == batch.scene[a]],
        )
        collisions += any(math.dist(mine[t], found.expected[b, t]) < 0.6 for b in others for t in range(4))
    assert sums.agents == int(batch.whole.sum())
    assert {name: sums.sums[name] for name in want} == pytest.approx(want, rel=1e-5)
    assert (sums.sums["miss_rate"], sums.sums["collision_rate"]) == (misses, collisions)
    assert collisions > 0


def test_augmentation_moves_past_and_future_alike() -> None:
    batch = side_by_side(scenes(crowd(), Split(8, 4)))
    same = augmented(batch, TrajectoryAugment(mirror=0), 0.5, torch.Generator())
    assert same.past.nan_to_num(-1).equal(batch.past.nan_to_num(-1))
    assert same.error.eq(0).all()
    found = augmented(batch, TrajectoryAugment(mirror=1, size=0.2, turn=0.1), 0.5, torch.Generator().manual_seed(1))
    factor = (found.future / batch.future)[batch.whole]
    assert factor.std(1).max() < 1e-4
    assert (factor[..., 0] * factor[..., 1] < 0).all()  # mirrored
    for number in batch.scene.unique():
        ratio = (found.past / batch.past)[batch.scene == number].flatten(0, 1)
        ratio = ratio[~ratio.isnan().any(-1)]
        assert (ratio - ratio[:1]).abs().max() < 1e-3
    noisy = augmented(batch, TrajectoryAugment(mirror=0, noise=0.2), 0.5, torch.Generator().manual_seed(1))
    assert noisy.future.nan_to_num(-1).equal(batch.future.nan_to_num(-1))
    spread = (noisy.past - batch.past)[batch.whole].flatten(1).std(1)
    assert 0 < spread.min() < 0.5 * spread.max() < 0.1
    late = augmented(batch, TrajectoryAugment(shorten=1), 0.5, torch.Generator().manual_seed(1))
    left = (~late.past.isnan().any(-1)).sum(1)[batch.whole]
    assert set(left.tolist()) >= {2, 5, 8}
    assert int(left.min()) == 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrajectoryPredictor:
    folder = tmp_path_factory.mktemp("walks")
    task = trajectory(folder)
    task.fit(folder / "run", Fit(steps=4, evaluate_every=4), quiet=True)
    return task


def test_pictures_of_scenes_and_errors_are_drawn(trained: TrajectoryPredictor, tmp_path: Path) -> None:
    drawn = trained.draw_measured(trained.held_out("valid"), tmp_path)
    drawn += trained.draw_answer("0,0 1,0 2,0.5", tmp_path, "answer")
    assert [path.name for path in drawn] == ["errors.png", "scene_1.png", "answer.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert "step by step" in trained.explain()


def test_a_file_is_answered_for_those_who_are_there_at_its_end(
    trained: TrajectoryPredictor, tmp_path: Path
) -> None:
    text = "0 1 0 0\n10 1 1 0\n20 1 2 0\n10 2 5 5\n20 2 5 4\n0 3 9 9\n10 3 9 8"
    (tmp_path / "street.txt").write_text(text, "utf-8")
    answer = trained.predict(str(tmp_path / "street.txt"))
    assert list(answer["agents"]) == ["1", "2"]
    assert answer == trained.predict({"1": [(0, 0), (1, 0), (2, 0)], "2": [(5, 5), (5, 4)]})
    chances = [future["probability"] for future in answer["agents"]["1"]["futures"]]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1)


def test_who_leaves_is_forgotten(trained: TrajectoryPredictor) -> None:
    stream = trained.stream([{"a": (0, 0), "b": (1, 1)}, {"a": (1, 0)}])
    again = stream.push({"a": (2, 0), "b": (3, 1)})
    assert again == trained.predict({"a": [(0, 0), (1, 0), (2, 0)], "b": [(3, 1)]})
    assert stream.steps == 3


@pytest.mark.parametrize(
    ("table", "values", "says"),
    [
        (TrajectoryNet, {"reach": 0.0}, "model.reach"),
        (TrajectoryNet, {"futures": 0}, "model.futures"),
        (TrajectoryAugment, {"mirror": 1.5}, "augment.mirror"),
        (TrajectoryScore, {"miss": -1.0}, "score.miss"),
    ],
)
def test_values_that_make_no_sense_are_named(table, values, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        table(**values)


def test_gradients_of_a_perfect_path_are_numbers() -> None:
    found = network("alone")
    past = torch.arange(8.0)[:, None].expand(8, 2)[None].clone()
    future = found.futures(past, torch.zeros(1)).paths[:, 0].detach()
    batch = PathBatch(past, future, torch.zeros(1).long(), torch.tensor([True]), torch.zeros(1))
    found(batch)[0].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in found.parameters())


def test_a_film_is_named_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "trajectory", "--data", "a.txt", "--video", "b.avi", "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert "--data and --video say the same" in capsys.readouterr().err
