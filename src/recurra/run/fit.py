"""Training: one small loop that knows a task by its protocol only.

Hugging Face Accelerate carries devices, precision and processes. The learning rate, the data and the noise are
functions of the seed and the step, so a resumed run goes through the same numbers as one that never stopped.
"""

import math
import signal
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any, Literal

import accelerate
import torch
from torch import Tensor, nn

from recurra import files
from recurra.config import key
from recurra.errors import ConfigError, RunError, TrainingError
from recurra.run import checkpoint, curves
from recurra.run.average import WeightAverage
from recurra.run.blame import blame
from recurra.run.checkpoint import Training
from recurra.run.folder import RunFolder
from recurra.run.progress import ProgressBar
from recurra.run.protocol import Batches, Data, Trainable
from recurra.run.watch import Watch

__all__ = ["Fit", "Position", "Trainer", "learning_rate"]


@dataclass(frozen=True)
class Fit:
    """How to train; the table [fit] of a recipe."""

    steps: int = key(2000, "optimizer steps")
    minutes: float = key(0.0, "stop after this much training time, with the decay to match; 0: no limit")
    learning_rate: float = key(0.003, "highest learning rate of AdamW (Loshchilov and Hutter 2019)")
    warmup: int = key(100, "steps over which the learning rate rises from 0")
    decay: Literal["cosine", "linear", "none"] = key("cosine", "how it falls after that, to 0 at the end")
    weight_decay: float = key(0.01, "shrinks matrices; biases and other vectors are left alone")
    clip: float = key(1.0, "gradients longer than this are scaled down to it (Pascanu et al. 2013); 0: never")
    average: float = key(0.0, "decay of a running average of the weights, which is what is kept; 0: the last ones")
    evaluate_every: int = key(200, "steps between validations; each also saves a checkpoint")
    save_every: int = key(0, "further checkpoints every so many steps; 0: none")
    record_every: int = key(10, "steps between the lines of metrics.jsonl")
    patience: int = key(0, "stop after so many validations without a better result; 0: never")
    precision: Literal["float32", "bfloat16"] = key("float32", "bfloat16: faster products, weights stay float32")
    seed: int = key(0, "of the weights, the dropout and everything else that is random")
    deterministic: bool = key(False, "the same bits every time, on one thread: slower")

    def __post_init__(self) -> None:
        for name in ("steps", "evaluate_every", "record_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fit.{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("minutes", "warmup", "weight_decay", "clip", "save_every", "patience"):
            if getattr(self, name) < 0:
                raise ConfigError(f"fit.{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0 <= self.average < 1:
            raise ConfigError(f"fit.average: expected a decay from 0 to below 1, got {self.average}")
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"fit.learning_rate: expected a positive number, got {self.learning_rate}")


@dataclass
class Position:
    """Where a run stands: what a checkpoint keeps beside tensors."""

    step: int = 0
    epoch: int = 0
    index: int = 0  # batches done in this epoch
    seconds: float = 0.0  # of training, with what follows
    loading: float = 0.0  # seconds that batches were waited for
    validating: float = 0.0
    best: float = math.inf
    best_step: int = 0
    worse: int = 0  # validations since the best one
    loss: float = 0.0  # sum since the last record
    count: int = 0
    finished: bool = False


def learning_rate(config: Fit, step: int, share: float) -> float:
    """The rate at a step (from 0) when ``share`` (0 to 1) of the training is done."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    fall = {"cosine": (1 + math.cos(math.pi * share)) / 2, "linear": 1 - share, "none": 1.0}[config.decay]
    return config.learning_rate * rise * max(fall, 0.0)


class _Signals(AbstractContextManager["_Signals"]):
    """Ctrl-C and SIGTERM ask for a stop after the current step; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: signals go elsewhere
                break
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Trainer:
    """One training run of a task into a folder.

    ``run(resume)`` trains to the end, or until Ctrl-C, and returns the `Position`: ``finished`` says which. The
    folder then holds a checkpoint to go on from and the best weights so far.
    """

    def __init__(self, task: Trainable, folder: RunFolder, config: Fit, quiet: bool = False) -> None:
        self.task, self.folder, self.config = task, folder, config
        if config.deterministic:
            torch.use_deterministic_algorithms(True)
            torch.set_num_threads(1)
        precision = {"float32": "no", "bfloat16": "bf16"}[config.precision]
        # Accelerate joins several processes on processors only if it is told that there is nothing else.
        only_processors = not torch.accelerator.is_available()
        self.accelerator = accelerate.Accelerator(cpu=only_processors, mixed_precision=precision)
        self.main = self.accelerator.is_main_process
        self.quiet = quiet or not self.main
        self.position, self.carry = Position(best=-math.inf if task.maximize else math.inf), None
        self.saved = -1  # the step of the newest checkpoint
        self.watch = Watch(config.clip)

    def run(self, data: Data, resume: bool = False) -> Position:
        """Train; ``resume`` goes on from the newest checkpoint of the folder."""
        torch.manual_seed(self.config.seed)
        own = self.task.network()
        if not resume or checkpoint.newest(self.folder.checkpoints) is None:  # nothing was saved: it begins again
            self.task.begin(own)
        groups = [group for part in self.task.parts(own).items() for group in _groups(*part, self.config)]
        optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate, fused=True)
        self.network, wrapped = self.accelerator.prepare(own, optimizer)
        self.optimizer = wrapped
        own = self.accelerator.unwrap_model(self.network, keep_fp32_wrapper=True)
        average = WeightAverage(own, self.config.average) if self.config.average else None
        self.training = Training(own, wrapped.optimizer, self.accelerator.device, average)
        torch.manual_seed(self.config.seed + 1 + self.accelerator.process_index)
        if resume:
            self._restore()
        batches = data.train.shard(self.accelerator.process_index, self.accelerator.num_processes)
        with _Signals() as signals, ProgressBar(self.quiet, self.task.unit) as bar:
            while not self.position.finished and not self._epoch(batches, data, signals, bar):
                pass
        return self.position

    def _restore(self) -> None:
        path = checkpoint.newest(self.folder.checkpoints)
        if not self.folder.checkpoints.is_dir():
            raise RunError(
                f"{self.folder.checkpoints} is missing, so there is nothing to go on from; "
                "use the network that was trained here as it is, or train anew with --overwrite"
            )
        if path is None:  # stopped before the first checkpoint: begin again
            if self.main:
                self.folder.rewind(0)
            return
        progress, self.carry = checkpoint.restore(path, self.training, self.accelerator.process_index)
        self.position = Position(**progress)
        tired = 0 < self.config.patience <= self.position.worse
        self.position.finished = self.position.finished and (tired or self.position.step >= self.config.steps)
        if self.main:
            self.folder.rewind(self.position.step)
            self.watch.told |= {r["warning"]["what"] for r in self.folder.records() if "warning" in r}

    def _epoch(self, batches: Batches, data: Data, signals: _Signals, bar: ProgressBar) -> bool:
        """The rest of one pass over the training data; true if the run stops."""
        passing = batches.epoch(self.position.epoch)
        while self.position.index < len(passing):
            begin = time.perf_counter()
            share, stop = self._agree(signals.asked)
            if stop or share >= 1:
                self.position.finished = share >= 1
                self._finish(data, bar)
                return True
            loss, count, norm = self._step(passing, share)
            self._account(loss, count, norm, time.perf_counter() - begin, bar)
            if self._due(self.config.evaluate_every) and self._validate(data, bar):
                return True
            if self._due(self.config.save_every) and self.saved < self.position.step:
                self._save()
        self.position.epoch += 1
        self.position.index, self.carry = 0, None
        return False

    def _due(self, every: int) -> bool:
        return every > 0 and self.position.step % every == 0

    def _agree(self, stop: bool) -> tuple[float, bool]:
        """What share of the training is done and whether to stop: the same in all processes."""
        share, position = self.position.step / self.config.steps, self.position
        if self.config.minutes:
            share = max(share, position.seconds / (60 * self.config.minutes))
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([share, float(stop)], device=self.accelerator.device)
            share, stopping = self.accelerator.reduce(mine, reduction="mean").tolist()
            stop = stopping > 0
        return share, stop

    def _step(self, passing: Sequence[Any], share: float) -> tuple[float, int, float]:
        """One optimizer step; returns the sum of the losses, their count and the gradient norm."""
        position = self.position
        self._set_rates(share)
        begin = time.perf_counter()
        batch = _to(passing[position.index], self.accelerator.device)
        position.loading += time.perf_counter() - begin
        before = self.carry
        total, count, self.carry = self.task.loss(self.network, batch, before)
        everywhere = self.accelerator.reduce(torch.tensor(float(count), device=total.device), reduction="sum")
        # Gradients are averaged over processes, so each one's share of the mean is scaled by their number.
        mean = total * self.accelerator.num_processes / everywhere.clamp(min=1)
        self.accelerator.backward(mean)
        self._forget_frozen()
        limit = self.config.clip or math.inf
        norm = float(self.accelerator.clip_grad_norm_(self.network.parameters(), limit))
        value = float(total.detach())
        if not math.isfinite(value) or not math.isfinite(norm):
            raise self._not_finite(value, norm, self._blame(batch, before))
        if self.main and (position.step + 1) % self.config.record_every == 0:
            self.watch.look(position.step + 1, self.training.network)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.training.average is not None:
            self.training.average.update()
        position.step, position.index = position.step + 1, position.index + 1
        return value, count, norm

    def _set_rates(self, share: float) -> None:
        self.rate = learning_rate(self.config, self.position.step, share)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.task.pace(group["part"], share)

    def _forget_frozen(self) -> None:
        """Parameters with rate 0 have no gradient: no part in the clipping, no moments in the optimizer."""
        for group in self.optimizer.param_groups:
            if group["lr"] == 0 and self.rate > 0:
                for parameter in group["params"]:
                    parameter.grad = None

    def _blame(self, batch: Any, carry: Any) -> str:
        with self.accelerator.autocast():
            return blame(self.training.network, lambda network: self.task.loss(network, batch, carry)[0])

    def _not_finite(self, loss: float, norm: float, where: str = "") -> TrainingError:
        at, saved = self.position, checkpoint.newest(self.folder.checkpoints)
        kept = f"The last checkpoint, {saved.name}, is untouched." if saved else "Nothing had been saved yet."
        return TrainingError(
            f"the loss is {loss} and the gradient norm {norm} at step {at.step + 1} (epoch {at.epoch}, batch "
            f"{at.index}); try a lower fit.learning_rate (now {self.config.learning_rate}), a longer fit.warmup, a "
            f"smaller fit.clip (now {self.config.clip}) or fit.precision = 'float32'. {kept}"
            + (f" {where}" if where else "")
        )

    def _account(self, loss: float, count: int, norm: float, seconds: float, bar: ProgressBar) -> None:
        at = self.position
        at.seconds += seconds
        at.loss, at.count = at.loss + loss, at.count + count
        speed = count * self.accelerator.num_processes / seconds
        share = self._agree(False)[0] if self.accelerator.num_processes == 1 else at.step / self.config.steps
        bar.update(share, at.step, loss / max(1, count), speed)
        self.watch.step(at.step, loss / max(1, count), norm)
        self._warn(bar)
        if not self._due(self.config.record_every):
            return
        values = {
            "step": at.step,
            "epoch": at.epoch,
            "seconds": round(at.seconds, 3),
            "loss": at.loss / max(1, at.count),
        }
        at.loss, at.count = 0.0, 0
        if self.main:
            self.folder.record(
                values | {"gradient_norm": norm, "learning_rate": self.rate, f"{self.task.unit}_per_second": speed}
            )

    def _warn(self, bar: ProgressBar) -> None:
        """Tell what goes wrong, in the progress and in metrics.jsonl."""
        for trouble in self.watch.take() if self.main else ():
            bar.say({"warning:": trouble.text})
            self.folder.record(trouble.to_dict())

    @torch.no_grad()
    def _validate(self, data: Data, bar: ProgressBar) -> bool:
        """Measure, keep the best weights, save; true if patience is at its end."""
        at, begin = self.position, time.perf_counter()
        self.network.eval()
        average = self.training.average
        with average.applied() if average is not None else nullcontext():
            better, measured = self._measure(data)
        self._look_at_gates(data.valid)
        self.network.train()
        passed = time.perf_counter() - begin
        at.seconds, at.validating = at.seconds + passed, at.validating + passed
        at.worse = 0 if better else at.worse + 1
        if self.main:
            self.folder.record({"step": at.step, "seconds": round(at.seconds, 3), "valid": measured})
            curves.draw(self.folder.records(), self.folder.curves, self.task.maximize)
            bar.say({"step": at.step, "seconds": round(at.seconds), **measured})
            self._warn(bar)
        at.finished = bool(self.config.patience) and at.worse >= self.config.patience
        self._save()
        return at.finished

    def _measure(self, data: Data) -> tuple[bool, dict[str, float]]:
        """Whether the network is better than all before, and its numbers; the best one's weights are kept."""
        at = self.position
        measured = self.task.measure(self.accelerator.unwrap_model(self.network), data.valid)
        watched = next(iter(measured.values()))
        if not math.isfinite(watched):
            raise self._not_finite(watched, math.nan)
        if not (watched > at.best if self.task.maximize else watched < at.best):
            return False, measured
        at.best, at.best_step = watched, at.step
        if self.main:
            files.write_tensors(self.folder.weights, self.training.network.state_dict())
        return True, measured

    def _look_at_gates(self, batches: Batches) -> None:
        passing = batches.epoch(0)
        if self.main and len(passing):
            batch = _to(passing[0], self.accelerator.device)
            self.watch.validate(
                self.position.step, self.training.network, lambda network: self.task.loss(network, batch, None)
            )

    def _finish(self, data: Data, bar: ProgressBar) -> None:
        if self.position.finished and not self._due(self.config.evaluate_every):
            self._validate(data, bar)
            self.position.finished = True
        self._save()

    def _save(self) -> None:
        path, self.saved = self.folder.checkpoints, self.position.step
        if self.main and self.accelerator.num_processes == 1:
            checkpoint.publish(checkpoint.save(path, self.training, asdict(self.position), self.carry))
            return
        rank = self.accelerator.process_index
        written = checkpoint.save(path, self.training, asdict(self.position), self.carry, rank)
        self.accelerator.wait_for_everyone()
        if self.main:
            checkpoint.publish(written)
        self.accelerator.wait_for_everyone()


def _groups(part: str, parameters: list[nn.Parameter], config: Fit) -> list[dict[str, Any]]:
    """Matrices shrink by weight decay, biases, gains and other vectors do not."""
    learning = [p for p in parameters if p.requires_grad]
    return [
        {"params": [p for p in learning if p.dim() > 1], "weight_decay": config.weight_decay, "part": part},
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0, "part": part},
    ]


def _to(batch: Any, device: torch.device) -> Any:
    """A batch, tensors in tuples, on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple):
        items = [_to(item, device) for item in batch]
        return type(batch)(*items) if type(batch) is not tuple else tuple(items)
    return batch
