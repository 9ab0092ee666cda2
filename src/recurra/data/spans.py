"""Entities in a sentence, and the tags that write them down: BIO, BIO1 and BIOES.

    tokens   Angela   Merkel   visited   Paris
    BIO      B-PER    I-PER    O         B-LOC      Ramshaw and Marcus 1995, as CoNLL-2002 has it
    BIO1     I-PER    I-PER    O         I-LOC      B- only right after an entity of the same type; CoNLL-2003
    BIOES    B-PER    E-PER    O         S-LOC      end and single have letters of their own (Ratinov and Roth 2009)

BILOU and BMES are BIOES by other letters, and are read as such.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from recurra.errors import ConfigError, DataError

__all__ = ["SCHEMES", "Scheme", "Span", "convert", "illegal", "kinds_of", "parse", "scheme_of", "spans", "write"]

Scheme = Literal["BIO", "BIO1", "BIOES"]
SCHEMES: tuple[Scheme, ...] = ("BIO", "BIO1", "BIOES")
ALIASES = {"L": "E", "U": "S", "M": "I"}


class Span(NamedTuple):
    """An entity: the tokens from ``begin`` up to, not with, ``end``, and its type."""

    begin: int
    end: int
    kind: str


@lru_cache(4096)  # a file has few kinds of tag and asks millions of times
def parse(tag: str) -> tuple[str, str]:
    """``"B-PER"`` as ``("B", "PER")``, ``"O"`` as ``("O", "")``. Raises DataError for what is no tag."""
    prefix, dash, kind = tag.partition("-")
    prefix = ALIASES.get(prefix, prefix)
    if tag == "O" or (dash and kind and prefix in ("B", "I", "E", "S")):
        return prefix, kind
    raise DataError(f"expected a tag such as O, B-PER or I-PER, got {tag!r}")


def spans(tags: Iterable[str]) -> list[Span]:
    """The entities of a sentence, as the script of CoNLL counts them (conlleval; Tjong Kim Sang 2000).

    An entity begins at B, at S, and at an I or E that does not go on with an open entity of its type; it ends after
    E and S, and where another begins or an O stands. So every sequence of tags has entities, broken ones too.
    """
    found: list[Span] = []
    begin, before, kind = -1, "O", ""
    for end, tag in enumerate([*tags, "O"]):
        prefix, here = parse(tag)
        begins = prefix in ("B", "S") or (prefix != "O" and (before in ("O", "E", "S") or here != kind))
        if begin >= 0 and (begins or prefix == "O" or before in ("E", "S")):
            found.append(Span(begin, end, kind))
            begin = -1
        begin = end if begins else begin
        before, kind = prefix, here
    return found


def write(found: Iterable[Span], length: int, scheme: Scheme = "BIO") -> list[str]:
    """The tags of a sentence of ``length`` tokens with these entities. Raises DataError if two overlap."""
    if scheme not in SCHEMES:
        raise ConfigError(f"scheme: expected one of {', '.join(SCHEMES)}, got {scheme!r}")
    tags = ["O"] * length
    for begin, end, kind in sorted(found):
        if not 0 <= begin < end <= length or set(tags[begin:end]) != {"O"}:
            raise DataError(
                f"expected entities inside of {length} tokens that do not overlap, got {kind} at {begin}..{end}"
            )
        letters = _letters(end - begin, scheme, begin > 0 and tags[begin - 1].endswith(f"-{kind}"))
        tags[begin:end] = [f"{letter}-{kind}" for letter in letters]
    return tags


def _letters(length: int, scheme: Scheme, touches: bool) -> str:
    if scheme == "BIOES":
        return "S" if length == 1 else "B" + "I" * (length - 2) + "E"
    return ("I" if scheme == "BIO1" and not touches else "B") + "I" * (length - 1)


def convert(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities by another scheme, whatever the scheme of ``tags`` is."""
    return write(spans(tags), len(tags), scheme)


def kinds_of(sentences: Iterable[Iterable[str]]) -> list[str]:
    """The types of entity in tagged sentences, in the order of the alphabet."""
    return sorted({parse(tag)[1] for tags in sentences for tag in tags} - {""})


def scheme_of(sentences: Iterable[Iterable[str]]) -> Scheme:
    """The scheme that a file is written in.

    BIOES if any E or S stands in it; BIO1 if there is an I- that begins an entity but no B- that needs none before
    it; else BIO.
    """
    opened_by_i, free_b = False, False
    for tags in sentences:
        before, last = "O", ""
        for tag in tags:
            prefix, kind = parse(tag)
            if prefix in ("E", "S"):
                return "BIOES"
            opened_by_i |= prefix == "I" and (before == "O" or last != kind)
            free_b |= prefix == "B" and (before == "O" or last != kind)
            before, last = prefix, kind
    return "BIO1" if opened_by_i and not free_b else "BIO"


def illegal(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """The places of tags that cannot stand where they do; the number of tags means that the end is wrong.

    ``write(spans(tags), ...)`` mends them by the rule of CoNLL: what goes on with nothing begins an entity.
    """
    if scheme == "BIO1":  # every I- may stand anywhere
        return []
    wrong = []
    before, last = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, kind = parse(tag)
        goes_on, continues = prefix in ("I", "E"), before in ("B", "I") and last == kind
        unfinished = scheme == "BIOES" and before in ("B", "I") and not (goes_on and continues)
        if unfinished or (goes_on and not continues):
            wrong.append(place)
        before, last = prefix, kind
    return wrong
