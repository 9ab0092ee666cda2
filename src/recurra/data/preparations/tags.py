"""Tagged sentences in columns, as in CoNLL: a token, a tab and its tag a line, a blank line after each sentence."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from recurra.errors import DataError

__all__ = ["Sentence", "cut", "single", "write_parts"]

Sentence = tuple[tuple[str, str], ...]  # (token, tag), ...


def single(sentences: Sequence[Sentence]) -> tuple[list[Sentence], dict[str, int]]:
    """Each sentence once, the first copy of its tokens, so that none is in two parts."""
    first: dict[tuple[str, ...], Sentence] = {}
    for sentence in sentences:
        first.setdefault(tuple(token for token, _ in sentence), sentence)
    kept = list(first.values())
    return kept, {"repeated sentences": len(sentences) - len(kept)}


def cut(sentences: Sequence[Sentence]) -> dict[str, Sequence[Sentence]]:
    """Eight tenths, one and one, in the order of the sentences."""
    first, second = len(sentences) * 8 // 10, len(sentences) * 9 // 10
    return {"train": sentences[:first], "valid": sentences[first:second], "test": sentences[second:]}


def write_parts(parts: Mapping[str, Iterable[Sentence]], target: Path) -> None:
    """Write ``train.conll``, ``valid.conll`` and ``test.conll``."""
    for name, sentences in parts.items():
        _write(sentences, target / f"{name}.conll")


def _write(sentences: Iterable[Sentence], path: Path) -> None:
    blocks = []
    for number, sentence in enumerate(sentences, 1):
        lines = [unicodedata.normalize("NFC", f"{token}\t{tag}") for token, tag in sentence]
        if not lines or any(len(line.split()) != 2 for line in lines):
            raise DataError(f"{path.name}, sentence {number}: expected a token and a tag a line, got {lines}")
        blocks.append("".join(line + "\n" for line in lines))
    path.write_text("\n".join(blocks), "utf-8", newline="\n")
