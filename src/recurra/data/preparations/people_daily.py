"""People's Daily of January 1998, words and parts of speech by Peking University: names, or words, by characters.

    the file       江/nr  泽民/nr  访问/v  中国/ns
    names          江 B-PER   泽 I-PER   民 I-PER   访 O   问 O   中 B-LOC   国 I-LOC
    words          江 S       泽 B       民 E       访 B   问 E   中 B       国 E

A surname and the given name after it are two words there and one person here. A word of one character is a surname,
and so are the compound ones below; any other word of a list of names is a person of its own. ``nt`` marks
organisations that are one word; longer ones, which the corpus has in brackets, were taken apart in this copy, so
their words are ``O`` or places. The parts are 8 : 1 : 1 in the order of the month, each line once.
"""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from recurra.data.preparations import tags
from recurra.errors import DataError

__all__ = ["names", "persons", "prepare", "prepare_words", "segments", "words"]

Pairs = list[tuple[str, str]]  # (word, its part of speech), or (character, its tag)

KINDS = {"nr": "PER", "ns": "LOC", "nt": "ORG"}
COMPOUND = {
    "欧阳",
    "诸葛",
    "司马",
    "司徒",
    "南宫",
    "令狐",
    "上官",
    "皇甫",
    "夏侯",
    "公孙",
    "尉迟",
    "慕容",
    "东方",
    "西门",
}


def prepare(folder: Path, target: Path) -> dict[str, int]:
    """Write ``train.conll``, ``valid.conll`` and ``test.conll`` with the names."""
    return _prepare(folder, target, names)


def prepare_words(folder: Path, target: Path) -> dict[str, int]:
    """Write the same parts with the words: B, M, E for the first, inner and last character, S for a single one."""
    return _prepare(folder, target, segments)


def _prepare(folder: Path, target: Path, tagged: Callable[[Pairs], Iterator[tuple[str, str]]]) -> dict[str, int]:
    (path,) = folder.rglob("199801.txt")
    rows = [(number, row) for number, row in enumerate(path.read_text("utf-8").split("\n"), 1) if row.strip()]
    kept, left_out = tags.single([tuple(tagged(words(row, number))) for number, row in rows])
    tags.write_parts(tags.cut(kept), target)
    return left_out


def words(row: str, number: int) -> Pairs:
    """The words and tags of one line. Raises DataError for a word without a tag."""
    pairs = [token.rpartition("/")[::2] for token in row.split()]
    if not all(word and tag for word, tag in pairs):
        raise DataError(f"199801.txt, line {number}: expected word/tag everywhere, got {row[:60]!r}")
    return [(word, tag) for word, tag in pairs]


def names(pairs: Pairs) -> Iterator[tuple[str, str]]:
    """Each character with the tag of its name, in BIO."""
    for tag, run in groupby(pairs, key=lambda pair: pair[1]):
        spans = [word for word, _ in run]
        kind = KINDS.get(tag)
        for span in persons(spans) if tag == "nr" else spans:
            yield from ((sign, f"{'I' if i else 'B'}-{kind}" if kind else "O") for i, sign in enumerate(span))


def segments(pairs: Pairs) -> Iterator[tuple[str, str]]:
    """Each character with its place in the word."""
    for word, _ in pairs:
        places = "S" if len(word) == 1 else "B" + "M" * (len(word) - 2) + "E"
        yield from zip(word, places, strict=True)


def persons(spans: list[str]) -> list[str]:
    """The persons of words that stand side by side, such as ``李 鹏 朱 镕基``: each surname with its given name."""
    if len(spans) == 3 and len(spans[0]) == len(spans[1]) == 1:
        return ["".join(spans)]  # a married woman's two surnames: 陈 方 安生
    found, rest = [], list(spans)
    while rest:
        size = 2 if len(rest[0]) == 1 or rest[0] in COMPOUND else 1
        found.append("".join(rest[:size]))
        rest = rest[size:]
    return found
