"""Sentences as token numbers and back: joint tokens of two languages, with a begin and an end."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recurra.data.parallel import SentencePair
from recurra.data.text import Listed, Tokens
from recurra.tasks.translation_network import Sentences

__all__ = ["Row", "SentenceTokens", "collate", "join_pieces", "pieces_of"]

# Where a long text may be cut, best first: after a sentence, after a word, anywhere.
UNITS = tuple(re.compile(unit, re.DOTALL) for unit in (r".+?(?:[.!?]+\s+|[。！？]+\s*|$)", r"\s*\S+\s*", r"."))
FIRST_IDEOGRAPH = 0x2E80  # from here on scripts do without spaces between words


class Row(NamedTuple):
    """A sentence pair as text and as tokens."""

    pair: SentencePair
    source: list[int]
    target: list[int]


class SentenceTokens:
    """Tokens of both languages, and two more numbers: ``begin`` and ``end`` of a sentence.

    A sentence is read with a space before it, so that its first word is the token that it is elsewhere.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.begin, self.end = len(tokens), len(tokens) + 1

    def __len__(self) -> int:
        return len(self.tokens) + 2

    @property
    def unknown(self) -> int:
        """The number of an unknown token; -1 where no text is unknown."""
        return self.tokens.unknown_number

    def encode(self, sentence: str) -> list[int]:
        """Numbers of a sentence, without begin and end."""
        return self.tokens.encode(f" {sentence}") if sentence.strip() else []

    def decode(self, numbers: Iterable[int]) -> str:
        """The sentence, with its spaces and capitals as they were."""
        return self.tokens.decode(numbers).strip()

    def pieces(self, numbers: Iterable[int]) -> list[str]:
        """The text of each token, to be shown."""
        return [self.tokens.decode([number]) for number in numbers]

    def cut(self, sentence: str) -> list[str]:
        """The pieces of text that `encode` numbers, unknown ones too."""
        if isinstance(self.tokens, Listed):
            return self.tokens.pattern.findall(f" {sentence}") if sentence.strip() else []
        return self.pieces(self.encode(sentence))

    def decode_copied(self, numbers: Sequence[int], looked: Sequence[int], source: str) -> str:
        """The sentence, with each unknown token as the piece of the ``source`` that was ``looked`` at."""
        cut = self.cut(source)
        written = [
            cut[place] if number == self.unknown and place < len(cut) else self.tokens.decode([number])
            for number, place in zip(numbers, looked, strict=True)
        ]
        return "".join(written).strip()

    def forbid(self, logits: Tensor, copy: bool) -> Tensor:
        """Logits ``(N, len)``, changed in place: what no translation holds has no chance."""
        logits[:, self.begin] = float("-inf")
        if self.unknown >= 0 and not copy:
            logits[:, self.unknown] = float("-inf")
        return logits


def collate(rows: list[Row], tokens: SentenceTokens) -> Sentences:
    """Rows side by side."""
    return Sentences(
        _padded([row.source for row in rows]),
        torch.tensor([len(row.source) for row in rows]),
        _padded([[tokens.begin, *row.target] for row in rows]),
        _padded([[*row.target, tokens.end] for row in rows]),
        torch.tensor([len(row.target) + 1 for row in rows]),
    )


def _padded(numbers: list[list[int]]) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in numbers], batch_first=True)


def pieces_of(text: str, tokens: SentenceTokens, longest: int) -> list[str]:
    """A text in pieces of at most ``longest`` tokens: whole sentences, else whole words, else some characters."""
    return [piece for piece, _ in _cut(text, tokens, longest, UNITS)]


def _cut(
    text: str, tokens: SentenceTokens, longest: int, units: Sequence[re.Pattern[str]]
) -> list[tuple[str, int]]:
    """Pieces with their numbers of tokens; each begins a new piece that does not fit into the one before."""
    whole = len(tokens.encode(text.strip()))
    if whole <= longest or not units:
        return [(text.strip(), whole)]
    found: list[tuple[str, int]] = []
    raw = ""  # the last piece with the white space at its end
    for unit in units[0].findall(text):
        count = len(tokens.encode(unit.strip()))
        if found and found[-1][1] + count <= longest:
            raw += unit
            found[-1] = (raw.strip(), found[-1][1] + count)
        else:
            found += _cut(unit, tokens, longest, units[1:])
            raw = unit if count <= longest else found[-1][0] + unit[len(unit.rstrip()) :]
    return found


def join_pieces(pieces: Sequence[str]) -> str:
    """Translations of the pieces of a text as one, with spaces between scripts that have spaces."""
    full = [piece for piece in pieces if piece]
    whole = full[0] if full else ""
    for before, after in pairwise(full):
        tight = min(ord(before[-1]), ord(after[0])) >= FIRST_IDEOGRAPH
        whole += after if tight else f" {after}"
    return whole
