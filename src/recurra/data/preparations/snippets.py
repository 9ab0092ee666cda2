"""Sentences rated by twenty people each, from -4 to 4 (VADER, Hutto and Gilbert 2014), in an archive in a package.

file                    sentences   of
movieReviewSnippets        10,605   rottentomatoes.com (Pang and Lee 2005): 5,152 of fresh reviews, then rotten ones
tweets                      4,200   Twitter
amazonReviewSnippets        3,708   300 reviews of products
nytEditorialSnippets        5,190   498 articles of opinion
"""

import unicodedata
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from recurra.data.archives import unpack
from recurra.data.preparations import labels
from recurra.data.preparations.labels import Labelled
from recurra.data.preparations.tables import line, read_lines
from recurra.errors import DataError

__all__ = ["Rated", "prepare_amazon", "prepare_editorials", "prepare_movies", "rated"]

FRESH = 5152  # the first so many sentences of films come from favourable reviews


@dataclass(frozen=True)
class Rated:
    """A sentence, its number in the file such as ``12`` or ``309_8``, and the mean of its ratings."""

    number: str
    rating: float
    text: str

    @property
    def label(self) -> str:
        """The sign of the rating in words."""
        return "positive" if self.rating > 0 else "negative" if self.rating < 0 else "neutral"

    @property
    def shown(self) -> str:
        """The rating as the files have it here."""
        return f"{self.rating:.4f}"


def rated(folder: Path, name: str) -> list[Rated]:
    """The sentences of one file, in its order. Raises DataError for a line that is not number, rating and text."""
    (archive,) = folder.rglob("hutto_ICWSM_2014.tar.gz")
    member = f"hutto_ICWSM_2014/{name}_GroundTruth.txt"
    unpack(archive, (member,), folder / name)
    return [_rated(cells, member) for cells in read_lines(folder / name / member, 3)]


def _rated(cells: list[str], name: str) -> Rated:
    number, rating, text = cells
    try:
        value = float(rating)
    except ValueError:
        raise DataError(f"{name}, number {number}: expected a rating from -4 to 4, got {rating!r}") from None
    if not -4 <= value <= 4 or not line(text):
        raise DataError(f"{name}, number {number}: expected a rating from -4 to 4 and a text, got {cells}")
    return Rated(number, value, line(text))


def prepare_movies(folder: Path, target: Path) -> dict[str, int]:
    """Write sentences of film reviews. The label is that of the review, known by the place in the file."""
    rows = rated(folder, "movieReviewSnippets")
    if [row.number for row in rows] != [str(i) for i in range(1, len(rows) + 1)]:
        raise DataError("movieReviewSnippets: expected the numbers 1, 2, ... in order, for they give the labels")
    kept, left_out = labels.single(
        Labelled("positive" if i < FRESH else "negative", row.text, {"rating": row.shown})
        for i, row in enumerate(rows)
    )
    labels.write_parts(labels.split(kept), target)
    return left_out


def prepare_amazon(folder: Path, target: Path) -> None:
    """Write ``text.txt``: a sentence a line, a blank line between reviews of products."""
    _write_documents(rated(folder, "amazonReviewSnippets"), target)


def prepare_editorials(folder: Path, target: Path) -> None:
    """Write ``text.txt``: a sentence a line, a blank line between articles of opinion."""
    _write_documents(rated(folder, "nytEditorialSnippets"), target)


def _write_documents(rows: list[Rated], target: Path) -> None:
    documents = groupby(rows, key=lambda row: row.number.partition("_")[0])
    text = "\n\n".join("\n".join(row.text for row in sentences) for _, sentences in documents)
    (target / "text.txt").write_text(unicodedata.normalize("NFC", text) + "\n", "utf-8", newline="\n")
