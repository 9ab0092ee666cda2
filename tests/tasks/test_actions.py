"""Actions: windows see every frame, a stream says what the whole says, bad input is named."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tasks.trials import actions, moving
from torch import nn

from recurra import Stack, files
from recurra.cli import main
from recurra.data.films import write_video
from recurra.data.joints import Joints, write_joints
from recurra.errors import ConfigError, DataError, NotCausalError, RecurraError, RunError
from recurra.heads.warping import distances, nearest
from recurra.run.fit import Fit
from recurra.tasks.actions import ActionAugment, ActionConfig, ActionData, ActionNet, ActionRecognizer, ActionView
from recurra.tasks.actions_answers import Seen, joined, told, write_actions
from recurra.tasks.actions_films import Films
from recurra.tasks.actions_input import Window, cut
from recurra.tasks.actions_joints import Bodies
from recurra.tasks.actions_layers import Changes, FrameEncoder, Framewise, Places
from recurra.tasks.actions_network import encoder_of
from recurra.tasks.classifier_network import members_of
from recurra.testing import check_layer

FAST = Fit(steps=2, evaluate_every=2)
SMALL = ActionNet(hidden=6, features=5, widths=(4, 6), bidirectional=False, dropout=0.0)


def untrained(model: ActionNet = SMALL, encoder: nn.Module | None = None, **view: Any) -> ActionRecognizer:
    """A recognizer of films with random weights."""
    torch.manual_seed(0)
    config = ActionConfig(view=ActionView(rate=10.0, size=(16, 16), **view), model=model)
    task = ActionRecognizer(config, encoder)
    task.labels = ["left", "right", "stay"]
    task.trained = task.network().eval()
    return task


def bodies(count: int = 12, joints: int = 15) -> list[Joints]:
    """Bodies of which some rise and some fall."""
    random = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        x = torch.randn(1, joints, 2, generator=random) + 0.1 * torch.randn(
            9 + number % 4, joints, 2, generator=random
        )
        rise = torch.arange(len(x))[:, None] * (1.0 if number % 2 else -1.0)
        x[..., 1] += rise
        found.append(Joints(x, "rise" if number % 2 else "fall", f"body {number}"))
    return found


def of_joints(folder: Path, model: ActionNet | None = None, **view: Any) -> ActionRecognizer:
    """A recognizer of joints with random weights."""
    sequences = bodies()
    sequences[0].x[2, 3] = torch.nan
    for part in ("train", "valid", "test"):
        write_joints(folder / f"{part}.npz", sequences)
    net = model or ActionNet(hidden=6, features=0, bidirectional=False)
    task = ActionRecognizer(ActionConfig(ActionData("joints", str(folder), batch=4), ActionView(**view), model=net))
    torch.manual_seed(0)
    task.quiet = True
    task.data()
    task.trained = task.network().eval()
    return task


@pytest.fixture(scope="module")
def joints_task(tmp_path_factory: pytest.TempPathFactory) -> ActionRecognizer:
    return of_joints(tmp_path_factory.mktemp("bodies"), window=6, stride=4)


@pytest.fixture(scope="module")
def films_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    actions(folder).fit(folder / "run", FAST, quiet=True)
    return folder


# Windows.


@pytest.mark.parametrize("count", [1, 5, 6, 7, 9, 12, 30])
@pytest.mark.parametrize(("window", "stride"), [(6, 3), (6, 6), (5, 0), (1, 1), (0, 0)])
def test_windows_see_every_frame_and_those_of_a_stream_are_the_same(count: int, window: int, stride: int) -> None:
    task = untrained(window=window, stride=stride)
    step = task.config.view.step
    spans = cut(count, window, step)
    assert {place for begin, end in spans for place in range(begin, end)} == set(range(count))
    assert all(end - begin == window for begin, end in spans[:-1])
    assert [begin for begin, _ in spans] == [number * step for number in range(len(spans))]
    frames = torch.arange(count)
    assert [(begin, part.tolist()) for begin, part in task._cut(iter(frames))] == [
        (begin, list(range(begin, end))) for begin, end in spans
    ]
    assert cut(count + 1, window, step)[: len(spans) - 1] == spans[:-1]  # what comes later moves none


def test_what_was_done_when_is_the_mean_of_the_windows_there() -> None:
    random = torch.Generator().manual_seed(1)
    seen = [Seen(begin, end, torch.rand(3, generator=random).softmax(0)) for begin, end in cut(23, 6, 3)]
    answer = told(seen, ["a", "b", "c"], 2.0, "film")
    here = [torch.stack([s.chances for s in seen if s.begin <= t < s.end]).mean(0) for t in range(23)]
    said = [next(run for run in answer["actions"] if run["begin"] <= t / 2 < run["end"]) for t in range(23)]
    assert [run["label"] for run in said] == ["abc"[int(chances.argmax())] for chances in here]
    for run in answer["actions"]:
        number, frames = "abc".index(run["label"]), range(int(2 * run["begin"]), int(2 * run["end"]))
        assert run["probability"] == pytest.approx(float(torch.stack([here[t][number] for t in frames]).mean()))
    labels = [run["label"] for run in answer["actions"]]
    assert all(one != two for one, two in pairwise(labels))
    assert answer["seconds"] == 11.5
    assert answer["probabilities"]["b"] == pytest.approx(float(torch.stack([s.chances for s in seen]).mean(0)[1]))


def test_clips_are_the_mean_of_their_windows() -> None:
    logits, rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 1, 2])
    found = joined(logits, rows).exp()
    for row in range(3):
        torch.testing.assert_close(found[row], logits[rows == row].softmax(1).mean(0))


# Streams.

NETS = {
    "gru": SMALL,
    "frames alone": replace(SMALL, sees="frames", layer="mingru", pooling="attentive"),
    "changes alone": replace(SMALL, sees="changes", depth=2, pooling="last"),
    "maps": replace(SMALL, layer="conv_lstm", hidden=3),
    "PredRNN": replace(SMALL, layer="predrnn", hidden=2, depth=2),
    "committee": replace(SMALL, members=2),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("view", [{}, {"window": 5, "stride": 2}], ids=["whole", "windows"])
def test_a_stream_of_frames_says_what_the_whole_says(name: str, view: dict[str, int]) -> None:
    task, film = untrained(NETS[name], **view), moving("left", 13)
    whole, stream = task.predict(film), task.stream(film[:3])
    for frame in film[3:]:
        current = stream.push(frame)
    live = stream.answer()
    assert live["windows"] == [
        {**span, "probability": pytest.approx(span["probability"], abs=1e-5)} for span in whole["windows"]
    ]
    assert live["probabilities"] == pytest.approx(whole["probabilities"], abs=1e-5)
    assert current.seconds == whole["seconds"] == 1.3
    assert not torch.tensor(list(current.probabilities.values())).isnan().any()
    if not view:
        assert current.probabilities == live["probabilities"]
        assert current.label == whole["label"]


def test_joints_with_points_that_are_not_seen_stream_as_the_whole(joints_task: ActionRecognizer) -> None:
    x = bodies(1)[0].x.repeat(3, 1, 1)
    x[torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.3] = torch.nan
    whole, stream = joints_task.predict(x), joints_task.stream()
    for frame in x:
        stream.push(frame)
    live = stream.answer()
    assert len(live["windows"]) == len(whole["windows"]) > 3
    for one, two in zip(live["windows"], whole["windows"], strict=True):
        assert one == {**two, "probability": pytest.approx(two["probability"], abs=1e-5)}
    points = [[[None if v != v else v for v in point] for point in frame] for frame in x.tolist()]
    assert joints_task.predict(json.dumps({"joints": points})) == whole


def test_who_needs_the_future_refuses_to_stream(tmp_path: Path) -> None:
    with pytest.raises(NotCausalError, match=r"model.bidirectional=false"):
        untrained(replace(SMALL, bidirectional=True)).stream()
    with pytest.raises(NotCausalError, match=r"view.centre=frame"):
        of_joints(tmp_path, centre="clip").stream()


# Layers.


@pytest.mark.parametrize(
    "make",
    [
        lambda: Changes((2, 3, 4)),
        lambda: Changes((2, 3, 4), "changes"),
        lambda: Framewise(FrameEncoder((2, 8, 9), (4, 3), 5), (2, 8, 9)),
        lambda: Places((3, 2, 4)),
        lambda: Stack(Changes((1, 3, 3)), Places((2, 3, 3))),
    ],
)
def test_layers_keep_the_laws(make: Any) -> None:
    check_layer(make)


def test_a_background_that_stands_still_is_no_change() -> None:
    film = moving("stay", 4).float()[None]
    assert not Changes((3, 16, 16), "changes")(film)[0].any()
    both = Changes((3, 16, 16))(moving("left", 4).float()[None])[0][0]
    assert both[:, :3].equal(moving("left", 4).float())
    assert both[1:, 3:].equal(moving("left", 4).float().diff(dim=0))


# Encoders.


class Halves(nn.Module):
    """Somebody's encoder: the brightness of both halves of a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * torch.stack([half.mean((1, 2, 3)) for half in x.chunk(2, 3)], 1)


