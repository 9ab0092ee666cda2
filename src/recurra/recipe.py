"""Recipes: TOML files that say which task to train on what and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra import config as configs
from recurra.errors import ConfigError
from recurra.run.estimator import Estimator
from recurra.run.fit import Fit
from recurra.tasks import TASKS

__all__ = ["Recipe", "find", "read", "task_named"]

PLACES = (Path(__file__).parents[2] / "recipes", Path(__file__).parent / "recipes")  # a clone; an installed wheel


@dataclass(frozen=True)
class Recipe:
    """A task with its configuration, and how to train it."""

    task: type[Estimator]
    config: Any
    fit: Fit


def find(task: str, name: str) -> Path:
    """The file of a recipe: a path, or the name of one that comes with recurra."""
    if Path(name).suffix == ".toml" or Path(name).exists():
        return Path(name)
    known = {path.stem: path for place in PLACES for path in sorted((place / task).glob("*.toml"))}
    if name not in known:
        raise ConfigError(
            f"unknown recipe {name!r} for {task}{configs.suggest(name, list(known))}; or give a .toml file"
        )
    return known[name]


def task_named(name: str) -> type[Estimator]:
    """The task of this name. Raises ConfigError if there is none."""
    if name not in TASKS:
        raise ConfigError(f"unknown task {name!r}{configs.suggest(name, list(TASKS))}")
    return TASKS[name]


def read(task: str, path: Path | None, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with ``settings`` such as ``model.hidden=64`` laid over it; no path means all defaults."""
    kind = task_named(task)
    values = {} if path is None else configs.read_toml(path)
    named = values.pop("task", task)
    if named != task:
        raise ConfigError(f"{path} is a recipe for {named}, not for {task}")
    values = configs.merge(values, configs.overrides(settings))
    fit = configs.from_dict(Fit, values.pop("fit", {}), "fit")
    return Recipe(kind, configs.from_dict(kind.Config, values), fit)
