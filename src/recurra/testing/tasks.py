"""The laws of a task: it learns, answers alike whatever stands beside a question, saves, resumes, streams, refuses.

from recurra.testing import Trial, check_task

print(check_task(Trial(make, Fit(steps=60), ["one line", "another"], lambda m: m["accuracy"] == 1)))
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

from recurra import files
from recurra.config import from_dict, read_toml
from recurra.errors import ContractError, NotCausalError, RunError
from recurra.run import checkpoint
from recurra.run.folder import RunFolder
from recurra.testing.law import EVALUATION, Law, law
from recurra.testing.pupil import Pupil, Trial
from recurra.testing.report import Outcome, Report

__all__ = ["TASK_LAWS", "check_task", "examine_task"]

KNOWN = {".json", ".jsonl", ".png", ".safetensors", ".toml", ""}  # endings of what a run folder may hold


def promise(name: str, family: str, sentence: str, usually: str) -> Any:
    """Decorator: a law of tasks."""
    return law(name, family, sentence, usually, EVALUATION)


def differ(one: Any, two: Any, close: float = 0.0) -> str:
    """Where two answers differ, "" if nowhere: numbers by more than ``close``, of their size if that is over 1."""
    if isinstance(one, float) and isinstance(two, float):
        same = one == two or abs(one - two) <= close * max(1.0, abs(one))
        return "" if same or (math.isnan(one) and math.isnan(two)) else f"{one!r} and {two!r}"
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        found = ((name, differ(one[name], two[name], close)) for name in one)
        return next((f"{name}: {what}" for name, what in found if what), "")
    if isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        found = ((str(i), differ(a, b, close)) for i, (a, b) in enumerate(zip(one, two, strict=True)))
        return next((f"{name}: {what}" for name, what in found if what), "")
    return "" if one == two else f"{one!r} and {two!r}"


def agree(one: Any, two: Any, what: str, close: float = 0.0) -> None:
    """Raise ContractError if two answers differ."""
    if found := differ(one, two, close):
        raise ContractError(f"{what}: {found}")


@promise("untrained", "answers", "an untrained task says so", "`ready` is not asked")
def untrained(pupil: Pupil) -> str:
    try:
        pupil.make().predict(pupil.inputs[0])
    except RunError:
        return ""
    raise ContractError("predict of an untrained task raised no RunError")


@promise(
    "learning", "training", "twenty examples are learned by heart", "a loss that trains nothing, or wrong labels"
)
def learning(pupil: Pupil) -> str:
    measured = pupil.trained.evaluate("valid")
    bad = [name for name, value in measured.items() if not isinstance(value, float | int)]
    if bad:
        raise ContractError(f"measure gave {bad[0]}={measured[bad[0]]!r}, which is no number")
    if not pupil.trial.learned(measured):
        raise ContractError(f"the examples are not known by heart: {measured}")
    return ""


@promise(
    "answers", "answers", "answers are plain values, one an input, the same every time", "tensors, random numbers"
)
def plain_answers(pupil: Pupil) -> str:
    answers = pupil.answers(pupil.trained)
    if len(answers) != len(pupil.inputs):
        raise ContractError(f"{len(pupil.inputs)} inputs gave {len(answers)} answers")
    agree(json.loads(json.dumps(answers)), _lists(answers), "answers and their JSON")
    agree(answers, pupil.answers(pupil.trained), "the same inputs twice")
    agree(pupil.trained.predict_many([]), [], "no inputs")
    return ""


@promise("neighbours", "answers", "an answer does not depend on what is asked beside it", "padding that is read")
def neighbours(pupil: Pupil) -> str:
    task, inputs, close = pupil.trained, pupil.inputs, pupil.trial.close
    together = pupil.answers(task)
    agree(together, [task.predict(raw) for raw in inputs], "all at once and one by one", close)
    agree(together, task.predict_many(inputs[::-1])[::-1], "in order and in reverse", close)
    return ""


@promise(
    "saved", "keeping", "a saved task is the same, bit for bit, and holds only known kinds of file", "`learned`"
)
def saved(pupil: Pupil) -> str:
    before, task = pupil.answers(pupil.trained), pupil.trained
    task.save(pupil.folder / "saved")
    agree(before, pupil.answers(type(task).load(pupil.folder / "saved")), "before and after saving")
    agree(before, pupil.answers(type(task).load(pupil.run)), "the trained task and its run folder")
    strange = [p.name for p in pupil.run.rglob("*") if p.is_file() and p.suffix not in KNOWN]
    if strange:
        raise ContractError(f"the run folder holds {strange[0]}, which is no JSON, TOML, PNG or safetensors")
    return ""


OTHER_PROCESS = """
import importlib, json, socket, sys
def no(*arguments, **names): raise OSError("there is no network")
socket.socket.connect = socket.getaddrinfo = no
import torch
torch.set_num_threads(1)
run, module, name = sys.argv[1:]
task = getattr(importlib.import_module(module), name).load(run)
print(json.dumps(task.predict_many(json.load(sys.stdin))))
"""


@promise(
    "alone", "keeping", "a run folder alone is enough, in another process, without network", "a path outside it"
)
def alone(pupil: Pupil) -> str:
    kind = type(pupil.trained)
    if kind.__module__ in ("__main__", "builtins"):
        return f"no other process can import {kind.__name__} of {kind.__module__}; put it into a module"
    expected, away = pupil.answers(pupil.trained), pupil.examples.with_name("away")
    pupil.examples.rename(away)  # what was learned from is gone
    try:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, str(pupil.run), kind.__module__, kind.__qualname__],
            input=json.dumps(pupil.inputs),
            capture_output=True,
            text=True,
            cwd=pupil.folder,
            env=environment,
        )
    finally:
        away.rename(pupil.examples)
    if done.returncode:
        raise ContractError(f"the other process failed: {done.stderr.strip().splitlines()[-1]}")
    agree(_lists(expected), json.loads(done.stdout.splitlines()[-1]), "here and in another process")
    return ""


@promise("recipe", "keeping", "the recipe in a run folder makes the same task again", "a key that is not a key")
def recipe(pupil: Pupil) -> str:
    task, values = pupil.make(), read_toml(RunFolder(pupil.run).recipe)
    if values.pop("task", None) != task.name:
        raise ContractError("the recipe does not name the task")
    values.pop("fit")
    agree(from_dict(type(task).Config, values), task.config, "the recipe and the configuration")
    return ""


@promise(
    "resumed", "training", "a stopped and resumed training ends with the same bits", "randomness outside the epoch"
)
def resumed(pupil: Pupil) -> str:
    out = pupil.folder / "stopped"
    pupil.stopped(out, max(1, pupil.fit.steps // 2 + 1))
    if any(RunFolder(out).checkpoints.glob(f"step-{pupil.fit.steps:08d}")):
        raise ContractError("Ctrl-C did not stop the training")
    pupil.train(pupil.make(), out, resume=True)
    ends = [checkpoint.newest(RunFolder(path).checkpoints) for path in (pupil.run, out)]
    whole, again = (files.read_tensors(end / "training.safetensors") for end in ends if end is not None)
    wrong = [name for name in whole if not whole[name].equal(again[name])]
    if wrong:
        raise ContractError(f"{wrong[0]} differs between a training in one go and one resumed")
    learned = [files.read_json(RunFolder(path).vocabulary) for path in (pupil.run, out)]
    agree(learned[0], learned[1], "what was learned beside weights")
    return ""


@promise(
    "streamed", "answers", "a stream answers as the whole does, or refuses with the remedy", "a state that is lost"
)
def streamed(pupil: Pupil) -> str:
    task = pupil.trained
    if pupil.trial.streamed is None:
        try:
            task.stream(pupil.inputs[0])
        except NotCausalError:
            return ""
        raise ContractError("the trial says that the task needs the future; its `stream` raised no NotCausalError")
    for raw in pupil.inputs:
        agree(task.predict(raw), pupil.trial.streamed(task, raw), f"whole and streamed {raw!r}", pupil.trial.close)
    return ""


@promise("refusals", "refusals", "bad input gets one clear error of the right class", "a library's own error")
def refusals(pupil: Pupil) -> str:
    for bad in pupil.trial.bad:
        try:
            bad.does(pupil.trained)
        except bad.error as error:
            if bad.says not in str(error) or "\n" in str(error):
                raise ContractError(f"{bad.what}: expected one line with {bad.says!r}, got {error}") from error
        except Exception as error:
            raise ContractError(f"{bad.what}: expected {bad.error.__name__}, got {error!r}") from error
        else:
            raise ContractError(f"{bad.what}: expected {bad.error.__name__}, got an answer")
    return "" if pupil.trial.bad else "the trial names no bad input"


@promise("damage", "refusals", "a damaged run folder is refused", "files that are read without a check")
def damage(pupil: Pupil) -> str:
    folder, kind = RunFolder(pupil.folder / "damaged"), type(pupil.trained)
    pupil.trained.save(folder.path)
    whole = {path: path.read_bytes() for path in (folder.weights, folder.vocabulary, folder.config)}
    for path, content in whole.items():
        for broken in (content[: len(content) // 2], None):
            path.write_bytes(broken) if broken is not None else path.unlink()
            try:
                kind.load(folder.path)
            except RunError:
                path.write_bytes(content)
            except Exception as error:
                raise ContractError(f"{path.name} damaged: expected RunError, got {error!r}") from error
            else:
                raise ContractError(f"{path.name} {'cut off' if broken else 'missing'}: the folder was loaded")
    return ""


TASK_LAWS: dict[str, Law] = {
    found.name: found
    for found in (
        untrained,
        learning,
        plain_answers,
        neighbours,
        saved,
        alone,
        recipe,
        streamed,
        resumed,
        refusals,
        damage,
    )
}


def check_task(trial: Trial, only: str | Iterable[str] | None = None) -> Report:
    """Examine a task by every law, and raise ContractError if it breaks one.

    trial  how to make the task, and what it must learn
    only   names of the laws to try, from `TASK_LAWS`; all by default

    Takes three short trainings. Everything is written to a temporary folder.
    """
    report = examine_task(trial, only)
    if report.broken:
        cause = next(outcome.cause for outcome in report.outcomes if outcome.broken)
        raise ContractError(report.complaint()) from cause
    return report


def examine_task(trial: Trial, only: str | Iterable[str] | None = None) -> Report:
    """`check_task` without the error: the report says which laws are broken, and how."""
    names = list(TASK_LAWS) if only is None else [only] if isinstance(only, str) else list(only)
    with tempfile.TemporaryDirectory(prefix="recurra-") as folder:
        pupil = Pupil(trial, Path(folder))
        name = type(pupil.make()).__name__
        return Report(name, tuple(_examine(TASK_LAWS[law], pupil) for law in names))


def _examine(found: Law, pupil: Pupil) -> Outcome:
    begin, skipped = perf_counter(), ""
    try:
        skipped = found.check(pupil)
    except Exception as error:
        text = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
        return Outcome(found, 0.0, perf_counter() - begin, broken=text, cause=error)
    return Outcome(found, 0.0, perf_counter() - begin, skipped)


def _lists(value: Any) -> Any:
    """A value with lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {name: _lists(inner) for name, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, list | tuple) else value
