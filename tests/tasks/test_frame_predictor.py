"""Next frames: scores follow their definitions, streams equal the whole, held-out parts are not trained on."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.tasks.trials import frames as trial
from tests.tasks.trials import walking_dot
from torch import Tensor

from recurra.cli import main
from recurra.config import from_dict
from recurra.data.films import write_video
from recurra.data.video import describe, read_clip
from recurra.errors import ConfigError, DataError, RecurraError, RunError, ShapeError
from recurra.heads.frame_scores import frame_scores, psnr, ssim
from recurra.run.protocol import Batches
from recurra.tasks.frames import FramePredictor, FramesAugment, FramesConfig, FramesData, FramesLoss, FramesNet
from recurra.tasks.frames_data import FilmReader, digits, film_place
from recurra.tasks.frames_network import FORMS, FrameNetwork
from recurra.tasks.frames_output import Motion
from recurra.tasks.frames_pictures import Example, draw_next, draw_prediction
from recurra.tasks.frames_scores import RULES, scored, steps, summary, table
from recurra.tasks.frames_stream import as_bytes


def slow_ssim(x: Tensor, y: Tensor) -> float:
    """Wang et al. 2004, one window after the other: frames (M, N) in float64."""
    side = min(11, *x.shape)
    side -= 1 - side % 2
    window = torch.tensor(
        [
            [math.exp(-(i * i + j * j) / 4.5) for j in range(-(side // 2), side // 2 + 1)]
            for i in range(-(side // 2), side // 2 + 1)
        ]
    ).double()
    window = window / window.sum()
    values = []
    for row in range(x.shape[0] - side + 1):
        for column in range(x.shape[1] - side + 1):
            a, b = (part[row : row + side, column : column + side] for part in (x, y))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            both = (window * (a - ma) * (b - mb)).sum()
            top = (2 * ma * mb + 0.0001) * (2 * both + 0.0009)
            values.append(float(top / ((ma**2 + mb**2 + 0.0001) * (va + vb + 0.0009))))
    return sum(values) / len(values)


@pytest.mark.parametrize("size", [(13, 17), (11, 11), (8, 19)])
def test_ssim_is_the_published_one(size: tuple[int, int]) -> None:
    x, y = torch.rand(2, 2, 3, *size, dtype=torch.float64)
    found = ssim(x, (0.7 * x + 0.3 * y))
    for row in range(2):
        slow = [slow_ssim(x[row, c], 0.7 * x[row, c] + 0.3 * y[row, c]) for c in range(3)]
        assert float(found[row]) == pytest.approx(sum(slow) / 3, abs=1e-9)
    assert ssim(x, x).tolist() == pytest.approx([1.0, 1.0])


def test_scores_of_a_frame() -> None:
    came = torch.rand(2, 4, 3, 12, 13)
    found = frame_scores((came + 0.1), came)
    assert torch.allclose(found["mse"], torch.tensor(0.01))
    assert torch.allclose(found["mae"], torch.tensor(0.1))
    assert torch.allclose(found["psnr"], torch.tensor(20.0), atol=1e-3)
    assert found["ssim"].shape == (2, 4)
    assert float(psnr(torch.tensor(0.0))) == pytest.approx(100)
    with pytest.raises(ShapeError, match="of one shape"):
        frame_scores(came, came[:, :3])


def test_rules_go_on() -> None:
    known = torch.rand(2, 5, 1, 6, 7)
    copy, line = (RULES[name](known, 3) for name in ("copy", "linear"))
    for step in range(3):
        assert copy[:, step].equal(known[:, -1])
        wanted = known[:, -1] + (step + 1) * (known[:, -1] - known[:, -2])
        torch.testing.assert_close(line[:, step], wanted.clamp(0, 1))


def test_sums_are_means_over_clips_and_steps() -> None:
    known, came = torch.rand(5, 3, 1, 11, 11), torch.rand(5, 2, 1, 11, 11)
    found = torch.rand(5, 2, 1, 11, 11)
    parts = [scored(found[:2], known[:2], came[:2], 1.0), scored(found[2:], known[2:], came[2:], 1.5)]
    means, each = summary(parts), steps(parts)
    assert means["mse"] == pytest.approx(float((found - came).square().mean()))
    assert means["copy_mae"] == pytest.approx(float((known[:, -1:] - came).abs().mean()))
    assert each["mse_2"] == pytest.approx(float((found - came)[:, 1].square().mean()))
    assert means["frames_per_second"] == pytest.approx(10)
    lines = table(means | each)
    assert len(lines) == 1 + 3 * 3 + 1
    assert sum(line.count("*") for line in lines) == 3 * 4


def network(form: str = "autoregressive", shape: tuple[int, int, int] = (1, 9, 7), **keys: object) -> FrameNetwork:
    """A small network with outputs that are not as they begin."""
    torch.manual_seed(0)
    config = FramesNet(form=form, **({"hidden": 5, "patch": 2, "reach": 1} | keys))  # type: ignore[arg-type]
    found = FORMS[form](config, shape).eval()
    for parameter in found.output.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return found


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("layer", "output"),
    [("conv_lstm", "paint"), ("layer_norm_conv_gru", "change"), ("predrnn", "motion")],
)
def test_any_pieces_are_the_whole(form: str, layer: str, output: str) -> None:
    found = network(form, layer=layer, output=output)
    x = torch.rand(2, 6, *found.shape)
    whole, seen = found(x, 4), None
    for piece in x.split([1, 3, 2], 1):
        _, seen = found.read(piece, seen)
    assert seen is not None
    torch.testing.assert_close(found.ahead(seen, 4), whole.frames, rtol=0, atol=1e-5)
    torch.testing.assert_close(found(x[:1], 2).frames, whole.frames[:1, :2], rtol=0, atol=1e-5)
    other = found(x.flip(1), 4).frames
    assert not torch.allclose(other - x[:, :1], whole.frames - x[:, -1:], atol=1e-4)  # what was before counts


@torch.no_grad()
def test_known_frames_are_predicted_from_those_before() -> None:
    found = network()
    x = torch.rand(1, 5, *found.shape)
    known = found(x, 1, 4).known
    assert known.shape == (1, 4, *found.shape)
    torch.testing.assert_close(found(x, 1, 2).known, known[:, 2:])
    assert found(x, 1).known.shape[1] == network("forecaster")(x, 1, 4).known.shape[1] == 0
    for count in range(1, 5):
        torch.testing.assert_close(found(x[:, :count], 1).frames[:, 0], known[:, count - 1], rtol=0, atol=1e-5)


@torch.no_grad()
def test_what_it_predicted_it_reads_as_if_it_were_seen() -> None:
    found = network(output="paint")
    x = torch.rand(1, 4, *found.shape)
    frames = found(x, 3).frames
    again = found(torch.cat([x, frames[:, :2]], 1), 1).frames
    torch.testing.assert_close(again[:, 0], frames[:, 2], rtol=0, atol=1e-5)


@torch.no_grad()
def test_motion_moves() -> None:
    moving = Motion(3, 2, FramesNet(reach=2, patch=2))
    x, h = torch.rand(1, 2, 8, 6), torch.rand(1, 3, 4, 3)
    for weights in moving.weights(h):
        torch.testing.assert_close(weights[:, 2], torch.full((1, 8, 6), 0.95))
    bias = moving.ways.bias
    assert bias is not None
    torch.nn.init.zeros_(bias)
    torch.nn.init.normal_(moving.ways.weight)
    rows, columns = moving.weights(h)
    wide = torch.nn.functional.pad(x, [2] * 4, mode="replicate")
    slow = sum(rows[:, i] * columns[:, j] * wide[..., i : i + 8, j : j + 6] for i in range(5) for j in range(5))
    torch.testing.assert_close(moving(h, x), slow)
    moving.ways.weight.zero_()
    bias.view(2, 5, 4)[0, 3] = bias.view(2, 5, 4)[1, 0] = 50.0  # one below, two to the left
    moved = moving(h, x)
    torch.testing.assert_close(moved[:, :, :-1, 2:], x[:, :, 1:, :-2])
    torch.testing.assert_close(moved[:, :, -1, 2:], x[:, :, -1, :-2])  # beyond a side it goes on as at the side


@torch.no_grad()
def test_a_new_network_changes_little() -> None:
    for output, most in (("change", 0.0), ("motion", 0.11)):
        x = torch.rand(1, 3, 3, 7, 6)
        found = FORMS["forecaster"](FramesNet(output=output, hidden=4, patch=4), (3, 7, 6))  # type: ignore[arg-type]
        assert float((found(x, 1).frames - x[:, -1:]).abs().max()) <= most


def film(path: Path, count: int, size: tuple[int, int] = (8, 12), channels: int = 1) -> Path:
    """Frame n is of brightness n + 10."""
    levels = torch.arange(10, 10 + count, dtype=torch.uint8)
    write_video(path, levels.view(-1, 1, 1, 1).expand(-1, channels, *size), 25)
    return path


def levels(batches: Batches) -> list[list[int]]:
    """The numbers of the frames of all clips."""
    rows = []
    for batch in batches.epoch(0):
        for known, came in zip(batch.known, batch.came, strict=True):
            rows.append([int(frame[0, 0, 0]) - 10 for frame in (*known, *came)])
    return rows


def reader(path: Path, **keys: object) -> FilmReader:
    return FilmReader(from_dict(FramesConfig, {"data": {"path": str(path), "known": 3, "ahead": 2} | keys}))


def test_a_film_is_cut_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "a.mkv", 40)
    assert read_clip(path, describe(path).rate).frames.equal(read_clip(path).frames)
    monkeypatch.setattr("recurra.tasks.frames_data.STRETCH", 9)  # several stretches, from which no clip is missing
    found = reader(path, split=[0.5, 0.25, 0.25], batch=4).found()
    assert sorted(levels(found.data.train)) == [list(range(n, n + 5)) for n in range(16)]
    assert levels(found.data.valid) == [list(range(n, n + 5)) for n in range(20, 26)]
    assert levels(found.data.test) == [list(range(n, n + 5)) for n in range(30, 36)]
    assert found.shape == (1, 8, 12)
    assert "20 frames of a.mkv, 16 clips" in found.notes[0]
    assert levels(reader(path, stride=4).read(str(path), found.shape))[1] == [4, 5, 6, 7, 8]


def test_a_variable_frame_rate_is_taken_by_time(tmp_path: Path) -> None:
    """Forty pictures, shown for 120 and 40 ms in turn: a frame every 80 ms meets the longer ones twice."""
    first, *rest = [Image.new("L", (12, 8), 6 * number) for number in range(40)]
    times = [40 if number % 2 else 120 for number in range(40)]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=times)
    found = reader(tmp_path / "a.gif").found()
    shown = [batch.known[:, 0, 0, 0, 0] for batch in found.data.train.epoch(0)]
    assert sorted(torch.cat(shown).tolist()) == [12 * (number // 2) for number in range(24)]
    again = reader(tmp_path / "a.gif", rate=25.0).read(str(tmp_path / "a.gif"), found.shape)
    assert [clip[:, 0, 0, 0].tolist() for clip in again.epoch(0)[0].known][:2] == [
        [0, 0, 0],
        [0, 0, 6],
    ]  # every 40 ms


def test_training_clips_are_changed(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 40)
    config = FramesConfig(FramesData(path=str(path), known=3, ahead=2), FramesAugment(backward=1.0))
    found = FilmReader(config).found().data
    assert all(row == sorted(row, reverse=True) for row in levels(found.train))
    assert all(row == sorted(row) for row in levels(found.valid))


def test_digits_never_come_twice_and_held_out_ones_always_do() -> None:
    config = FramesConfig(FramesData(known=2, ahead=1, clips=3, batch=2, size=(16, 16)))
    one, two = digits(config).data, digits(config).data
    seen = [clip for epoch in range(2) for number in range(3) for clip in one.train.epoch(epoch)[number].known]
    assert not any(a.equal(b) for i, a in enumerate(seen) for b in seen[:i])
    assert two.train.epoch(1)[2].known.equal(one.train.epoch(1)[2].known)
    assert one.train.shard(1, 2).epoch(0)[0].known[0].equal(one.train.epoch(0)[0].known[1])
    for part in ("valid", "test"):
        assert getattr(one, part).epoch(0)[0].came.equal(getattr(two, part).epoch(1)[0].came)
    assert not one.valid.epoch(0)[0].known.equal(one.test.epoch(0)[0].known)


def broken(place: Path, kind: str) -> None:
    """Ask for what cannot be."""
    if kind == "no video":
        (place / "a.avi").write_text("hello")
        reader(place / "a.avi").found()
    elif kind == "empty":
        (place / "a.avi").write_bytes(b"")
        reader(place / "a.avi").found()
    elif kind == "short":
        reader(film(place / "a.mkv", 30)).found()
    elif kind == "sizes":
        film(place / "a.mkv", 40), film(place / "b.mkv", 40, (8, 14))
        reader(place).found()
    elif kind == "parts":
        (place / "train").mkdir()
        reader(place).found()
    elif kind == "nothing":
        reader(place).found()
    elif kind == "not in the set":
        film_place("video-clips/carfone.mp4")
    elif kind == "long":
        digits(FramesConfig(FramesData(size=(16, 18))))
    elif kind == "coloured":
        digits(FramesConfig(FramesData(colours="rgb")))


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("no video", DataError, "expected a whole video"),
        ("empty", DataError, "is empty"),
        ("short", DataError, "the part '(valid|test)' of .*a.mkv has 4 frames, expected 3 known ones and 2 ahead"),
        ("sizes", DataError, "b.mkv has 8 x 14 pixels, .* give data.size"),
        ("parts", DataError, "expected folders train, valid and test, valid is missing"),
        ("nothing", DataError, "expected films"),
        ("not in the set", DataError, "holds no 'carfone.mp4'; there are bikes.mp4"),
        ("long", ConfigError, "moving digits are square"),
        ("coloured", ConfigError, "moving digits are grey"),
    ],
)
def test_what_cannot_be_is_one_clear_error(
    kind: str, error: type[RecurraError], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "not in the set":
        films = tmp_path / "films"
        films.mkdir()
        film(films / "bikes.mp4", 5)
        monkeypatch.setattr("recurra.tasks.frames_data.place_of", lambda name: films)
    with pytest.raises(error, match=says):
        broken(tmp_path, kind)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FramesData(known=1), "data.known: expected at least 2"),
        (lambda: FramesData(ahead=0), "data.ahead"),
        (lambda: FramesData(rate=-1.0), "data.rate"),
        (lambda: FramesData(size=(3,)), "data.size"),
        (lambda: FramesAugment(mirror=2.0), "augment.mirror"),
        (lambda: FramesNet(layer="conv_lstn"), "did you mean 'conv_lstm'"),
        (lambda: FramesNet(kernel=4), "take 5"),
        (lambda: FramesLoss(mse=0.0), "expected a weight above 0"),
    ],
)
def test_keys_are_checked(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_what_is_mended_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "images"
    film(tmp_path / "a.gif", 40, (9, 12), 3)
    folder.mkdir()
    for number, picture in enumerate(walking_dot(0, 40)):
        write_video(folder / f"{number}.gif", picture[None], 1)
        (folder / f"{number}.gif").rename(folder / f"{number}.png")
    data = FramesData(path=str(tmp_path), size=(9, 12), known=3, ahead=2, colours="rgb")
    task = FramePredictor(FramesConfig(data, model=FramesNet(hidden=2, depth=1)))
    parts = task.data()
    said = capsys.readouterr().err
    assert "9 x 12 pixels are no whole patches of 4" in said
    assert "images: its 6 x 12 pixels are made 9 x 12" in said
    assert parts.valid.epoch(0)[0].known.shape[2:] == (3, 9, 12)
    task.trained = task.network()
    answer = task.predict(str(folder))
    assert answer["read"] == 40
    assert len(answer["frames"]) == 2
    assert len(answer["frames"][0]) == 3
    with pytest.raises(DataError, match="expected frames"):
        task.predict(torch.zeros(4, 3, 9, 13, dtype=torch.uint8))
    with pytest.raises(DataError, match="push a frame first"):
        task.stream().ahead(1)
    with pytest.raises(DataError, match="expected a frame"):
        task.stream().push(torch.zeros(3, 9, 12))
    with pytest.raises(RunError, match="no shape"):
        task.relearn({"shape": [1, 2], "rate": 1.0})


def test_losses_are_sums_over_frames() -> None:
    came = torch.rand(2, 3, 1, 4, 4)
    found = torch.rand(2, 3, 1, 4, 4)
    for weights, wanted in (
        (FramesLoss(), (found - came).square()),
        (FramesLoss(mse=0.0, l1=2.0), 2 * (found - came).abs()),
        (FramesLoss(mse=0.0, bce=1.0), -came * found.log() - (1 - came) * (1 - found).log()),
    ):
        off = FramePredictor(FramesConfig(loss=weights))._off(found, came)
        torch.testing.assert_close(off, wanted.mean((2, 3, 4)).sum())


def test_a_single_frame_ahead_is_drawn_beside_others(tmp_path: Path) -> None:
    examples = [Example(torch.rand(4, 1, 6, 8), torch.rand(1, 1, 6, 8), torch.rand(1, 1, 6, 8)) for _ in range(3)]
    draw_next(examples, tmp_path / "next.png")
    draw_prediction(as_bytes(examples[0].known), as_bytes(examples[0].found), tmp_path / "one.png")
    assert all(read_clip(tmp_path / name).frames.float().var() > 100 for name in ("next.png", "one.png"))


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert trial(tmp_path).name == "frames"
    run, shown = str(tmp_path / "run"), tmp_path / "shown"
    keys = ["data.known=3", "data.ahead=3", "model.hidden=3", "model.patch=2", "fit.steps=2", "data.batch=20"]
    train = ["train", "frames", "--video", str(tmp_path), "--out", run, "--quiet"]
    for arguments in (
        train + [part for key in keys for part in ("--set", key)],
        ["evaluate", run, "--part", "valid", "--pictures", str(shown)],
        ["predict", run, "--data", str(tmp_path / "test" / "3.mkv"), "--pictures", str(shown)],
        ["explain", run],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    for words in (
        "copy",
        "step 3, network",
        "frames a second, decoding included",
        "10 frames read",
        "ConvLSTM(8 -> 3",
    ):
        assert words in said
    drawn = {path.name for path in shown.iterdir()}
    clips = {f"{name}.{kind}" for name in ("00001", "clip_1", "clip_3") for kind in ("png", "mp4", "gif")}
    assert drawn >= {"maps.png", "errors.png"} | clips
