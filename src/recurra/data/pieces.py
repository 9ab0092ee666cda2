"""Plain text cut into tokens that know where they stand: words, or characters for Chinese.

A word is the first of these that fits:

    web and mail addresses      https://t.co/x   a.b@mail.org
    names and tags of tweets    @paulwalk   #oscars
    abbreviations               U.S.   e.g.
    numbers                     1,000.50   7:30   3.5
    words                       living   co-op   O'Brien      letters and digits with their combining marks
    a Han character             each is a token of its own
    a run of one sign           ...   !!!   --
    any other sign              with all that is joined to it, as an emoji of a family

In the end 's, 'm, 're, 've, 'll, 'd and n't are cut from English words, as the Penn Treebank does.
"""

import re
import unicodedata
from functools import cache
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Piece", "characters", "words"]

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
JOINED = "\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\u20e3"  # joiner, variation selectors, skin tones, key cap
CLITIC = re.compile(r"(?i)(?<=\w)(n['’]t|['’](?:s|m|re|ve|ll|d))$")


class Piece(NamedTuple):
    """A token of a text: ``text[begin:end]``."""

    text: str
    begin: int
    end: int


def words(text: str) -> list[Piece]:
    """The words and signs of a text, without the white space between them."""
    found = []
    for match in _pattern().finditer(text):
        clitic = CLITIC.search(match[0])
        cuts = [match.start(), *([match.start() + clitic.start()] if clitic else []), match.end()]
        found += [Piece(text[a:b], a, b) for a, b in pairwise(cuts)]
    return found


def characters(text: str) -> list[Piece]:
    """The characters of a text, each with its combining marks, without white space."""
    return [Piece(match[0], *match.span()) for match in re.finditer(rf"\S[{_marks()}]*", text)]


@cache
def _pattern() -> re.Pattern[str]:
    letter = rf"(?:(?![{HAN}])[\w{_marks()}])"
    rules = (
        r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}'’]",
        r"[\w.+-]+@\w[\w-]*(?:\.\w[\w-]*)+",
        r"[@#]\w+",
        r"(?:[A-Za-z]\.){2,}",
        r"\d+(?:[.,:/]\d+)*(?!\w)",
        rf"{letter}+(?:[-'’]{letter}+)*",
        rf"[{HAN}][{_marks()}]*",
        r"([^\w\s])\1+",
        r"[\U0001f1e6-\U0001f1ff]{2}",  # a flag
        rf"[^\s](?:[{_marks()}{JOINED}]|(?<=\u200d)[^\s\w])*",
    )
    return re.compile("|".join(rules))


@cache
def _marks() -> str:
    """All combining marks, as ranges of a pattern: Python counts them to no word."""
    found = [code for code in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)) if _is_mark(code)]
    begins = [code for code in found if not _is_mark(code - 1)]
    ends = [code for code in found if not _is_mark(code + 1)]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(begins, ends, strict=True))


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code)).startswith("M")
