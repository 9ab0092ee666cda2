"""Readers of labelled text: tables (CSV, TSV), JSON lines, ``label text`` and ``__label__x text``.

Text goes through as it stands: right-to-left scripts, combining characters and emoji too.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recurra.data.splits import Parts, fill_parts, find_parts
from recurra.data.text import read_text
from recurra.errors import ConfigError, DataError

__all__ = ["FORMATS", "SUFFIXES", "Example", "Layout", "read_labelled", "read_parts"]

FORMATS = ("auto", "csv", "tsv", "jsonl", "label_text", "fasttext")
SUFFIXES = (".tsv", ".csv", ".jsonl", ".txt")
TEXT = ("text", "sentence", "review", "content", "comment", "tweet", "snippet", "document", "message")
LABEL = ("label", "class", "category", "sentiment", "target", "polarity", "tag")
MARK = "__label__"


class Example(NamedTuple):
    """One text with its label, and where it stands: file and line."""

    text: str
    label: str
    where: str


@dataclass(frozen=True)
class Layout:
    """How to read a file of labelled text.

    format  one of `FORMATS`; "auto": by the suffix and the first line
    text    the column of the text: its name, or its number from 1; "": found by its name
    label   the column of the label, in the same way
    """

    format: str = "auto"
    text: str = ""
    label: str = ""


@dataclass(frozen=True)
class Reading:
    """The examples of a file, and a note that says how it was read."""

    examples: list[Example]
    note: str


def read_labelled(path: str | Path, layout: Layout = Layout()) -> Reading:
    """Read one file. Raises DataError with its name and line if it is not as its format asks for."""
    path, text = Path(path), read_text(path)
    kind = _format(path, text) if layout.format == "auto" else layout.format
    if kind not in FORMATS[1:]:
        raise ConfigError(f"data.format: expected one of {', '.join(FORMATS)}, got {kind!r}")
    lines = _Lines(path, text)
    if kind in ("csv", "tsv"):
        examples, how = _table(lines, kind, layout)
    elif kind == "jsonl":
        examples, how = _json_lines(lines, layout)
    else:
        examples, how = [_leading(lines, n, line, kind) for n, line in lines.rows()], NAMED[kind]
    if not examples:
        raise DataError(f"{path}: a header and no rows")
    for example in examples:
        if not example.text.strip():
            raise DataError(f"{example.where}: expected a text, got an empty one")
        if not example.label.strip():
            raise DataError(f"{example.where}: expected a label, got an empty one")
    return Reading(examples, f"{path}: {len(examples)} rows read as {how}")


def read_parts(
    path: str | Path, valid: str, test: str, layout: Layout, shares: Sequence[float], seed: int
) -> Parts:
    """Training, validation and test examples.

    path         a folder with ``train`` and perhaps ``valid`` and ``test`` files, or the file to train on
    valid, test  files for these parts; "": those of the folder. What is missing is cut from the training examples

    Raises DataError if something cannot be read, or if the labels look like texts.
    """
    path = Path(path)
    files = find_parts(path, SUFFIXES) if path.is_dir() else {"train": path}
    files |= {part: Path(given) for part, given in (("valid", valid), ("test", test)) if given}
    readings = {part: read_labelled(file, layout) for part, file in files.items()}
    _check_labels(files["train"], readings["train"].examples)
    examples = {part: reading.examples for part, reading in readings.items()}
    parts = fill_parts(examples, shares, seed, lambda row: row.label, lambda row: row.text)
    notes = (*(reading.note for reading in readings.values()), *parts.notes)
    return Parts(parts.train, parts.valid, parts.test, notes)


def _check_labels(path: Path, examples: list[Example]) -> None:
    labels = {example.label for example in examples}
    if len(labels) > max(2, len(examples) // 2):
        some = ", ".join(repr(label[:40]) for label in sorted(labels)[:3])
        raise DataError(
            f"{path}: {len(labels)} different labels in {len(examples)} rows, such as {some}; is the label in "
            "another column? Say which with data.label and data.text, or how to read it with data.format"
        )
    if len(labels) < 2:
        raise DataError(f"{path}: every row has the label {min(labels)!r}; expected at least two labels")


def _format(path: Path, text: str) -> str:
    """The format by the first line where it is plain to see, else by the suffix."""
    first = text.lstrip("\n").partition("\n")[0]
    if first.startswith(MARK):
        return "fasttext"
    if path.suffix.lower() in (".csv", ".tsv"):
        return path.suffix.lower()[1:]
    if path.suffix.lower() in (".jsonl", ".json") or first.startswith("{"):
        return "jsonl"
    return "tsv" if "\t" in first else "label_text"


class _Lines:
    """The lines of a file with their numbers, and errors that name them."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text.rstrip("\n")

    def rows(self) -> Iterator[tuple[int, str]]:
        return enumerate(self.text.split("\n"), 1)

    def error(self, line: int, what: str) -> DataError:
        return DataError(f"{self.where(line)}: {what}")

    def where(self, line: int) -> str:
        return f"{self.path}, line {line}"


NAMED = {"label_text": "`label text`", "fasttext": "fastText (`__label__x text`)"}


