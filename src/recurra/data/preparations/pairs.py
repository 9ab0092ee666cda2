"""Sentences and their translations: ``train.en`` and ``train.es``, a sentence a line, and so for valid and test.

The parts are split by the English side (`recurra.data.preparations.parts`), so all translations of a sentence are
in one part.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from recurra.data.preparations.parts import PARTS, part
from recurra.data.preparations.tables import line, read_lines
from recurra.errors import DataError

__all__ = ["Pair", "prepare_spanish", "prepare_ukrainian", "write_split"]

Pair = tuple[str, str, str]  # a sentence, its translation, who is to be named for them


def prepare_spanish(folder: Path, target: Path) -> dict[str, int]:
    """Write English and Spanish, and ``attribution.tsv``."""
    return _prepare_tatoeba(folder, target, "spa.tsv", "es")


def prepare_ukrainian(folder: Path, target: Path) -> dict[str, int]:
    """Write English and Ukrainian, and ``attribution.tsv``."""
    return _prepare_tatoeba(folder, target, "ukr.tsv", "uk")


def _prepare_tatoeba(folder: Path, target: Path, name: str, language: str) -> dict[str, int]:
    (path,) = folder.rglob(name)
    rows = [(line(source), line(translation), line(who)) for source, translation, who in read_lines(path, 3)]
    return write_split(rows, target, ("en", language))


def write_split(rows: Iterable[Pair], target: Path, languages: tuple[str, str]) -> dict[str, int]:
    """Write all parts, each pair once, and ``attribution.tsv`` if anyone is named; return what was left out."""
    kept: dict[tuple[str, str], str] = {}
    count = 0
    for count, (source, translation, who) in enumerate(rows, 1):
        if not source or not translation:
            raise DataError(f"pair {count}: expected a sentence and its translation, got {[source, translation]}")
        kept.setdefault((_normal(source), _normal(translation)), who)
    named = ["part\tline\tattribution"]
    for name in PARTS:
        pairs = [pair for pair in kept if part(pair[0]) == name]
        for side, language in enumerate(languages):
            text = "".join(pair[side] + "\n" for pair in pairs)
            (target / f"{name}.{language}").write_text(text, "utf-8", newline="\n")
        named += [f"{name}\t{number}\t{kept[pair]}" for number, pair in enumerate(pairs, 1) if kept[pair]]
    if len(named) > 1:
        (target / "attribution.tsv").write_text("\n".join(named) + "\n", "utf-8", newline="\n")
    return {"repeated pairs": count - len(kept)}


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)
