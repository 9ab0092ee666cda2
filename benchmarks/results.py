"""What a benchmark finds: values with their targets, in rows, tables and sections, which JSON files keep."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Row", "Section", "Table", "Target", "Value", "geometric_mean", "least", "most", "read", "write"]


@dataclass(frozen=True)
class Target:
    """What a value should reach: at least, or at most, its limit."""

    limit: float
    at_least: bool

    def met_by(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


def least(limit: float) -> Target:
    """A target where more is better."""
    return Target(limit, True)


def most(limit: float) -> Target:
    """A target where less is better."""
    return Target(limit, False)


@dataclass(frozen=True)
class Value:
    """A median with its quartiles. The unit is ms, us, s, MB, lines, Gelem/s, or x for a ratio."""

    median: float
    low: float
    high: float
    unit: str
    target: Target | None = None

    @property
    def met(self) -> bool:
        """Whether the target is reached; true where there is none."""
        return self.target is None or self.target.met_by(self.median)


@dataclass(frozen=True)
class Row:
    """One line of a table: values by the title of their column.

    group  the geometric mean that the row belongs to
    error  the largest difference between the sides that the check before the timing found, relative
    note   what a reader must know, such as that the sides disagree and were not timed
    """

    name: str
    shape: str
    values: dict[str, Value] = field(default_factory=dict)
    group: str = ""
    error: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a title, and targets of their geometric means: by group, then by column."""

    title: str
    rows: list[Row]
    means: dict[str, dict[str, Target]] = field(default_factory=dict)

    def groups(self) -> list[str]:
        """Names of the groups, in order."""
        return list(dict.fromkeys(row.group for row in self.rows))

    def mean(self, group: str, column: str) -> Value | None:
        """The geometric mean of a column of ratios over a group; None where there is nothing to average."""
        found = [row.values[column] for row in self.rows if row.group == group and column in row.values]
        if not found or any(value.unit != "x" for value in found):
            return None
        mean = geometric_mean(value.median for value in found)
        return Value(mean, mean, mean, "x", self.means.get(group, {}).get(column))


@dataclass(frozen=True)
class Section:
    """The answer to one question, with what a reader must know, and the machine that gave it."""

    name: str
    title: str
    about: str
    tables: list[Table]
    machine: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios: half as fast and twice as fast give 1."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))


def write(section: Section, path: Path) -> None:
    """Keep a section as JSON."""
    path.write_text(json.dumps(asdict(section), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Section:
    """The section that `write` kept."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Section(**{**found, "tables": [_table(table) for table in found["tables"]]})


def _table(found: dict[str, Any]) -> Table:
    means = {
        group: {column: Target(**target) for column, target in columns.items()}
        for group, columns in found["means"].items()
    }
    return Table(found["title"], [_row(row) for row in found["rows"]], means)


def _row(found: dict[str, Any]) -> Row:
    return Row(**{**found, "values": {name: _value(value) for name, value in found["values"].items()}})


def _value(found: dict[str, Any]) -> Value:
    target = found["target"]
    return Value(**{**found, "target": Target(**target) if target else None})
