"""The results as one page of Markdown: what was aimed at and what came out, lost points included."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.results import Section, Table, Target, Value, geometric_mean

__all__ = ["render", "table_lines"]

DIGITS = {"x": 2, "ms": 2, "us": 2, "s": 2, "MB": 1, "lines": 0, "Gelem/s": 2}

INTRODUCTION = """
Written by `make bench`. Everything is measured in one process: the sides of a question take turns, round by
round, after a check that they compute the same (values, and in training the gradients of all parameters, to 2e-5
of the largest number of each tensor). A ratio is the median over the rounds of the ratio within a round, in
brackets its quartiles. `≥` and `≤` are the targets that the project set itself; points that miss theirs are in
**bold**. Times are medians; they change from machine to machine, ratios much less. Float32 throughout.
"""


def render(sections: list[Section], chart: str) -> str:
    """The page; ``chart`` is the file name of the picture, "" without one."""
    machine = sections[-1].machine if sections else {}
    lines = ["# Benchmarks", INTRODUCTION, *_machine_lines(machine), "", *_missing(sections)]
    if chart:
        lines += [f"![Ratios of the time of other libraries to that of recurra]({chart})", ""]
    lines += [*_summary(sections), ""]
    for section in sections:
        lines += [*_section_lines(section, machine), ""]
    lines.append(f"All numbers, with the largest error that the checks saw: {_files(sections)}.")
    return "\n".join(lines) + "\n"


def _files(sections: list[Section]) -> str:
    return ", ".join(f"[{section.name}.json]({section.name}.json)" for section in sections)


def _machine_lines(machine: dict[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in machine.items())]


def _missing(sections: list[Section]) -> Iterator[str]:
    """What could not be compared, for a library was not there."""
    for name in dict.fromkeys(name for section in sections for name in section.machine):
        without = [
            section.title
            for section in sections
            if section.machine.get(name) == "not installed" and _compares(section)
        ]
        if without:
            yield f"{name} was not installed, and so is not compared, in: {', '.join(without)}.\n"


def _compares(section: Section) -> bool:
    """Whether it sets sides against each other; one of times alone misses no library."""
    return any(value.unit == "x" for table in section.tables for row in table.rows for value in row.values.values())


def _section_lines(section: Section, machine: dict[str, str]) -> Iterator[str]:
    yield f"## {section.title}"
    yield section.about
    absent = set() if _compares(section) else {"not installed"}
    known = {name: value for name, value in section.machine.items() if value not in absent}
    other = [f"{name} {value}" for name, value in known.items() if machine.get(name) != value]
    if other:
        yield f"Measured on another occasion: {', '.join(other)}.\n"
    for table in section.tables:
        if table.title:
            yield f"### {table.title}\n"
        yield from table_lines(table)
        yield ""


def table_lines(table: Table) -> list[str]:
    """A table as Markdown, with geometric means below and the notes of its rows after it."""
    columns = list(dict.fromkeys(column for row in table.rows for column in row.values))
    head = ["", "shape", *columns] if any(row.shape for row in table.rows) else ["", *columns]
    lines = [_line(head), "|---" * (len(head) - len(columns)) + "|---:" * len(columns) + "|"]
    for row in table.rows:
        cells = [row.name, *([row.shape] if "shape" in head else [])]
        lines.append(_line(cells + [_cell(row.values.get(column)) for column in columns]))
    for group in table.groups():
        means = [table.mean(group, column) for column in columns]
        if any(means) and sum(row.group == group for row in table.rows) > 1:
            cells = [f"geometric mean{', ' * bool(group)}{group}", *([""] if "shape" in head else [])]
            lines.append(_line(cells + [_cell(mean) for mean in means]))
    notes = _notes(table)
    return [*lines, "", *notes] if notes else lines


def _notes(table: Table) -> list[str]:
    """The notes of the rows; one that they all have is said once."""
    notes = [row.note for row in table.rows]
    if len(notes) > 1 and notes[0] and len(set(notes)) == 1:
        return [f"- all rows: {notes[0]}"]
    return [f"- {row.name} {row.shape}: {row.note}" for row in table.rows if row.note]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Value | None) -> str:
    if value is None:
        return ""
    text = _number(value.median, value.unit)
    if value.unit == "x" and value.low != value.high:
        text += f" ({_number(value.low, value.unit)} to {_number(value.high, value.unit)})"
    if not value.met:
        text = f"**{text}**"
    return f"{text} {value.target}" if value.target else text


def _number(number: float, unit: str) -> str:
    """Three digits, more before the point where there are more."""
    digits = DIGITS[unit]
    if digits and number >= 100:
        digits = 0
    elif digits and number >= 10:
        digits = 1
    return f"{number:.{digits}f}"


def _summary(sections: Iterable[Section]) -> list[str]:
    """One line for each target: how many points reach it, the worst one, the geometric mean of the ratios."""
    lines = ["## Targets", "", "| | target | reached | worst | geometric mean |", "|---|---|---:|---:|---:|"]
    for section in sections:
        for table in section.tables:
            for (column, target), values in _aims(table).items():
                name = " · ".join(filter(None, (section.title, table.title, column)))
                lines.append(_line([name, str(target), *_reached(target, values)]))
    return lines


def _aims(table: Table) -> dict[tuple[str, Target], list[Value]]:
    """The values under each target of a table; those of means come last."""
    found: dict[tuple[str, Target], list[Value]] = {}
    several = len(table.groups()) > 1
    for row in table.rows:
        for column, value in row.values.items():
            if value.target is not None:
                name = f"{column}, {row.group}" if several else column
                found.setdefault((name, value.target), []).append(value)
    for group, columns in table.means.items():
        for column in columns:
            mean = table.mean(group, column)
            if mean is not None and mean.target is not None:
                found[(f"{column}, geometric mean{' of ' * bool(group)}{group}", mean.target)] = [mean]
    return found


def _reached(target: Target, values: list[Value]) -> list[str]:
    numbers = [value.median for value in values]
    worst = min(numbers) if target.at_least else max(numbers)
    met = sum(value.met for value in values)
    mark = f"{met} of {len(values)}" if met == len(values) else f"**{met} of {len(values)}**"
    unit = values[0].unit
    mean = _number(geometric_mean(numbers), unit) if unit == "x" else ""
    return [mark, _number(worst, unit) + ("" if unit == "x" else f" {unit}"), mean]


def write(sections: list[Section], folder: Path, chart: str) -> None:
    """Write README.md."""
    (folder / "README.md").write_text(render(sections, chart), encoding="utf-8")
