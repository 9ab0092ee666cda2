"""Questions and the kind of answer they ask for: TREC (Li and Roth 2002), 6 kinds, 47 finer ones.

The package holds numbers for the kinds, and both parts one after the other: 5,452 questions to learn from, then 500
of TREC 10. The test part stays as it is; what it asks too is left out of the training part.
"""

from pathlib import Path

from recurra.data.preparations import labels
from recurra.data.preparations.labels import Labelled
from recurra.data.preparations.parts import key, part
from recurra.data.preparations.tables import line, read_table
from recurra.errors import DataError

__all__ = ["prepare"]

TRAINING = 5452
FIRST = "How far is it from Denver to Aspen ?"  # of the test part
KINDS = ("description", "entity", "abbreviation", "human", "number", "location")
# fmt: off
FINER = (
    "manner", "creative", "animal", "expansion", "individual", "group", "title", "definition", "date",
    "reason", "event", "state", "description", "count", "other", "letter", "religion", "food", "country",
    "color", "term", "city", "body-part", "disease", "mountain", "money", "product", "period", "substance",
    "sport", "plant", "technique", "size", "instrument", "abbreviation", "speed", "word", "language",
    "percentage", "code", "distance", "temperature", "symbol", "order", "vehicle", "weight", "currency",
)
# fmt: on


def prepare(folder: Path, target: Path) -> dict[str, int]:
    """Write the three parts: the official test part, and a tenth of the training part to choose by."""
    (path,) = folder.rglob("trec.csv")
    rows = [_question(cells) for cells in read_table(path, ["", "label-coarse", "label-fine", "text"])]
    learning, test = rows[:TRAINING], rows[TRAINING:]
    if not test or test[0].text != FIRST:
        raise DataError(f"{path.name}: expected {FIRST!r} at row {TRAINING}, where the test part begins")
    asked = {key(row.text) for row in test}
    kept, left_out = labels.single(row for row in learning if key(row.text) not in asked)
    parts: dict[str, list[Labelled]] = {"train": [], "valid": [], "test": test}
    for row in kept:
        parts["valid" if part(row.text) == "valid" else "train"].append(row)
    labels.write_parts(parts, target)
    return {"training texts of the test part": sum(key(row.text) in asked for row in learning)} | left_out


def _question(cells: list[str]) -> Labelled:
    number, coarse, fine, text = cells
    try:
        return Labelled(KINDS[int(coarse)], line(text), {"finer": FINER[int(fine)]})
    except (ValueError, IndexError):
        raise DataError(f"trec.csv, row {number}: expected kinds 0-5 and 0-46, got {coarse!r}, {fine!r}") from None