def _leading(lines: _Lines, number: int, line: str, kind: str) -> Example:
    """A line that begins with its label."""
    label, _, text = line.strip().partition(" ")
    if kind == "label_text":
        if "\t" in label:
            label, _, text = line.strip().partition("\t")
        if not text.strip():
            raise lines.error(number, f"expected a label, a space and a text, got {line[:40]!r}")
        return Example(text.strip(), label, lines.where(number))
    if not label.startswith(MARK) or text.lstrip().startswith(MARK):
        raise lines.error(number, f"expected one {MARK} and its text, got {line[:60]!r}")
    return Example(text.strip(), label.removeprefix(MARK), lines.where(number))


def _json_lines(lines: _Lines, layout: Layout) -> tuple[list[Example], str]:
    rows = [(number, _object(lines, number, line)) for number, line in lines.rows()]
    names = list(rows[0][1])
    places = _columns(lines, [names], layout)
    text, label = (names[place] for place in places)
    pairs = [(_plain(lines, n, row, text), _plain(lines, n, row, label), lines.where(n)) for n, row in rows]
    examples = [Example(*pair) for pair in pairs]
    return examples, f"JSON lines, text in {text!r}, label in {label!r}"


def _object(lines: _Lines, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise lines.error(number, f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise lines.error(number, f"expected a JSON object with text and label, got {line[:60]!r}")
    return row


def _plain(lines: _Lines, number: int, row: dict[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str | int | float):
        raise lines.error(number, f"expected a text or a number in {key!r}, got {value!r}")
    return str(value)


def _table(lines: _Lines, kind: str, layout: Layout) -> tuple[list[Example], str]:
    rows = list(_cells(lines, kind))
    head = [cell.strip() for cell in rows[0][1]]
    for number, cells in rows:
        if len(cells) != len(head):
            raise lines.error(number, f"expected {len(head)} columns as in line 1, got {len(cells)}")
    text, label = _columns(lines, [cells for _, cells in rows], layout)
    headed = _is_head(head, layout)
    shown = [repr(head[i]) if headed else f"column {i + 1}" for i in (text, label)]
    how = f"{kind.upper()} {'with' if headed else 'without'} a header, text in {shown[0]}, label in {shown[1]}"
    body = rows[1:] if headed else rows
    return [Example(cells[text], cells[label].strip(), lines.where(number)) for number, cells in body], how


def _cells(lines: _Lines, kind: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row and the line where it begins. Only CSV knows quotes; in TSV they are text."""
    if kind == "tsv":
        yield from ((number, line.split("\t")) for number, line in lines.rows())
        return
    reader = csv.reader(io.StringIO(lines.text, newline=""), strict=True)
    before = csv.field_size_limit(len(lines.text) + 1)
    begin = 1
    try:
        for cells in reader:
            yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise lines.error(begin, f"not CSV ({error}); a quote inside quotes is written twice") from error
    finally:
        csv.field_size_limit(before)


def _is_head(head: list[str], layout: Layout) -> bool:
    """Whether the first row holds names: those that were asked for, or both that are known."""
    lower = [name.lower() for name in head]
    named = [wish for wish in (layout.text, layout.label) if wish and not wish.isdecimal()]
    return bool(named) or all(any(name in known for name in lower) for known in (TEXT, LABEL))


def _columns(lines: _Lines, rows: list[list[str]], layout: Layout) -> tuple[int, int]:
    """The numbers, from 0, of the columns of text and label; of two columns the one is what the other is not."""
    head = [cell.strip() for cell in rows[0]]
    if len(head) < 2:
        raise lines.error(1, f"expected a column of labels and one of texts, got one column: {head[0][:60]!r}")
    names = head if _is_head(head, layout) else []
    text = _place(lines, head, names, ("data.text", layout.text, TEXT))
    label = _place(lines, head, names, ("data.label", layout.label, LABEL))
    if len(head) == 2 and text is None and label is None:
        kinds = [len({cells[i] for cells in rows}) for i in (0, 1)]
        text = int(kinds[0] <= kinds[1])  # fewer different values: these are the labels
    if len(head) == 2 and text is None and label is not None:
        text = 1 - label
    if len(head) == 2 and label is None and text is not None:
        label = 1 - text
    if text is None or label is None:
        raise lines.error(1, f"cannot tell text and label among {head}; name them with data.text and data.label")
    if text == label:
        raise lines.error(1, f"text and label are both in the column {head[text]!r}")
    return text, label


def _place(lines: _Lines, head: list[str], names: list[str], wish: tuple[str, str, Sequence[str]]) -> int | None:
    """The number of a column: the one wished for by number or name, else the first of a known name, else None."""
    key, wished, known = wish
    if wished.isdecimal():
        if not 1 <= int(wished) <= len(head):
            raise ConfigError(f"{key}: expected the number of a column, from 1 to {len(head)}, got {wished!r}")
        return int(wished) - 1
    if wished and wished not in names:
        raise lines.error(1, f"{key} is {wished!r}, but the columns are {', '.join(map(repr, head))}")
    lower = [name.lower() for name in names]
    found = [wished] if wished else [name for name in known if name in lower]
    return (names if wished else lower).index(found[0]) if found else None
