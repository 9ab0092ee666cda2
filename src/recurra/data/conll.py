"""Column files of tagged sentences: one token a line, an empty line after each sentence, as CoNLL-2003 and WNUT.

EU       NNP  I-NP  I-ORG         columns are parted by tabs, or by spaces
rejects  VBZ  I-VP  O             the token is the first column, the tag the last; or say which
German   JJ   I-NP  I-MISC
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recurra import files
from recurra.data.spans import Scheme, illegal, kinds_of, parse, scheme_of, spans, write
from recurra.data.text import read_text
from recurra.errors import DataError, DataWarning

__all__ = ["Columns", "Sentence", "read_conll", "write_conll"]

MOST_KINDS = 200  # the finest sets of entity types have about 150; more are words in the wrong column


@dataclass(frozen=True)
class Sentence:
    """Tokens and their tags by BIO, and the line of the file where they begin."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True)
class Columns:
    """How to read a column file.

    word      the column of the token, from 0
    tag       the column of the tag, from 0; -1: the last
    repair    tags that cannot stand where they do begin an entity, with a DataWarning; else they are a DataError
    comments  lines that begin with "#" and have one column, or come before the sentence, are skipped (CoNLL-U)
    """

    word: int = 0
    tag: int = -1
    repair: bool = True
    comments: bool = False


def read_conll(path: str | Path, columns: Columns | None = None) -> list[Sentence]:
    """The sentences of a column file, tagged by BIO, whatever scheme the file has (see `scheme_of`).

    Lines ``-DOCSTART-`` and empty ones part sentences. Raises DataError with file and line number for a line with
    other columns than those before, an empty token, a tag that is none, or tags in the wrong column.
    """
    columns = columns or Columns()
    lines = read_text(path).split("\n")
    raw = [_sentence(path, block, columns) for block in _blocks(path, lines, columns)]
    if not raw:
        raise DataError(f"{path}: expected sentences of tagged tokens, found none")
    kinds = kinds_of(tags for _, tags, _ in raw)
    if len(kinds) > MOST_KINDS:
        raise DataError(
            f"{path}: {len(kinds)} types of entity, such as {', '.join(kinds[:3])}; is column {columns.tag} right? "
            f"Line {raw[0][2][0]} has: {lines[raw[0][2][0] - 1]!r}"
        )
    return _legal(path, raw, columns.repair)


Raw = tuple[list[str], list[str], list[int]]  # tokens, tags, line numbers
Line = tuple[int, list[str]]  # line number, columns


def _blocks(path: str | Path, lines: list[str], columns: Columns) -> Iterator[list[Line]]:
    """The lines of each sentence, cut into columns; every line must have as many as the first one."""
    block: list[Line] = []
    first: Line | None = None
    for number, line in enumerate(lines, 1):
        cells = _cells(line)
        if columns.comments and not block and line.startswith("#"):
            continue
        if cells == [""] or cells[0] == "-DOCSTART-":
            if block:
                yield block
            block = []
            continue
        first = first or (number, cells)
        if len(cells) != len(first[1]):
            raise DataError(
                f"{path}, line {number}: expected {len(first[1])} columns as in line {first[0]}, got {len(cells)}: "
                f"{line!r}"
            )
        block.append((number, cells))
    if block:
        yield block


def _cells(line: str) -> list[str]:
    """The columns of a line. Only tabs or spaces part them: a no-break space belongs to its token."""
    line = line.rstrip(" \t")
    return line.split("\t") if "\t" in line else line.split(" ") if "  " not in line else _split(line)


def _split(line: str) -> list[str]:
    return [cell for cell in line.split(" ") if cell]


def _sentence(path: str | Path, block: list[Line], columns: Columns) -> Raw:
    tokens, tags = [], []
    for number, cells in block:
        where = f"{path}, line {number}"
        if len(cells) < 2 or columns.word >= len(cells) or not -len(cells) <= columns.tag < len(cells):
            raise DataError(
                f"{where}: expected a token in column {columns.word} and a tag in column {columns.tag} "
                f"(-1: the last), got {len(cells)} columns: {' '.join(cells)!r}"
            )
        token, tag = cells[columns.word], cells[columns.tag]
        if not token.strip(" "):
            raise DataError(f"{where}: expected a token in column {columns.word}, got an empty one")
        try:
            parse(tag)
        except DataError as error:
            raise DataError(f"{where}: {error} in column {columns.tag} of {' '.join(cells)!r}") from error
        tokens.append(token)
        tags.append(tag)
    return tokens, tags, [number for number, _ in block]


def _legal(path: str | Path, raw: list[Raw], repair: bool) -> list[Sentence]:
    """All sentences by BIO. What cannot stand where it does is mended as conlleval reads it, and told once."""
    scheme = scheme_of(tags for _, tags, _ in raw)
    wrong = [(numbers, tags, place) for _, tags, numbers in raw for place in illegal(tags, scheme)]
    if wrong:
        numbers, tags, place = wrong[0]
        what = (
            f"{tags[place]} after {tags[place - 1] if place else 'the beginning'}"
            if place < len(tags)
            else f"a sentence that ends with {tags[-1]}"
        )
        text = f"{path}, line {numbers[min(place, len(tags) - 1)]}: {what} is not {scheme}"
        if not repair:
            raise DataError(f'{text}; mend the file, or set data.illegal = "repair"')
        warnings.warn(
            f"{text}; it and {len(wrong) - 1} others are read as conlleval reads them: a tag that goes on with "
            "nothing begins an entity",
            DataWarning,
            stacklevel=4,
        )
    return [
        Sentence(tuple(tokens), tuple(write(spans(tags), len(tags))), numbers[0]) for tokens, tags, numbers in raw
    ]


def write_conll(path: str | Path, sentences: Iterable[Sentence], scheme: Scheme = "BIO") -> None:
    """Write sentences as ``token TAB tag`` lines. Raises DataError if a token holds a tab or line end."""
    blocks = [_written(sentence.tokens, sentence.tags, scheme) for sentence in sentences]
    files.write_text(Path(path), "\n".join(blocks))


def _written(tokens: Sequence[str], tags: Sequence[str], scheme: Scheme) -> str:
    for token in tokens:
        if not token.strip(" ") or any(mark in token for mark in "\t\r\n"):
            raise DataError(f"expected tokens that fit into a column, got {token!r}")
    converted = write(spans(tags), len(tags), scheme)
    return "".join(f"{token}\t{tag}\n" for token, tag in zip(tokens, converted, strict=True))
