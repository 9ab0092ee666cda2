"""Training: resuming after a kill gives the same bits, trouble is told, and nothing is half-written."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from recurra import files
from recurra.errors import ConfigError, RunError, TrainingError
from recurra.run import checkpoint
from recurra.run.fit import Fit, Trainer, learning_rate
from recurra.run.folder import RunFolder
from recurra.run.protocol import Data, Trainable
from recurra.tasks import LanguageModel
from recurra.tasks.language_model import LanguageData, LanguageModelConfig, LanguageNet

QUICK = Fit(steps=12, evaluate_every=5, record_every=2, warmup=2, deterministic=True)


@pytest.fixture(autouse=True)
def _threads():
    """Deterministic runs change global settings of torch; put them back."""
    before = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


def write_text(path: Path, seed: int = 0) -> Path:
    words = ["to", "be", "or", "not", "that", "is", "the", "question", "whether", "nobler", "in", "mind", "suffer"]
    generator = random.Random(seed)
    path.write_text(" ".join(generator.choice(words) for _ in range(1500)) + "\n", encoding="utf-8")
    return path


def model(text: Path, **net: object) -> LanguageModel:
    data = LanguageData(text=str(text), batch=4, window=16)
    settings = {"hidden": 12, "depth": 2, "dropout": 0.2} | net
    return LanguageModel(LanguageModelConfig(data, LanguageNet(**settings)))


def weights(out: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.newest(out / "checkpoints")
    assert newest is not None
    return files.read_tensors(newest / "training.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_and_keeps_the_best(tmp_path: Path) -> None:
    task = model(write_text(tmp_path / "t.txt"), hidden=32, depth=1, dropout=0.0)
    position = task.fit(
        tmp_path / "run", Fit(steps=150, evaluate_every=30, warmup=5, learning_rate=0.02), quiet=True
    )
    records = RunFolder(tmp_path / "run").records()
    first = next(r["loss"] for r in records if "loss" in r)
    valid = [r["valid"]["loss"] for r in records if "valid" in r]
    assert position.finished
    assert position.best == min(valid) < 0.6 * first
    assert abs(task.evaluate("valid")["loss"] - position.best) < 1e-4
    assert (tmp_path / "run" / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_repeats_bit_for_bit(tmp_path: Path) -> None:
    text = write_text(tmp_path / "t.txt")
    for name in "ab":
        model(text).fit(tmp_path / name, QUICK, quiet=True)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    model(text).fit(tmp_path / "c", Fit(**{**QUICK.__dict__, "seed": 1}), quiet=True)
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


CHILD = """
import sys
from recurra.cli import main
main(sys.argv[1:])
"""


def command(text: Path, out: Path, *more: str) -> list[str]:
    sets = ["data.batch=4", "data.window=16", "model.hidden=12", "model.dropout=0.2", "fit.steps=40"]
    sets += ["fit.evaluate_every=7", "fit.save_every=2", "fit.record_every=1", "fit.warmup=2"]
    start = ["--data", str(text), *[part for value in sets for part in ("--set", value)]]
    arguments = ["train", "language_model", "--out", str(out), "--quiet", "--deterministic"]
    return [sys.executable, "-c", CHILD, *arguments, *([] if "--resume" in more else start), *more]


def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    """kill -9, again and again, at moments spread over start, steps and saves: the end is the same to the bit."""
    text = write_text(tmp_path / "t.txt")
    subprocess.run(command(text, tmp_path / "whole"), check=True, timeout=120)
    generator, kills, out = random.Random(7), 0, tmp_path / "killed"
    for attempt in range(30):
        resume = ["--resume"] if (out / "config.json").exists() else []
        if not resume:
            shutil.rmtree(out, ignore_errors=True)
        before = progress(out)
        child = subprocess.Popen(command(text, out, *resume))
        limit = before + generator.randint(1, 9) if attempt < 5 else 10**9
        while child.poll() is None and progress(out) < limit:
            time.sleep(0.0005)
        time.sleep(generator.random() * 0.01)
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            kills += 1
        if child.wait() == 0:
            break
    assert kills >= 4, "too few kills hit a running training"
    assert same(weights(out), weights(tmp_path / "whole"))
    best = [files.read_tensors(run / "model.safetensors") for run in (out, tmp_path / "whole")]
    assert same(*best)
    steps = [
        [(r["step"], r.get("loss"), r.get("valid")) for r in RunFolder(run).records()]
        for run in (out, tmp_path / "whole")
    ]
    assert steps[0] == steps[1]


def progress(out: Path) -> int:
    newest = checkpoint.newest(out / "checkpoints")
    return int(newest.name.rpartition("-")[2]) if newest else 0


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_checkpoint_of_the_same_step_is_replaced_safely(tmp_path: Path, stop: int) -> None:
    """Killed before each rename, there is always a complete checkpoint; the next one clears up."""
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(2))])
    training = checkpoint.Training(nn.Linear(1, 1), optimizer, torch.device("cpu"))
    checkpoint.publish(checkpoint.save(tmp_path, training, {"step": 7}, None))
    path, real = checkpoint.save(tmp_path, training, {"step": 7, "again": 1}, None), Path.rename
    count = 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count > stop:
            raise KeyboardInterrupt
        return real(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        if stop < 2:
            with pytest.raises(KeyboardInterrupt):
                checkpoint.publish(path)
        else:
            checkpoint.publish(path)
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    checkpoint.restore(newest, training)
    checkpoint.publish(checkpoint.save(tmp_path, training, {"step": 9}, None))
    assert [found.name for found in tmp_path.iterdir()] == ["step-00000009"]


def test_resume_does_not_begin_anew_over_a_trained_network(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "t.txt"), tmp_path / "run"
    model(text).fit(out, QUICK, quiet=True)
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(RunError, match="checkpoints is missing, so there is nothing to go on from"):
        model(text).fit(out, QUICK, resume=True, quiet=True)


def test_killed_between_the_first_weights_and_the_first_checkpoint(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "t.txt"), tmp_path / "run"
    model(text).fit(tmp_path / "whole", QUICK, quiet=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            model(text).fit(out, QUICK, quiet=True)
    assert (out / "model.safetensors").exists()
    assert progress(out) == 0
    model(text).fit(out, QUICK, resume=True, quiet=True)
    assert same(weights(out), weights(tmp_path / "whole"))
    steps = [record["step"] for record in RunFolder(out).records() if "loss" in record]
    assert steps == sorted(set(steps)), "the records of the first try are gone"


@pytest.mark.parametrize("moment", ["shared", "process", "publish", "remove"])
def test_killed_inside_the_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A save that stops at any of its four stages leaves a checkpoint that training goes on from."""

    class Killed(BaseException):
        pass

    text = write_text(tmp_path / "t.txt")
    model(text).fit(tmp_path / "whole", QUICK, quiet=True)
    calls = {"count": 0}

    def dies(*_: object, **__: object) -> None:
        calls["count"] += 1
        raise Killed

    task, out = model(text), tmp_path / "run"
    with monkeypatch.context() as patch:
        real_save = checkpoint.save

        def save(*arguments: object) -> Path:
            if arguments[2]["step"] == 10:  # the second save
                if moment == "shared":
                    patch.setattr(files, "write_tensors", dies)
                if moment == "process":
                    patch.setattr(files, "write_json", dies)
                if moment == "publish":
                    patch.setattr(Path, "rename", dies)
                if moment == "remove":
                    patch.setattr(checkpoint.shutil, "rmtree", dies_removing_the_old)
            return real_save(*arguments)

        def dies_removing_the_old(path: Path, **_: object) -> None:
            if path.name == "step-00000005":  # the checkpoint before
                dies()

        patch.setattr(checkpoint, "save", save)
        with pytest.raises(Killed):
            task.fit(out, QUICK, quiet=True)
    assert calls["count"] == 1
    assert progress(out) == (10 if moment in ("publish", "remove") else 5)
    model(text).fit(out, QUICK, resume=True, quiet=True)
    assert same(weights(out), weights(tmp_path / "whole"))


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "t.txt"), tmp_path / "run"
    subprocess.run(command(text, tmp_path / "whole"), check=True, timeout=120)
    child = subprocess.Popen(command(text, out), stderr=subprocess.PIPE, text=True)
    while progress(out) < 4 and child.poll() is None:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"recurra train language_model --out {out} --resume" in errors
    assert "Traceback" not in errors
    subprocess.run(command(text, out, "--resume"), check=True, timeout=120)
    assert same(weights(out), weights(tmp_path / "whole"))


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """torchrun with two CPU processes: every row is trained once, the losses are those of one process."""
    text = write_text(tmp_path / "t.txt")
    runs = {}
    for name, launch in {
        "one": [],
        "two": ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"],
    }.items():
        arguments = command(
            text, tmp_path / name, "--set", "model.dropout=0", "--set", "data.forget=0", "--set", "fit.steps=6"
        )[3:]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run(
            [sys.executable, *launch, "-m", "recurra", *arguments],
            check=True,
            timeout=200,
            env=environment,
            capture_output=True,
        )
        runs[name] = weights(tmp_path / name)
    for name, value in runs["one"].items():
        if name.startswith("network."):
            assert torch.allclose(value, runs["two"][name], atol=2e-4), name
    one, two = (
        [r["valid"]["loss"] for r in RunFolder(tmp_path / n).records() if "valid" in r] for n in ("one", "two")
    )
    assert one == pytest.approx(two, rel=1e-4)


