"""Labelled texts: ``train.tsv``, ``valid.tsv`` and ``test.tsv`` with a first line ``label<TAB>text``.

A set without an official split is split by the text itself (`recurra.data.preparations.parts`): every row with a
text, and with any text that differs from it in case and white space alone, is in one part.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recurra.data.preparations.parts import PARTS, part
from recurra.data.preparations.tables import line
from recurra.errors import DataError

__all__ = ["Labelled", "single", "split", "write", "write_parts", "write_texts"]


@dataclass(frozen=True)
class Labelled:
    """A text on one line, its label, and further columns by name, such as a rating."""

    label: str
    text: str
    more: Mapping[str, str] = field(default_factory=dict)


def single(rows: Iterable[Labelled]) -> tuple[list[Labelled], dict[str, int]]:
    """Each text once, the first copy of it; a text that has two labels is left out with all its copies."""
    first: dict[str, Labelled] = {}
    labels: dict[str, set[str]] = {}
    count = 0
    for row in rows:
        count += 1
        first.setdefault(row.text, row)
        labels.setdefault(row.text, set()).add(row.label)
    kept = [row for text, row in first.items() if len(labels[text]) == 1]
    return kept, {"repeated texts": count - len(first), "texts with two labels": len(first) - len(kept)}


def split(rows: Iterable[Labelled]) -> dict[str, list[Labelled]]:
    """The rows of each part, in their order, split by the text itself."""
    parts: dict[str, list[Labelled]] = {name: [] for name in PARTS}
    for row in rows:
        parts[part(row.text)].append(row)
    return parts


def write_parts(parts: Mapping[str, list[Labelled]], target: Path) -> None:
    """Write ``train.tsv``, ``valid.tsv`` and ``test.tsv``."""
    for name, rows in parts.items():
        write(rows, target / f"{name}.tsv")


def write_texts(parts: Mapping[str, list[Labelled]], target: Path) -> None:
    """Write ``train.txt``, ``valid.txt`` and ``test.txt`` for a language model: the same texts, one a line."""
    for name, rows in parts.items():
        lines = [unicodedata.normalize("NFC", row.text) + "\n" for row in rows]
        (target / f"{name}.txt").write_text("".join(lines), "utf-8", newline="\n")


def write(rows: list[Labelled], path: Path) -> None:
    """Write one part. Raises DataError for a label or text that is empty, and for a cell that breaks its line."""
    names = list(rows[0].more) if rows else []
    lines = ["\t".join(["label", "text", *names])]
    for row in rows:
        cells = [row.label, row.text, *(row.more[name] for name in names)]
        if not row.label or not row.text or any(cell != line(cell) for cell in cells):
            raise DataError(f"{path.name}: expected a label and a text on one line, got {cells}")
        lines.append(unicodedata.normalize("NFC", "\t".join(cells)))
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
