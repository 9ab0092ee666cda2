"""Configurations: frozen dataclasses <-> TOML, with ``--set a.b=c``; unknown keys are refused with a suggestion.

A field made by `key` carries the comment that stands above it in the file.
"""

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from recurra.errors import ConfigError

__all__ = ["from_dict", "key", "merge", "overrides", "read_toml", "suggest", "to_dict", "to_toml"]

C = TypeVar("C")


def key(default: Any, comment: str) -> Any:
    """A dataclass field with a default and the comment that explains it in a recipe."""
    if dataclasses.is_dataclass(default):
        return dataclasses.field(default_factory=type(default), metadata={"comment": comment})
    return dataclasses.field(default=default, metadata={"comment": comment})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file as nested dicts. Raises ConfigError with the reason and, for bad TOML, the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def overrides(settings: Sequence[str]) -> dict[str, Any]:
    """``["model.hidden=64", "data.text=a.txt"]`` as nested dicts; values as in TOML, else taken as text."""
    result: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set: expected KEY=VALUE such as model.hidden=64, got {setting!r}")
        *parents, last = name.strip().split(".")
        branch = result
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = _value(value.strip())
    return result


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, table by table."""
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def suggest(word: str, known: Sequence[str]) -> str:
    """ " (did you mean 'x'?)" or the list of known words."""
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"


def from_dict(kind: type[C], values: dict[str, Any], where: str = "") -> C:
    """Build the dataclass ``kind`` from nested dicts. Raises ConfigError for a key or value that does not fit."""
    hints = typing.get_type_hints(kind)
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    arguments = {}
    for name, value in values.items():
        path = f"{where}.{name}" if where else name
        if name not in fields:
            raise ConfigError(f"unknown key {path!r}{suggest(name, fields)}")
        arguments[name] = _convert(hints[name], value, path)
    return kind(**arguments)


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: expected a table [{path}], got {value!r}")
        return from_dict(typing.cast(type, hint), value, path)
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{path}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
        return value
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path}: expected a list, got {value!r}")
        return tuple(_convert(typing.get_args(hint)[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    return _scalar(hint, value, path)


def _scalar(hint: Any, value: Any, path: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) in kinds:
        return value
    names = " or ".join(kind.__name__ for kind in kinds)
    raise ConfigError(f"{path}: expected {names}, got {value!r}")


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dicts of plain values, for JSON."""
    return dataclasses.asdict(config)


def to_toml(config: Any, table: str = "") -> str:
    """TOML text of a configuration: each key under its comment, nested dataclasses as tables."""
    plain, tables = [], []
    for field in dataclasses.fields(config):
        value, comment = getattr(config, field.name), field.metadata.get("comment", "")
        if dataclasses.is_dataclass(value):
            tables.append(f"\n# {comment}\n" + to_toml(value, f"{table}.{field.name}".strip(".")))
        else:
            plain.append((f"# {comment}\n" if comment else "") + f"{field.name} = {_toml(value)}\n")
    heading = f"[{table}]\n" if table else ""
    return heading + "".join(plain) + "".join(tables)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