class Broken(Trainable):
    """A task whose loss is not a number at its third batch."""

    def data(self) -> Data:
        class Three:
            def epoch(self, number: int) -> list[int]:
                return [0, 1, 2]

            def shard(self, rank: int, world: int) -> "Three":
                return self

        return Data(Three(), Three(), Three())

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def loss(self, network, batch, carry):
        total = network(torch.ones(1, 1)).sum()
        return (total * float("nan") if batch == 2 else total), 1, None

    def measure(self, network, batches):
        return {"loss": 1.0}


def test_a_loss_that_is_not_finite_says_where_and_what_to_try(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    trainer = Trainer(Broken(), folder, Fit(steps=10, evaluate_every=1), quiet=True)
    with pytest.raises(
        TrainingError, match=r"nan .* at step 3 \(epoch 0, batch 2\); try a lower fit.learning_rate"
    ):
        trainer.run(Broken().data())
    assert progress(tmp_path / "run") == 2


def test_patience_stops_early(tmp_path: Path) -> None:
    class Flat(Broken):
        def loss(self, network, batch, carry):
            return network(torch.ones(1, 1)).sum(), 1, None

    folder = RunFolder(tmp_path / "run")
    folder.create()
    position = Trainer(Flat(), folder, Fit(steps=100, evaluate_every=2, patience=3), quiet=True).run(Flat().data())
    assert (position.step, position.best_step, position.finished) == (8, 2, True)


def test_minutes_end_the_training_with_the_decay(tmp_path: Path) -> None:
    task = model(write_text(tmp_path / "t.txt"))
    position = task.fit(tmp_path / "run", Fit(steps=10**6, minutes=0.02, warmup=1), quiet=True)
    assert position.finished
    assert 0 < position.step < 10**6
    rates = [r["learning_rate"] for r in RunFolder(tmp_path / "run").records() if "loss" in r]
    assert rates[-1] < 0.3 * rates[0]


def test_learning_rate() -> None:
    config = Fit(steps=100, warmup=10, learning_rate=1.0)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 50, 0.5) == pytest.approx(0.5)
    assert learning_rate(config, 99, 1.0) == pytest.approx(0.0)
    assert learning_rate(Fit(decay="none", learning_rate=1.0), 999, 1.0) == 1.0


