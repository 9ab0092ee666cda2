"""Trained runs, opened: the task in a run folder, of whatever kind."""

from pathlib import Path

from recurra import files
from recurra.errors import ConfigError
from recurra.run.estimator import Estimator
from recurra.run.folder import RunFolder
from recurra.tasks import TASKS

__all__ = ["load"]


def load(path: Path) -> Estimator:
    """The trained task in a run folder. Raises RunError if it is none, ConfigError for a task that is unknown."""
    folder = RunFolder(path)
    folder.require()
    name = files.read_table(folder.config).get("task")
    if name not in TASKS:
        raise ConfigError(f"{path} was made for the task {name!r}, which this version of recurra does not know")
    return TASKS[name].load(path)