def test_an_encoder_of_ones_own_is_kept_with_its_run(films_folder: Path, tmp_path: Path) -> None:
    given = Halves()
    task = ActionRecognizer(actions(films_folder).config, given)
    task.fit(tmp_path / "own", FAST, quiet=True)
    assert not encoder_of(members_of(task.ready())[0]).weight.equal(given.weight)  # a copy learns
    again = ActionRecognizer.load(tmp_path / "own", Halves())
    assert again.predict(moving("left", 7)) == task.predict(moving("left", 7))
    with pytest.raises(RunError, match="an encoder of its own"):
        ActionRecognizer.load(tmp_path / "own")
    with pytest.raises(RunError, match="without an encoder"):
        ActionRecognizer.load(films_folder / "run", Halves())
    with pytest.raises(ConfigError, match=r"the encoder cannot read frames \(6, 16, 16\)"):
        ActionRecognizer(task.config, nn.Linear(3, 3)).network()


def test_an_encoder_begins_with_given_weights_and_may_stay_as_it_is(films_folder: Path, tmp_path: Path) -> None:
    task, path = actions(films_folder), tmp_path / "encoder.safetensors"
    weights = {
        name: torch.full_like(value, 0.01)
        for name, value in FrameEncoder((6, 16, 16), (8, 8), 12).state_dict().items()
    }
    files.write_tensors(path, weights)
    frozen = replace(task.config.model, encoder=str(path), encoder_pace=0.0)
    begun = ActionRecognizer(replace(task.config, model=frozen))
    begun.fit(tmp_path / "run", FAST, quiet=True)
    found = encoder_of(members_of(begun.ready())[0]).state_dict()
    assert all(found[name].equal(value) for name, value in weights.items())
    files.write_tensors(path, {**weights, "7.weight": torch.zeros(3, 3)})
    with pytest.raises(
        RunError, match=r"encoder.safetensors holds the weights of another network: 7.weight should"
    ):
        begun.fit(tmp_path / "run", FAST, overwrite=True, quiet=True)


