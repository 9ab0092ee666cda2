"""Checkpoints: everything that training needs to go on as if it had never stopped, in safetensors and JSON.

A checkpoint is a folder ``step-00001200`` that appears by one rename when it is complete; the one before is removed
after that. A kill at any moment leaves the old one, the new one, or both; `newest` takes what is complete.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra import files, tree
from recurra.errors import RunError
from recurra.run.average import WeightAverage

COMPLETE = "complete"  # written last: a folder without it is what a kill left

__all__ = ["Training", "load_weights", "newest", "publish", "restore", "save"]


class Training(NamedTuple):
    """The objects whose values a checkpoint holds."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    average: WeightAverage | None = None


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    found = [path for path in folder.glob("*step-*") if (path / COMPLETE).exists()]
    return max(found, key=lambda path: (path.name.rpartition("-")[2], path.name), default=None)


def save(folder: Path, training: Training, progress: dict[str, Any], carry: Any, rank: int = 0) -> Path:
    """Write this process's part of a checkpoint; return the unfinished folder, which `publish` puts in place.

    progress  plain values: step, epoch, place in the epoch, best result
    carry     the state that goes into the next batch, or None
    """
    path = folder / f".step-{progress['step']:08d}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if rank == 0:
            (path / COMPLETE).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot write the checkpoint {path}: {error.strerror}") from error
    if rank == 0:
        weights = {f"network.{name}": value for name, value in training.network.state_dict().items()}
        if training.average is not None:
            weights |= {f"average.{name}": value for name, value in training.average.tensors().items()}
        files.write_tensors(path / "training.safetensors", weights | dict(_moments(training.optimizer)))
        groups = training.optimizer.state_dict()["param_groups"]
        files.write_json(path / "training.json", {"progress": progress, "groups": groups})
    memory = [] if carry is None else tree.leaves(carry)
    tensors = {f"carry.{i}": leaf for i, leaf in enumerate(memory)} | _generators(training.device)
    structure = None if carry is None else {"tree": tree.spec(carry)}
    files.write_tensors(path / f"process-{rank}.safetensors", tensors)
    files.write_json(path / f"process-{rank}.json", {"carry": structure})
    return path


def _moments(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            yield f"optimizer.{index}.{name}", torch.as_tensor(value)


def _generators(device: torch.device) -> dict[str, Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    return states | ({"random.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def publish(path: Path) -> None:
    """Put a complete checkpoint in place and remove those before it."""
    target = path.with_name(path.name.removeprefix("."))
    try:
        files.write_text(path / COMPLETE, "")
        if target.exists():  # of the same step: the old one goes aside, as a rename replaces no full folder
            target.rename(target.with_name(f".old-{target.name}"))
        path.rename(target)
        descriptor = os.open(target.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    except OSError as error:
        raise RunError(f"cannot write the checkpoint {target}: {error.strerror}") from error
    for old in target.parent.iterdir():
        if old != target and "step-" in old.name:
            shutil.rmtree(old, ignore_errors=True)


def restore(path: Path, training: Training, rank: int = 0) -> tuple[dict[str, Any], Any]:
    """Put a checkpoint into ``training`` and torch's generators; return the progress and the carry."""
    try:
        return _restore(path, training, rank)
    except RunError as error:
        raise RunError(
            f"{error}. The best weights in model.safetensors are another file; to train anew: --overwrite"
        ) from error


def _restore(path: Path, training: Training, rank: int) -> tuple[dict[str, Any], Any]:
    shared = files.read_tensors(path / "training.safetensors")
    plain = files.read_json(path / "training.json")
    if not (path / f"process-{rank}.json").exists():
        raise RunError(f"{path} was written by fewer processes; resume with the same number")
    own = files.read_tensors(path / f"process-{rank}.safetensors")
    structure = files.read_json(path / f"process-{rank}.json")["carry"]
    load_weights(training.network, _under(shared, "network."), path)
    if training.average is not None:
        averaged = _under(shared, "average.")
        if not averaged:
            raise RunError(f"{path} has no averaged weights; resume with fit.average = 0 as it was")
        training.average.restore(averaged)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(shared, "optimizer.").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = value
    training.optimizer.load_state_dict({"state": moments, "param_groups": plain["groups"]})
    torch.set_rng_state(own["random.cpu"])
    if training.device.type == "cuda":
        torch.cuda.set_rng_state(own["random.cuda"], training.device)
    if structure is None:
        return plain["progress"], None
    leaves = [own[f"carry.{i}"].to(training.device) for i in range(len(_under(own, "carry.")))]
    return plain["progress"], tree.build(structure["tree"], leaves)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a network. Raises RunError if names or shapes are another network's."""
    have = {name: tuple(value.shape) for name, value in weights.items()}
    want = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    wrong = sorted(name for name in have.keys() | want.keys() if have.get(name) != want.get(name))
    if wrong:
        name = wrong[0]
        raise RunError(
            f"{path} holds the weights of another network: {name} should be {want.get(name, 'absent')}, "
            f"is {have.get(name, 'absent')} ({len(wrong)} of {len(want)} names differ)"
        )
    network.load_state_dict(weights)