@pytest.mark.parametrize("name", ["steps", "evaluate_every"])
def test_bad_settings(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Fit(**{name: 0})


def test_folders_are_not_overwritten(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "t.txt"), tmp_path / "run"
    model(text).fit(out, QUICK, quiet=True)
    with pytest.raises(RunError, match="--overwrite"):
        model(text).fit(out, QUICK, quiet=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="not a run folder"):
        model(text).fit(precious, QUICK, overwrite=True, quiet=True)
    assert (precious / "thesis.txt").exists()
    shutil.rmtree(out)
    (out / "checkpoints").mkdir(parents=True)  # killed at once
    model(text).fit(out, QUICK, overwrite=True, quiet=True)


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, out = write_text(tmp_path / "t.txt"), tmp_path / "run"
    real, calls = files.save_file, {"count": 0}

    def full(*arguments: object) -> None:
        calls["count"] += 1
        if calls["count"] > 4:
            raise OSError(28, "No space left on device")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files, "save_file", full)
        with pytest.raises(RunError, match="No space left on device"):
            model(text).fit(out, QUICK, quiet=True)
    assert progress(out) == 5
    assert LanguageModel.load(out).generate("to", 5)
    model(text).fit(out, QUICK, resume=True, quiet=True)
    assert progress(out) == 12


def test_no_pickle_in_a_run_folder(tmp_path: Path) -> None:
    model(write_text(tmp_path / "t.txt")).fit(tmp_path / "run", QUICK, quiet=True)
    kinds = set()
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            kinds.add(path.suffix)
            head = path.read_bytes()[:16]
            assert not head.startswith((b"\x80", b"PK")), f"{path} looks like a pickle or a zip"
    assert kinds == {".toml", ".json", ".jsonl", ".png", ".safetensors", ""}
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file() and not path.suffix] == [
        "complete"
    ]


def test_a_foreign_or_cut_model(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "t.txt"), tmp_path / "run"
    model(text).fit(out, QUICK, quiet=True)
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="not a whole safetensors file"):
        LanguageModel.load(out)
    files.write_tensors(out / "model.safetensors", {"a": torch.zeros(2)})
    with pytest.raises(RunError, match="weights of another network"):
        LanguageModel.load(out)
    values = json.loads((out / "config.json").read_text()) | {"task": "tagger"}
    (out / "config.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match="was not trained by LanguageModel"):
        LanguageModel.load(out)
    with pytest.raises(RunError, match="not a run folder"):
        LanguageModel.load(tmp_path)
