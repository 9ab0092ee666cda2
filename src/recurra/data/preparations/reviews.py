"""Whole reviews, labelled by what they think: of films in English, of books, hotels and devices in Chinese."""

import unicodedata
from pathlib import Path

from recurra.data.preparations import labels
from recurra.data.preparations.labels import Labelled
from recurra.data.preparations.parts import PARTS, part
from recurra.data.preparations.tables import line, read_rows
from recurra.errors import DataError

__all__ = ["prepare_chinese", "prepare_films"]

POLARITY = {"1": "positive", "-1": "negative"}


def prepare_films(folder: Path, target: Path) -> dict[str, int]:
    """Write the reviews with their labels, and the texts alone: a sentence a line, a blank line between reviews."""
    (path,) = folder.rglob("polarity-en-pang&lee1.csv")
    rows = list(read_rows(path, 2, "utf-8-sig"))
    for number, (label, _) in enumerate(rows, 1):
        if label not in POLARITY:
            raise DataError(f"{path.name}, review {number}: expected the label 1 or -1, got {label!r}")
    kept, left_out = labels.single(Labelled(POLARITY[label], line(text)) for label, text in rows)
    labels.write_parts(labels.split(kept), target)
    whole = {line(text): "\n".join(filter(None, map(line, text.split("\n")))) for _, text in rows}
    for name in PARTS:
        texts = "\n\n".join(whole[row.text] for row in kept if part(row.text) == name)
        (target / f"{name}.txt").write_text(unicodedata.normalize("NFC", texts) + "\n", "utf-8", newline="\n")
    return left_out


def prepare_chinese(folder: Path, target: Path) -> dict[str, int]:
    """Write the reviews of ``pos.txt`` and ``neg.txt``, one a line, each once."""
    rows = []
    for name, label in (("pos", "positive"), ("neg", "negative")):
        (path,) = folder.rglob(f"{name}.txt")
        rows += [Labelled(label, line(text)) for text in path.read_text("utf-8").split("\n")]
    whole = [row for row in rows if row.text]
    kept, left_out = labels.single(whole)
    labels.write_parts(labels.split(kept), target)
    return {"empty lines": len(rows) - len(whole)} | left_out
