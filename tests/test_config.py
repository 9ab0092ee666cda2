"""Configurations: there and back, and every mistake named."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from recurra import config
from recurra.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    size: int = config.key(3, "how large")
    rate: float = config.key(0.5, "how fast")
    kind: Literal["a", "b"] = config.key("a", "which")


@dataclass(frozen=True)
class Outer:
    name: str = config.key('quote " and \\ and 中文', "a text")
    on: bool = config.key(True, "a switch")
    shares: tuple[float, ...] = config.key((0.5, 0.5), "a list")
    inner: Inner = config.key(Inner(), "a table")


def test_toml_there_and_back(tmp_path: Path) -> None:
    value = Outer(name="x=1 # no comment", on=False, shares=(1.0,), inner=Inner(7, 1e-9, "b"))
    path = tmp_path / "a.toml"
    for written in (value, Outer()):
        path.write_text(config.to_toml(written), encoding="utf-8")
        assert config.from_dict(Outer, config.read_toml(path)) == written
    assert "# how large\nsize = 3" in path.read_text(encoding="utf-8")


def test_overrides_are_toml_values_or_text() -> None:
    changes = config.overrides(["inner.size=9", "name=plain text.txt", "shares=[0.25, 0.75]", "inner.rate = 1"])
    value = config.from_dict(Outer, config.merge(config.to_dict(Outer()), changes))
    assert value == Outer(name="plain text.txt", shares=(0.25, 0.75), inner=Inner(size=9, rate=1.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'; did you mean 'name'?"),
        ({"inner": {"sise": 1}}, "unknown key 'inner.sise'; did you mean 'size'?"),
        ({"zzz": 1}, "known are inner, name, on, shares"),
        ({"inner": {"size": "big"}}, "inner.size: expected int, got 'big'"),
        ({"inner": {"size": True}}, "inner.size: expected int, got True"),
        ({"inner": {"size": 1.5}}, "inner.size: expected int, got 1.5"),
        ({"inner": 3}, "inner: expected a table [inner], got 3"),
        ({"inner": {"kind": "c"}}, "inner.kind: expected one of 'a', 'b', got 'c'"),
        ({"shares": 1}, "shares: expected a list, got 1"),
        ({"shares": ["x"]}, "shares[0]: expected float, got 'x'"),
    ],
)
def test_mistakes_are_named(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.from_dict(Outer, values)
    assert message in str(caught.value)


def test_broken_files_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("a = = 3")
    with pytest.raises(ConfigError, match="is not TOML"):
        config.read_toml(path)
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        config.read_toml(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        config.overrides(["model.hidden"])
