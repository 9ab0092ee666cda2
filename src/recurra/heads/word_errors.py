"""How many words of transcripts are wrong, and which: word and character error rates, and a table of the words.

    rate = (substituted + deleted + inserted) / there         of the alignment with the fewest errors

Levenshtein 1966. The alignments are those of jiwer, which comes with ``recurra[speech]``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from recurra.errors import ConfigError, DataError

__all__ = ["Errors", "WordErrors", "WordRow", "word_errors"]


class Errors(NamedTuple):
    """What became of units (words or characters) that are in the references, and what was added to them."""

    there: int
    substituted: int
    deleted: int
    inserted: int

    @property
    def rate(self) -> float:
        """Errors for each unit that is there; may be more than 1. Where nothing is there, the number of errors."""
        return (self.substituted + self.deleted + self.inserted) / max(1, self.there)


class WordRow(NamedTuple):
    """One word: how often it is there, and what became of it.

    taken_for  (other word, how often), the most frequent first
    """

    word: str
    there: int
    right: int
    deleted: int
    inserted: int
    taken_for: tuple[tuple[str, int], ...]

    @property
    def errors(self) -> int:
        """How often it was taken for another, left out or added."""
        return self.there - self.right + self.inserted


@dataclass(frozen=True)
class WordErrors:
    """Errors of words and of characters, spaces among them, and a row for each word, the worst first."""

    words: Errors
    characters: Errors
    rows: tuple[WordRow, ...]

    @property
    def wer(self) -> float:
        """The word error rate, as a share."""
        return self.words.rate

    @property
    def cer(self) -> float:
        """The character error rate, as a share."""
        return self.characters.rate

    def table(self, most: int = 20) -> str:
        """The words with most errors, as text in columns."""
        head = ("word", "there", "right", "deleted", "inserted", "taken for")
        lines = [head, *(_cells(row) for row in self.rows[:most] if row.errors)]
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        return "\n".join("  ".join(_aligned(line, widths)).rstrip() for line in lines)


def _cells(row: WordRow) -> tuple[str, ...]:
    counts = (row.there, row.right, row.deleted, row.inserted)
    others = ", ".join(f"{word} {count}" for word, count in row.taken_for)
    return (row.word, *map(str, counts), others)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield cells[0].ljust(widths[0])
    for cell, width in zip(cells[1:5], widths[1:], strict=True):
        yield cell.rjust(width)
    yield cells[5]


def word_errors(references: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Compare transcripts, one a recording, with what was really said. Words are what stands between white space.

    Raises DataError if there are not as many of the one as of the other.
    """
    if len(references) != len(heard):
        raise DataError(
            f"word errors: expected a transcript for each of {len(references)} references, got {len(heard)}"
        )
    tool = _jiwer()
    spaced = [[" ".join(text.split()) for text in texts] for texts in (references, heard)]
    words = tool.process_words(*spaced)
    return WordErrors(_errors(words), _errors(tool.process_characters(*spaced)), _rows(words))


def _jiwer() -> Any:
    try:
        import jiwer
    except ModuleNotFoundError as error:
        raise ConfigError("word errors need jiwer; install recurra[speech]") from error
    return jiwer


def _errors(found: Any) -> Errors:
    there = found.hits + found.substitutions + found.deletions
    return Errors(there, found.substitutions, found.deletions, found.insertions)


def _pairs(found: Any) -> Iterator[tuple[str, str]]:
    """(word there, word heard) along the alignments; "" where there is none."""
    for chunks, there, heard in zip(found.alignments, found.references, found.hypotheses, strict=True):
        for chunk in chunks:
            mine = there[chunk.ref_start_idx : chunk.ref_end_idx]
            theirs = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
            size = max(len(mine), len(theirs))
            yield from zip(mine or [""] * size, theirs or [""] * size, strict=True)


def _rows(found: Any) -> tuple[WordRow, ...]:
    became: defaultdict[str, Counter[str]] = defaultdict(Counter)
    inserted: Counter[str] = Counter()
    for mine, theirs in _pairs(found):
        if mine:
            became[mine][theirs] += 1
        else:
            inserted[theirs] += 1
    rows = [_row(word, became[word], inserted[word]) for word in {*became, *inserted}]
    return tuple(sorted(rows, key=lambda row: (-row.errors, row.word)))


def _row(word: str, became: Counter[str], inserted: int) -> WordRow:
    others = {other: count for other, count in became.items() if other not in ("", word)}
    ranked = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    return WordRow(word, became.total(), became[word], became[""], inserted, tuple(ranked))
