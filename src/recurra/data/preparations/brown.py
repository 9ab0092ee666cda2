"""The Brown corpus (Francis and Kucera 1964) in Form C, ``word/tag``: plain text, as near print as its marks allow.

    Form C                                       plain text
    ``/`` I/ppss ain't/bem* ''/'' !/. !/.        "I ain't!"
    State/nn Street/nn ;/. ;/. Albany/np         State Street; Albany

Form C writes the marks ``; ? !`` twice at the end of a sentence and puts every closing quotation mark before the
mark that follows it; American print of the time has ``. , ! ?`` inside, so they go back there.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

from recurra.data.preparations import tags
from recurra.data.preparations.parts import PARTS
from recurra.errors import DataError

__all__ = ["plain", "prepare", "prepare_tags", "sentences"]

FILE = re.compile(r"c[a-r]\d\d")
DOUBLED = {";", "?", "!", ":"}
INSIDE = {".", ",", "!", "?"}
CLOSING = {".", ",", ";", ":", "?", "!", ")", "''"}
OPENING = {"(", "``"}
QUOTES = {"``": '"', "''": '"'}


def prepare(folder: Path, target: Path) -> None:
    """Write ``text.txt``: a paragraph a line, a blank line between documents, in the order of the genres."""
    documents = ["\n".join(_paragraphs(path)) for path in _files(folder)]
    (target / "text.txt").write_text("\n\n".join(documents) + "\n", "utf-8", newline="\n")


def prepare_tags(folder: Path, target: Path) -> dict[str, int]:
    """Write ``train.conll``, ``valid.conll`` and ``test.conll``: words with their parts of speech.

    Of ten documents of a genre the ninth is for validation and the tenth for the test. A tag loses what follows its
    hyphen, which says that the word is in a heading or a title or is quoted; ``fw-``, a foreign word, stays.
    """
    found: list[tuple[str, tags.Sentence]] = []
    for path in _files(folder):
        part = {"9": "valid", "0": "test"}.get(path.name[-1], "train")
        text = path.read_text("ascii")
        found += [
            (part, tuple((word, _short(tag)) for word, tag in tokens)) for tokens in sentences(text, path.name)
        ]
    kept, left_out = tags.single([sentence for _, sentence in found])
    places = {sentence: part for part, sentence in reversed(found)}  # that of the first copy
    parts: dict[str, list[tags.Sentence]] = {name: [] for name in PARTS}
    for sentence in kept:
        parts[places[sentence]].append(sentence)
    tags.write_parts(parts, target)
    return left_out


def _short(tag: str) -> str:
    """``nn`` of ``nn-tl-hl``, ``fw-nn`` of ``fw-nn-tl``, ``--`` of ``---hl``."""
    foreign, tag = ("fw-", tag[3:]) if tag.startswith("fw-") else ("", tag)
    return foreign + (tag[:2] if tag.startswith("--") else tag.partition("-")[0])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if FILE.fullmatch(path.name))


def _paragraphs(path: Path) -> Iterator[str]:
    text = unicodedata.normalize("NFC", path.read_text("ascii"))
    for block in re.split(r"\n\s*\n", text):
        kinds = groupby(sentences(block, path.name), key=_is_heading)  # a heading stands on a line of its own
        for _, run in kinds:
            yield " ".join(plain([word for word, _ in tokens]) for tokens in run)


def _is_heading(tokens: list[tuple[str, str]]) -> bool:
    return all(tag.endswith("-hl") for _, tag in tokens)


def sentences(block: str, name: str) -> Iterator[list[tuple[str, str]]]:
    """The words and tags of each line of a block. Raises DataError for a token without a tag."""
    for row in block.split("\n"):
        tokens = [token.rpartition("/")[::2] for token in row.split()]
        for word, tag in tokens:
            if not word or not tag:
                raise DataError(f"{name}: expected word/tag, got {word}{tag!r} in {row.strip()[:60]!r}")
        if tokens:
            yield [(word, tag) for word, tag in tokens]


def plain(words: list[str]) -> str:
    """One sentence as print has it."""
    single = [word for word, after in pairwise([*words, ""]) if not (word in DOUBLED and word == after)]
    text, glued, open_single = "", True, False
    for word in _inside(single):
        if word == "'":  # a single quotation mark: the first opens, the next closes
            open_single = not open_single
        closes = word in CLOSING or (word == "'" and not open_single)
        if not (word == "." and text.endswith(".")):  # the point of Jr. ends the sentence too
            text += ("" if glued or closes else " ") + QUOTES.get(word, word)
        glued = word in OPENING or (word == "'" and open_single)
    return text


def _inside(words: list[str]) -> list[str]:
    """Closing quotation marks after the marks of a sentence."""
    words = list(words)
    for i in range(len(words) - 1):
        if words[i] in ("''", "'") and words[i + 1] in INSIDE and i:
            words[i], words[i + 1] = words[i + 1], words[i]
    return words
