"""LibreOffice in English and Traditional Chinese: what its windows say, and the paragraphs of its help.

marks of keys      ``~Version:`` and ``版本(~V)：`` become ``Version:`` and ``版本：``; ``_`` is such a mark too
product            ``%PRODUCTNAME`` becomes ``LibreOffice``
other gaps         ``%1``, ``$(ARG1)``, ``$name$``, ``<br/>`` stay; both sides must have the same
lines              a message of several lines becomes several pairs, if both sides have as many
help               paragraphs with one name (``par_id3147352``) on the pages of one name; the system is not a Mac
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

from recurra.data.preparations.messages import read_messages
from recurra.data.preparations.pairs import write_split
from recurra.data.preparations.tables import line

__all__ = ["paragraphs", "prepare", "unmarked"]

HAN = re.compile("[㐀-鿿豈-﫿\U00020000-\U0003ffff]")
LETTER = re.compile("[A-Za-z]")
KEY = re.compile(r"\s*[(（][~_](\S)[)）]")  # the key of a Chinese label
MARK = re.compile(r"[~_](?=[^\s_])")
LEADING = re.compile(r"(?<![\w%$~])(?:~(?=[^\W\d_])|_(?=[^\W_]))")
INNER = re.compile(r"(?<=[A-Za-z])[~_](?=[A-Za-z])")
PRODUCT = re.compile(r"%PRODUCTNAME\b")
GAP = re.compile(r"%[A-Z][A-Z_]+\d*|%\d|%[a-z]\b|\$\([A-Z]+\d*\)|\$\d|\$[A-Za-z]+\$?|#\d|</?\w+ ?/?>")
BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6"}


def prepare(folder: Path, target: Path) -> dict[str, int]:
    """Write ``train``, ``valid`` and ``test`` as ``.en`` and ``.zh_TW``, split by the English side."""
    pairs = [pair for message in _messages(folder) for pair in _lines(*unmarked(*message))]
    pairs += _help(folder)
    whole = [(line(source), line(translation)) for source, translation in pairs]
    translated = [(a, b) for a, b in whole if HAN.search(b) and LETTER.search(a) and not HAN.search(a)]
    same = [(a, b, "") for a, b in translated if Counter(GAP.findall(a)) == Counter(GAP.findall(b))]
    repeated = write_split(same, target, ("en", "zh_TW"))
    return {"not translated": len(whole) - len(translated), "other gaps": len(translated) - len(same)} | repeated


def _messages(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.mo")):
        yield from read_messages(path)


def unmarked(source: str, translation: str) -> tuple[str, str]:
    """A label and its translation without the marks of their keys."""
    source, translation = (PRODUCT.sub("LibreOffice", text) for text in (source, translation))
    if key := KEY.search(translation):
        letter = unicodedata.normalize("NFKC", key[1]).casefold()
        marks = list(MARK.finditer(source))
        fitting = [mark for mark in marks if source[mark.end()].casefold() == letter]
        for mark in (fitting or marks)[:1]:
            source = source[: mark.start()] + source[mark.end() :]
        return source, KEY.sub("", translation)
    source, translation = _inner(source, translation), _inner(translation, source)
    return LEADING.sub("", source), LEADING.sub("", translation)


def _inner(text: str, other: str) -> str:
    """A text without marks inside words. A word that the other side has with its mark is a name and stays."""
    return re.sub(r"[\w~]+", lambda found: found[0] if found[0] in other else INNER.sub("", found[0]), text)


def _lines(source: str, translation: str) -> list[tuple[str, str]]:
    """Line by line where both have as many lines, else the whole."""
    left, right = ([row for row in text.split("\n") if row.strip()] for text in (source, translation))
    return list(zip(left, right, strict=True)) if len(left) == len(right) else [(source, translation)]


def _help(folder: Path) -> Iterable[tuple[str, str]]:
    (english,) = folder.rglob("help/en-US/text")
    chinese = english.parents[1] / "zh-TW" / "text"
    for path in sorted(english.rglob("*.html")):
        twin = chinese / path.relative_to(english)
        if twin.exists():
            there = paragraphs(twin.read_text("utf-8"))
            yield from (
                (text, there[name]) for name, text in paragraphs(path.read_text("utf-8")).items() if name in there
            )


def paragraphs(page: str) -> dict[str, str]:
    """The paragraphs and headings of a page of the help by their names; where one comes twice, the first."""
    reader = _Page()
    reader.feed(page)
    reader.close()
    return {name: line("".join(parts)) for name, parts in reader.found.items()}


class _Page(HTMLParser):
    """Collects text. ``hidden`` spans hold what stands for one system or program only, but for the default."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.parts: list[str] | None = None  # of the paragraph that is open
        self.open: list[bool] = []  # for each open span of it: whether its text is left out

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        name = values.get("id") or ""
        if tag in BLOCKS:
            self.open = []
            self.parts = [] if name.startswith(("par_", "hd_")) else None
            if self.parts is not None and name not in self.found:
                self.found[name] = self.parts
        elif tag == "span":
            self.open.append("hidden" in values and not name.startswith("default"))
        elif tag == "br" and self.parts is not None:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self.parts = None
        elif tag == "span" and self.open:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.parts is not None and not any(self.open):
            self.parts.append(data)
