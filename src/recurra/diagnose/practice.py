"""How one network practises one probe: settings, the training loop, and how it ended."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from recurra.config import key
from recurra.diagnose.probe_network import ProbeNetwork, begin_chrono
from recurra.diagnose.probes import Batch, Probe
from recurra.diagnose.probes.base import generator, whole_number
from recurra.errors import ConfigError

__all__ = ["Course", "Practice", "examine", "practise"]

Watch = Callable[[float, int, float, float | None, float], None]  # share, step, loss, newest score, steps a second


@dataclass(frozen=True)
class Practice:
    """How a network learns a probe."""

    steps: int = key(2000, "optimizer steps at most")
    minutes: float = key(0.0, "stop after this much time for one network, with the decay to match; 0: no limit")
    batch: int = key(64, "sequences a step, each seen once")
    learning_rate: float = key(0.003, "highest learning rate of AdamW (Loshchilov and Hutter 2019)")
    warmup: int = key(50, "steps over which the learning rate rises from 0")
    decay: Literal["cosine", "none"] = key("cosine", "how it falls after that, to 0 at the end")
    weight_decay: float = key(0.0, "shrinks all parameters")
    clip: float = key(1.0, "gradients longer than this are scaled down to it (Pascanu et al. 2013); 0: never")
    start: Literal["default", "chrono"] = key(
        "default", "chrono: keeping gates start with memories of 1 .. T steps"
    )
    curriculum: int = key(0, "begin with this length and double it when it is solved; 0: the whole length at once")
    evaluate_every: int = key(100, "steps between validations")
    confirm: int = key(2, "stop early when solved in so many validations in a row; 0: never stop early")
    valid_rows: int = key(256, "sequences of a validation")
    test_rows: int = key(1024, "sequences of the test, which is read once, after training")
    seed: int = key(0, "of the weights and of all data; training, validation and test have their own")
    device: str = key("cpu", "where to train, as torch names it")

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every", "valid_rows", "test_rows"):
            whole_number(f"practice.{name}", getattr(self, name), 1)
        for name in ("warmup", "curriculum", "confirm", "seed"):
            whole_number(f"practice.{name}", getattr(self, name), 0)
        for name in ("minutes", "weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"practice.{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"practice.learning_rate: expected a positive number, got {self.learning_rate}")

    def rate(self, step: int, share: float) -> float:
        """The learning rate at a step (from 0) when ``share`` (0 to 1) of the practice is done."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        fall = (1 + math.cos(math.pi * min(share, 1.0))) / 2 if self.decay == "cosine" else 1.0
        return self.learning_rate * rise * fall


@dataclass
class Course:
    """How a practice went.

    ending  "solved": stopped early; "finished": all steps or minutes; "diverged": loss or gradient not finite
    curve   (step, score) of each validation
    note    what a reader should know beside the numbers
    """

    steps: int = 0
    seconds: float = 0.0
    ending: str = "finished"
    curve: list[tuple[int, float]] = field(default_factory=list)
    note: str = ""


def to_device(batch: Batch, device: str) -> Batch:
    """The batch where the network is."""
    if device == "cpu":
        return batch
    return Batch(*[tensor.to(device) for tensor in (batch.inputs, batch.targets, batch.asked, batch.measured)])


@torch.no_grad()
def examine(network: nn.Module, probe: Probe, batch: Batch, rows: int = 256) -> float:
    """The score of a network on a batch, in pieces of ``rows`` sequences; NaN if an answer is not finite."""
    network.eval()
    answers, wanted = [], []
    for first in range(0, len(batch.inputs), rows):
        piece = slice(first, first + rows)
        answers.append(network(batch.inputs[piece], batch.measured[piece]))
        wanted.append(batch.targets[piece][batch.measured[piece]])
    network.train()
    found = torch.cat(answers)
    return probe.score(found, torch.cat(wanted)) if bool(torch.isfinite(found).all()) else math.nan


class _Lessons:
    """Training batches of the length that the curriculum has reached, and a fixed validation batch of each."""

    def __init__(self, probe: Probe, length: int, practice: Practice) -> None:
        self.probe, self.goal, self.practice = probe.part("train"), length, practice
        self.validation = probe.part("valid")
        self.random = generator(practice.seed, "train", length)
        self.length = min(length, practice.curriculum) if practice.curriculum else length
        self.probe.check_length(self.length)
        self._prepare()

    def _prepare(self) -> None:
        rows = min(self.practice.valid_rows, self.validation.rows or self.practice.valid_rows)
        batch = self.validation.batch(rows, self.length, generator(self.practice.seed, "valid", self.length))
        self.valid = to_device(batch, self.practice.device)

    def next(self) -> Batch:
        batch = self.probe.batch(self.practice.batch, self.length, self.random)
        return to_device(batch, self.practice.device)

    def promote(self) -> bool:
        """Go on to twice the length; false if the whole length is reached."""
        if self.length == self.goal:
            return False
        self.length = min(2 * self.length, self.goal)
        self._prepare()
        return True


def practise(
    network: ProbeNetwork, probe: Probe, length: int, practice: Practice, watch: Watch | None = None
) -> Course:
    """Train a network on a probe, in place, until it is solved or steps or minutes are over."""
    lessons, course, begin = _Lessons(probe, length, practice), Course(), time.perf_counter()
    if practice.start == "chrono" and not begin_chrono(network, length):
        course.note = "it has no gates that chrono knows, so it began by default"
    network.to(practice.device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, weight_decay=practice.weight_decay)
    right, newest = 0, None
    while (share := _share(course, practice, begin)) < 1:
        loss = _step(network, optimizer, lessons, practice, practice.rate(course.steps, share))
        if loss is None:
            course.ending, course.note = "diverged", _diverged(course.steps + 1, practice)
            break
        course.steps += 1
        if course.steps % practice.evaluate_every == 0:
            newest = examine(network, probe, lessons.valid)
            course.curve.append((course.steps, newest))
            solved = probe.is_solved(newest)
            right = 0 if (solved and lessons.promote()) or not solved else right + 1
            if 0 < practice.confirm <= right:
                course.ending = "solved"
                break
        if watch is not None:
            watch(share, course.steps, loss, newest, course.steps / (time.perf_counter() - begin))
    course.seconds = time.perf_counter() - begin
    return course


def _share(course: Course, practice: Practice, begin: float) -> float:
    share = course.steps / practice.steps
    if practice.minutes:
        share = max(share, (time.perf_counter() - begin) / (60 * practice.minutes))
    return share


def _step(
    network: ProbeNetwork, optimizer: torch.optim.Optimizer, lessons: _Lessons, practice: Practice, rate: float
) -> float | None:
    """One optimizer step; the loss, or None if the loss or the gradient is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    batch = lessons.next()
    loss = lessons.probe.loss(network(batch.inputs, batch.asked), batch.wanted)
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), practice.clip or math.inf)
    value = float(loss.detach())
    if not (math.isfinite(value) and math.isfinite(float(norm))):
        return None
    optimizer.step()
    return value


def _diverged(step: int, practice: Practice) -> str:
    return (
        f"loss or gradient not finite at step {step}; try a lower practice.learning_rate "
        f"(now {practice.learning_rate}) or a smaller practice.clip (now {practice.clip})"
    )
