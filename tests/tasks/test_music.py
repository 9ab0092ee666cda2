"""The model of music against brute force: frame by frame, key by key with torch.distributions; and as a program."""

import json
from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli

from recurra.cli import main
from recurra.data.midi import read_midi, write_midi
from recurra.data.rolls import roll_batches
from recurra.errors import ConfigError, RunError, ShapeError
from recurra.layers import LAYERS, Stepwise
from recurra.run.fit import Fit
from recurra.tasks import MusicModel
from recurra.tasks.music import MusicConfig, MusicData, MusicNet, MusicNetwork
from recurra.tasks.piano_roll import draw_piano_roll

pytest.importorskip("mido")

NOTES = pytest.mark.parametrize("notes", ["independent", "nade"])


def tune(length: int, start: int = 0) -> torch.Tensor:
    """Four voices that go round in a circle of four chords."""
    chords = torch.zeros(4, 88, dtype=torch.uint8)
    for row, keys in enumerate(([27, 43, 46, 51], [32, 44, 48, 51], [34, 43, 46, 50], [27, 39, 46, 55])):
        chords[row, keys] = 1
    return chords[(torch.arange(length) // 2 + start) % 4]


def untrained(notes: str, **net: object) -> MusicModel:
    settings = {"hidden": 7, "depth": 2, "units": 6, "notes": notes} | net
    model = MusicModel(MusicConfig(model=MusicNet(**settings)))
    torch.manual_seed(5)
    model.trained = model.network().eval()
    for p in model.trained.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve MIDI files: seven to train, three to validate, two to test."""
    (tmp_path / "midi").mkdir()
    for i in range(12):
        write_midi(tune(9 + i, i), tmp_path / "midi" / f"{i:02d}.mid")
    return tmp_path / "midi"


@NOTES
@torch.no_grad()
def test_measure_equals_frame_by_frame(notes: str) -> None:
    model = untrained(notes)
    rolls = tuple(tune(length) for length in (1, 5, 3, 2))
    total, after_first = 0.0, 0.0
    for roll in rolls:
        state, heard = None, torch.zeros(1, 88)
        for t, frame in enumerate(roll):
            h, state = model.ready().step(heard, state)
            nats = -float(model.ready().head.log_prob(h[0], frame))
            if notes == "independent":
                p = model.ready().head.logits(h[0]).sigmoid()
                assert nats == pytest.approx(-float(Bernoulli(p).log_prob(frame.float()).sum()), rel=1e-5)
            total, after_first = total + nats, after_first + (nats if t else 0.0)
            heard = frame[None].float()
    found = model.measure(model.ready(), roll_batches(rolls, 3))
    assert list(found) == ["loss", "loss_after_first"]
    assert found["loss"] == pytest.approx(total / 11, rel=1e-5)
    assert found["loss_after_first"] == pytest.approx(after_first / 7, rel=1e-5)


@NOTES
def test_rows_alone_equal_rows_in_a_batch_with_gradients(notes: str) -> None:
    network = untrained(notes).ready()
    rolls = [tune(length, length).float() for length in (6, 1, 4)]
    padded = torch.full((3, 9, 88), torch.nan)
    for row, roll in zip(padded, rolls, strict=True):
        row[: len(roll)] = roll
    nats = network(padded, torch.tensor([6, 1, 4]))[0]
    alone = torch.cat([network(roll[None])[0] for roll in rolls])
    assert torch.allclose(nats, alone, rtol=1e-5)
    parameters = list(network.parameters())
    for a, b in zip(*(torch.autograd.grad(x.sum(), parameters) for x in (nats, alone)), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


@NOTES
@torch.no_grad()
def test_no_frame_sees_itself_or_the_future(notes: str) -> None:
    network = untrained(notes).ready()
    roll = tune(8)[None].float()
    whole = network.hear(roll)[0]
    for t in range(8):
        poisoned = roll.clone()
        poisoned[:, t:] = torch.nan
        assert torch.equal(network.hear(poisoned)[0][:, : t + 1], whole[:, : t + 1])
    assert network.hear(poisoned)[0].isfinite().all(), "the last frame is predicted, never heard"
    changed = roll.clone()
    changed[:, 2] = 0
    assert not torch.allclose(network.hear(changed)[0][:, 3], whole[:, 3])


@NOTES
def test_a_stream_equals_the_whole_and_composition_repeats(notes: str) -> None:
    model, roll = untrained(notes), tune(7)
    nats = model.ready()(roll[None].float())[0].tolist()
    stream = model.stream()
    for frame, expected in zip(roll, nats, strict=True):
        assert -stream.next.log_prob(frame) == pytest.approx(expected, rel=1e-4)
        assert stream.push(frame) is stream.next
    first = model.compose(12, roll[:3], temperature=0.8, seed=4)
    assert torch.equal(first, model.compose(12, roll[:3], temperature=0.8, seed=4))
    assert not torch.equal(first, model.compose(12, roll[:3], temperature=0.8, seed=5))
    assert torch.equal(first[:3], roll[:3])
    assert first.shape == (12, 88)
    assert torch.equal(model.compose(2, roll), roll[:2])
    with pytest.raises(ShapeError, match=r"one frame of shape \(88,\)"):
        stream.push(roll)
    with pytest.raises(ConfigError, match="temperature >= 0"):
        model.compose(4, temperature=-1.0)


@NOTES
def test_it_learns_a_tune_by_heart(tmp_path: Path, folder: Path, notes: str) -> None:
    data = MusicData(path=str(folder), batch=4, split=(0.6, 0.2, 0.2))
    net = MusicNet(hidden=32, units=16, notes=notes, layer="gru", dropout=0.0)
    model = MusicModel(MusicConfig(data, net))
    model.fit(tmp_path / "run", Fit(steps=120, learning_rate=0.02, warmup=10, evaluate_every=60), quiet=True)
    assert model.evaluate("test")["loss_after_first"] < 2.0
    again = MusicModel.load(tmp_path / "run")
    assert torch.equal(again.compose(24, tune(4), temperature=0.0), tune(24))
    answer = again.predict(str(folder / "03.mid"))
    assert answer["next"] == ["F3", "F4", "A4", "C5"]
    assert answer["frames"] == 12
    assert answer["nats_per_frame"] == pytest.approx(
        again.evaluate(source=str(folder / "03.mid"))["loss"], rel=1e-4
    )
    assert "fused ran" in again.explain()
    again.save(tmp_path / "copy")
    assert MusicModel.load(tmp_path / "copy").predict(str(folder / "03.mid")) == answer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MusicConfig(model=MusicNet(layer="lsmt")), "unknown layer 'lsmt'; did you mean 'lstm'"),
        (lambda: MusicConfig(model=MusicNet(units=0)), "model.units: expected at least 1, got 0"),
        (lambda: MusicConfig(model=MusicNet(dropout=1.0)), "model.dropout: expected a share from 0 to below 1"),
        (lambda: MusicConfig(data=MusicData(batch=0)), "data.batch: expected at least 1, got 0"),
        (lambda: MusicConfig(data=MusicData(transpose=-1)), "data.transpose: expected 0 to 87 semitones"),
        (lambda: MusicConfig(data=MusicData(step=0.0)), "data.step: expected a positive number"),
        (lambda: MusicConfig(data=MusicData(split=(0.5, 0.5))), "data.split: expected three shares"),
    ],
)
def test_mistakes_in_a_configuration(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_recurrent_dropout_needs_a_gated_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYERS, "other", Stepwise)
    MusicConfig(model=MusicNet(layer="other"))
    with pytest.raises(ConfigError, match="other has no product to drop from"):
        MusicConfig(model=MusicNet(layer="other", recurrent_dropout=0.1))


def test_mistakes_in_a_run_folder() -> None:
    model = MusicModel()
    with pytest.raises(RunError, match="not trained yet"):
        model.compose(3)
    with pytest.raises(RunError, match="knows other keys"):
        model.relearn({"keys": 61, "lowest": 36})


def test_a_picture_is_drawn_and_silence_refused(tmp_path: Path) -> None:
    draw_piano_roll(tune(6), tmp_path / "a.png", "tune", prompt=2)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ShapeError, match="silence"):
        draw_piano_roll(torch.zeros(4, 88), tmp_path / "b.png")


# The command line: train, evaluate, predict, compose, resume, and one clear line for each mistake.

SMALL = [
    "model.hidden=8",
    "model.notes=nade",
    "model.units=8",
    "fit.steps=8",
    "fit.evaluate_every=4",
    "fit.warmup=1",
]
SETS = [part for value in [*SMALL, "fit.deterministic=true"] for part in ("--set", value)]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.use_deterministic_algorithms", lambda value: None)  # would stay on for later tests

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        return caught.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def run(call, folder: Path) -> Path:
    out = folder.parent / "run"
    code, printed, _ = call("train", "music", "--data", folder, "--out", out, "--quiet", *SETS)
    assert (code, "trained to step 8; best" in printed) == (0, True)
    return out


def test_train_evaluate_compose(call, run: Path, folder: Path) -> None:
    losses = [json.loads(line)["valid"]["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[1] < losses[0], "training helps"
    code, out, _ = call("evaluate", run, "--json")
    assert code == 0
    assert json.loads(out).keys() == {"loss", "loss_after_first"}
    arguments = ["--prompt", folder / "02.mid", "--given", "5", "--length", "20", "--seed", "3"]
    code, out, _ = call("compose", run, "--out", run / "a.mid", *arguments)
    assert (code, "20 frames, 5 of them given" in out) == (0, True)
    written = read_midi(run / "a.mid")
    assert written.shape == (20, 88)
    assert torch.equal(written[:5], tune(11, 2)[:5])
    assert (run / "a.png").stat().st_size > 5000
    call("compose", run, "--out", run / "b.mid", "--prompt", "train:2", *arguments[2:])
    assert torch.equal(read_midi(run / "b.mid"), written)


def test_a_stopped_run_goes_on_to_the_same_bits(call, run: Path, folder: Path) -> None:
    out = folder.parent / "again"
    settings = [part.replace("fit.steps=8", "fit.steps=4") for part in SETS] + ["--set", "fit.decay=none"]
    call("train", "music", "--data", folder, "--out", out, "--quiet", *settings)
    assert call("train", "music", "--out", out, "--resume", "--quiet", "--set", "fit.steps=8")[0] == 0
    whole = [*SETS, "--set", "fit.decay=none", "--overwrite"]
    assert call("train", "music", "--data", folder, "--out", run, "--quiet", *whole)[0] == 0
    assert (run / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


MISTAKES = [
    (["train", "music", "--out", "{tmp}/o", "--data", "{tmp}/absent.mat"], "no such file"),
    (["train", "music", "--out", "{tmp}/o", "--data", "{tmp}/bad.mat"], "not a whole MATLAB file"),
    (["train", "music", "--out", "{tmp}/o", "--data", "{tmp}"], "at least three MIDI files"),
    (["train", "music", "--out", "{tmp}/o", "--set", "model.note=nade"], "did you mean 'notes'?"),
    (["train", "musik", "--out", "{tmp}/o", "--data", "x"], "unknown task 'musik'; did you mean 'music'?"),
    (["compose", "{tmp}/none"], "is not a run folder"),
    (["compose", "{tmp}/none", "--out", "{tmp}/a.wav"], "a file that ends in .mid"),
    (["compose", "{tmp}/none", "--out", "{tmp}/absent/a.mid"], "in a folder that exists"),
    (["compose", "{tmp}/none", "--out", "{tmp}/one.mid"], "--overwrite"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_each_mistake_is_one_line_and_exit_code_two(
    call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_midi(tune(4), tmp_path / "one.mid")
    (tmp_path / "bad.mat").write_bytes(b"no matrix")
    code, out, err = call(*[argument.format(tmp=tmp_path) for argument in arguments])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_mistakes_with_a_trained_run(call, run: Path) -> None:
    for arguments, message in (
        (["compose", run, "--out", run / "a.mid", "--prompt", "test:99"], "expected test:0 to test:1"),
        (["compose", run, "--out", run / "a.mid", "--prompt", run / "config.json"], "cannot read"),
        (["compose", run, "--out", run / "a.mid", "--transpose", "200"], "leave the range of MIDI"),
        (["generate", run], "generate needs a language model"),
    ):
        code, out, err = call(*arguments)
        assert (code, out, err.count("\n"), message in err) == (2, "", 1, True), err


def test_transposition_is_for_training_only(folder: Path) -> None:
    model = MusicModel(MusicConfig(data=MusicData(path=str(folder), transpose=5)))
    data = model.data()
    notes = [
        [
            {tuple(roll.nonzero()[0].tolist()) for b in part.epoch(number) for roll in b.frames}
            for number in range(9)
        ]
        for part in (data.train, data.valid, data.test)
    ]
    assert [all(epoch == part[0] for epoch in part) for part in notes] == [False, True, True]
    assert isinstance(model.network(), MusicNetwork)
