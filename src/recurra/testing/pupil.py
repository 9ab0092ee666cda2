"""A task at school: twenty examples to learn by heart, and the runs that come of it."""

import dataclasses
import io
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from recurra.errors import RecurraError
from recurra.run.estimator import Estimator
from recurra.run.fit import Fit

__all__ = ["BadInput", "Pupil", "Trial"]


@dataclass(frozen=True)
class BadInput:
    """An input that must be refused.

    what    it is, in a few words
    does    what a user would do, given a trained task: ``lambda task: task.predict("")``
    error   the class of recurra's error
    says    words that its message must hold: what was expected, what came
    """

    what: str
    does: Callable[[Any], Any]
    error: type[RecurraError]
    says: str


@dataclass(frozen=True)
class Trial:
    """What `check_task` must know of a task.

    make      writes some twenty examples into a folder, and returns the untrained task that learns them; training,
              validation and test part are the same examples
    fit       a training that learns them by heart in seconds
    inputs    raw inputs for `predict`, of different lengths; or a function that makes them in a folder, as files
    learned   whether the numbers of `measure` say that the examples are known by heart
    streamed  the answer to an input by way of `stream`; None for a task that needs the future and must refuse
    bad       inputs that must be refused
    close     largest difference between numbers of two answers that must agree
    """

    make: Callable[[Path], Estimator]
    fit: Fit
    inputs: Sequence[Any] | Callable[[Path], Sequence[Any]]
    learned: Callable[[dict[str, float]], bool]
    streamed: Callable[[Any, Any], Any] | None = None
    bad: Sequence[BadInput] = ()
    close: float = 1e-4


class Pupil:
    """The runs of a trial below ``folder``, each made when it is first asked for."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self.trial, self.folder = trial, folder
        self.examples = folder / "examples"
        self.examples.mkdir()

    def make(self) -> Estimator:
        """A new task, of the same examples."""
        return self.trial.make(self.examples)

    @cached_property
    def inputs(self) -> list[Any]:
        """The trial's inputs."""
        given = self.trial.inputs
        if not callable(given):
            return list(given)
        (self.folder / "inputs").mkdir()
        return list(given(self.folder / "inputs"))

    @cached_property
    def fit(self) -> Fit:
        """The trial's training, the same bits every time."""
        return dataclasses.replace(self.trial.fit, deterministic=True)

    @cached_property
    def run(self) -> Path:
        """The folder of a whole training."""
        self._trained = self.train(self.make(), self.folder / "run")
        return self.folder / "run"

    @cached_property
    def trained(self) -> Estimator:
        """The task that was trained there."""
        assert self.run
        return self._trained

    def train(self, task: Estimator, out: Path, resume: bool = False) -> Estimator:
        """Train ``task`` into ``out``, quietly."""
        with one_thread():
            task.fit(out, self.fit, resume=resume, quiet=True)
        return task

    def stopped(self, out: Path, step: int) -> None:
        """A training that Ctrl-C stops after ``step`` steps."""
        task, calls = self.make(), 0
        loss = task.loss

        def interrupted(network: Any, batch: Any, carry: Any) -> Any:
            nonlocal calls
            calls += network.training
            if calls == step:
                signal.raise_signal(signal.SIGINT)
            return loss(network, batch, carry)

        task.loss = interrupted  # type: ignore[method-assign]
        with redirect_stderr(io.StringIO()):
            self.train(task, out)

    def answers(self, task: Estimator) -> list[Any]:
        """The answers to the trial's inputs."""
        with one_thread():
            return task.predict_many(self.inputs)


@contextmanager
def one_thread() -> Iterator[None]:
    """Deterministic runs change global settings of torch; they are put back."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
        torch.set_rng_state(state)