# What is learned from, and what is refused.


def test_training_windows_are_drawn_anew_and_stay_in_their_form(joints_task: ActionRecognizer) -> None:
    reader: Any = joints_task.input
    assert isinstance(reader, Bodies)
    body, random = bodies(1)[0], torch.Generator().manual_seed(0)
    drawn = [reader.disturbed(Window(body, 2, 8, 0, 0), random) for _ in range(20)]
    assert {len(x) for x in drawn} <= {5, 6}  # slower ones are cut at the window
    assert all(x.shape[1] == 60 and x.isfinite().all() for x in drawn)
    plain = Bodies(replace(joints_task.config, augment=ActionAugment(0, 1, 1, turn=0, resize=0, noise=0)))
    plain.relearn(reader.learned())
    torch.testing.assert_close(
        plain.disturbed(Window(body, 0, 9, 0, 0), random), reader.read(Window(body, 0, 9, 0, 0)), rtol=0, atol=1e-5
    )
    film: Any = Films(replace(untrained().config, augment=ActionAugment(mirror=1, slow=1, fast=1, crop=1, light=0)))
    assert [type(change).__name__ for change in film.changes] == ["Flip"]


def test_values_that_make_no_sense_are_named() -> None:
    for table, values, says in (
        (ActionData, {"threads": 0}, "data.threads"),
        (ActionData, {"split": (0.5, 0.5)}, "data.split"),
        (ActionView, {"rate": 0.0}, "view.rate"),
        (ActionView, {"size": (64,)}, "view.size"),
        (ActionView, {"window": 4, "stride": 5}, "view.stride"),
        (ActionView, {"orders": 3}, "orders"),
        (ActionAugment, {"mirror": 2.0}, "augment.mirror"),
        (ActionAugment, {"slow": 2.0}, "augment.slow"),
        (ActionAugment, {"crop": 0.0}, "augment.crop"),
        (ActionAugment, {"pairs": (1, 2, 3)}, "augment.pairs"),
        (ActionNet, {"layer": "gruu"}, "did you mean 'gru'"),
        (ActionNet, {"layer": "conv_lstm", "recurrent_dropout": 0.1}, "no product to drop from"),
        (ActionNet, {"kernel": 2}, "model.kernel"),
        (ActionNet, {"widths": ()}, "model.widths"),
        (ActionConfig, {"data": ActionData("joints"), "model": ActionNet(layer="conv_gru")}, "joints need one"),
        (ActionConfig, {"model": ActionNet(features=0)}, "model.features"),
        (
            ActionConfig,
            {"view": ActionView(size=(8, 8)), "model": ActionNet(widths=(4,) * 4)},
            "leave nothing of 8",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            table(**values)
    with pytest.raises(ConfigError, match="joints are read as they are"):
        ActionRecognizer(ActionConfig(ActionData("joints")), Halves())


def test_joints_that_cannot_be_read_are_named(joints_task: ActionRecognizer, tmp_path: Path) -> None:
    inf = torch.zeros(2, 15, 2)
    inf[1, 1] = torch.inf
    for raw, says in (
        (torch.zeros(4, 14, 2), r"expected joints \(T, 15, 2\), got \(4, 14, 2\)"),
        (torch.zeros(0, 15, 2), r"got \(0, 15, 2\)"),
        ("walk.mp4", "predict: not JSON"),
        ("a.npz", "got a file; give --data a.npz"),
        ('{"joints": [[[1, 2], [3]]]}', "frames of joints of 2 or 3 numbers"),
        ({"a": 1}, "expected joints .* as numbers, got dict"),
        (inf, "infinite"),
    ):
        with pytest.raises(DataError, match=says):
            joints_task.predict(raw)
    with pytest.raises(DataError, match=r"push: expected joints \(T, 15, 2\)"):
        joints_task.stream().push([[1.0, 2.0]])
    write_joints(tmp_path / "a.npz", [Joints(bodies(1)[0].x, "swim", "")])
    with pytest.raises(
        DataError, match=r"a.npz, sequence 1: the label 'swim' is not in training; known are 'fall'"
    ):
        joints_task.evaluate(source=str(tmp_path / "a.npz"))
    few = bodies(joints=5)
    write_joints(tmp_path / "few.npz", few)
    task = ActionRecognizer(ActionConfig(ActionData("joints", str(tmp_path / "few.npz"))))
    with pytest.raises(ConfigError, match=r"augment.pairs: there is no joint 14 among 0 to 4"):
        task.data()


def test_short_clips_and_lost_points_are_told(
    joints_task: ActionRecognizer, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ActionRecognizer(replace(joints_task.config, view=ActionView(window=11, stride=5)))
    task.data()
    told_there = capsys.readouterr().err
    assert "6 of 12 clips are shorter than a window of 11 frames and are read as they are" in told_there
    assert "1 of 1890 points were not seen and are held" in told_there


# Measures, pictures, commands.


def test_the_nearest_by_warping_is_that_of_brute_force_and_of_dtaidistance() -> None:
    random = np.random.default_rng(0)
    sequences = [torch.from_numpy(random.normal(size=(length, 3))) for length in (1, 4, 9, 6, 9, 2)]
    for query in sequences:
        found = distances(query, sequences)
        for other, distance in zip(sequences, found.tolist(), strict=True):
            assert distance == pytest.approx(brute(query, other) / (len(query) + len(other)), abs=1e-6)
    assert nearest(sequences, sequences).tolist() == list(range(6))
    library = pytest.importorskip("dtaidistance.dtw_ndim")
    one, two = (sequences[number].numpy() for number in (2, 3))
    theirs = library.distance(one, two, inner_dist="euclidean")
    assert float(distances(sequences[2], [sequences[3]])) * 15 == pytest.approx(theirs)
    with pytest.raises(RecurraError, match="expected sequences"):
        distances(sequences[0], [torch.zeros(3, 4)])


def brute(one: torch.Tensor, two: torch.Tensor) -> float:
    """The cost by its definition."""
    costs = {}
    for i in range(len(one)):
        for j in range(len(two)):
            ways = [costs[w] for w in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if w in costs]
            costs[i, j] = float((one[i] - two[j]).norm()) + min(ways, default=0.0)
    return costs[len(one) - 1, len(two) - 1]


def test_numbers_are_measured_beside_the_nearest_clip(joints_task: ActionRecognizer) -> None:
    measured = joints_task.evaluate("valid")
    assert measured["warping"] == 1  # the same clips
    assert measured["top_5"] == 1  # of two labels
    assert measured["frames_per_second"] > 0
    assert "dynamic time warping" in "\n".join(joints_task.lines(measured))
    assert "warping" not in joints_task.evaluate(source=joints_task.config.data.path + "/test.npz")


def test_pictures_are_drawn(joints_task: ActionRecognizer, films_folder: Path, tmp_path: Path) -> None:
    drawn = joints_task.draw_measured(joints_task.held_out("valid"), tmp_path)
    drawn += joints_task.draw_answer(bodies(1)[0], tmp_path, "body")
    film = str(next((films_folder / "films" / "left").iterdir()))
    drawn += ActionRecognizer.load(films_folder / "run").draw_answer(film, tmp_path, "film")
    names = ["confusion.png", "body.png", "body_memory.png", "film.png", "film_memory.png"]
    assert [path.name for path in drawn] == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_recognised_actions_become_sequences(tmp_path: Path) -> None:
    answers = [{"actions": [{"label": "walk"}, {"label": "wave"}]}, {"actions": [{"label": "run"}]}]
    write_actions(tmp_path / "actions.txt", answers)
    assert (tmp_path / "actions.txt").read_text("utf-8") == "walk wave\nrun\n"
    with pytest.raises(DataError, match="'jumping jack' as one word"):
        write_actions(tmp_path / "actions.txt", [{"actions": [{"label": "jumping jack"}]}])


def test_the_commands_answer_and_watch(
    films_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "long.mkv"
    write_video(film, torch.cat([moving("left", 10), moving("stay", 10)]), 10)
    for arguments in (["watch", films_folder / "run", film], ["watch", films_folder / "run", film, "--json"]):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert stopped.value.code == 0
    said = capsys.readouterr()
    assert said.err.count("20 frames in ") == 2
    lines = [line for line in said.out.split("\n") if line.startswith("{")]
    assert len(lines) == 20
    assert json.loads(lines[-1])["seconds"] == 2
    task = ActionRecognizer.load(films_folder / "run")
    assert task.questions(str(films_folder / "films"))[0].endswith("0.mkv")
    assert len(task.explain().split("\n")) == 1
