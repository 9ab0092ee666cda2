"""What a tagger knows of words: numbers for words, shapes, characters and pairs, and batches of sentences."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recurra.data.batches import RowBatches
from recurra.data.conll import Sentence
from recurra.data.spans import Scheme, convert, kinds_of, spans
from recurra.errors import RunError

__all__ = ["Row", "TagBatch", "TagRows", "TagVocabulary", "plain", "shape"]

LONGEST = 20  # characters that are read from each end of a long word
LEAST_PAIRS = 4  # how often a pair must stand: rarer ones are many and teach little
EDGE = "\n"  # beside the first and the last token, in pairs


@lru_cache(1 << 16)
def plain(token: str) -> str:
    """The word that a token is taken for: small letters, and 0 for each digit (Lample et al. 2016)."""
    return re.sub(r"\d", "0", token.lower())


def shape(token: str) -> str:
    """How a token is written: X a capital, x a letter, 0 a digit; runs of the same are one: ``McDonald's`` is
    ``XxXx'x``, at most 8 signs long.
    """
    signs = "".join("X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in token[:64])
    return re.sub(r"(.)\1+", r"\1", signs)[:8]


@dataclass(frozen=True)
class TagVocabulary:
    """Lists whose places are the numbers; number 0 of each is the unknown, and no character at all.

    kinds       types of entity
    words       by `plain`
    shapes      by `shape`
    characters  as they are
    pairs       neighbours, both tokens by `plain`
    """

    kinds: tuple[str, ...]
    words: tuple[str, ...]
    shapes: tuple[str, ...]
    characters: tuple[str, ...]
    pairs: tuple[str, ...]

    @classmethod
    def learn(cls, sentences: Sequence[Sentence], more: Iterable[str] = (), pairs: bool = False) -> "TagVocabulary":
        """All words of the training part and ``more``; shapes and characters seen twice, pairs seen four times."""
        tokens = Counter(token for sentence in sentences for token in sentence.tokens)
        words = sorted({plain(token) for token in tokens} | set(more))
        return cls(
            kinds=tuple(kinds_of(sentence.tags for sentence in sentences)),
            words=("", *words),
            shapes=_frequent(tokens, lambda token: [shape(token)]),
            characters=_frequent(tokens, list),
            pairs=_pairs(sentences) if pairs else ("",),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TagVocabulary":
        """The inverse of `to_dict`. Raises RunError if something is missing."""
        try:
            return cls(**{name: tuple(values[name]) for name in cls.__dataclass_fields__})
        except (KeyError, TypeError) as error:
            raise RunError(f"the vocabulary is broken: {type(error).__name__} {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def tags(self, scheme: Scheme) -> list[str]:
        """The names of the tags by their numbers."""
        letters = "BI" if scheme == "BIO" else "BIES"
        return ["O", *(f"{letter}-{kind}" for kind in self.kinds for letter in letters)]

    @cached_property
    def numbers(self) -> dict[str, dict[str, int]]:
        """The numbers of ``words``, ``shapes``, ``characters`` and ``pairs``."""
        return {name: {v: i for i, v in enumerate(getattr(self, name))} for name in self.__dataclass_fields__}


def _pairs(sentences: Sequence[Sentence]) -> tuple[str, ...]:
    counts = Counter(pair for sentence in sentences for pair in neighbours(sentence.tokens))
    return ("", *sorted(pair for pair, count in counts.items() if count >= LEAST_PAIRS))


def _frequent(counts: Counter[str], parts: Callable[[str], list[str]]) -> tuple[str, ...]:
    """What stands at least twice in all tokens, so that what stands once shows what the unknown is like."""
    total: Counter[str] = Counter()
    for token, count in counts.items():
        for part in parts(token):
            total[part] += count
    return ("", *sorted(part for part, count in total.items() if count > 1))


def neighbours(tokens: Sequence[str]) -> list[str]:
    """The T + 1 pairs of T tokens: before the first one, between, after the last one."""
    row = [EDGE, *map(plain, tokens), EDGE]
    return [f"{a} {b}" for a, b in pairwise(row)]


class Row(NamedTuple):
    """A sentence in numbers.

    forms       (T,)       which of the distinct tokens of its `TagRows`
    pairs       (T + 1,)   see `neighbours`
    tags        (T,)
    missed      ()         entities whose type was never seen in training
    contextual  (T, L, D)  states of language models; None without
    """

    forms: Tensor
    pairs: Tensor
    tags: Tensor
    missed: Tensor
    contextual: Tensor | None


class TagBatch(NamedTuple):
    """Sentences side by side, padded on the right. What belongs to a word stands once for each distinct word.

    place       (B, T)        which of the U distinct words each token is
    words       (U,)          numbers, 0 for the unknown
    shapes      (U,)
    characters  (U, C)        padded with 0
    spelled     (U,)          characters of each word
    pairs       (B, T + 1)
    contextual  (B, T, L, D)  or None
    tags        (B, T)        0 in the padding
    lengths     (B,)
    missed      (B,)
    """

    place: Tensor
    words: Tensor
    shapes: Tensor
    characters: Tensor
    spelled: Tensor
    pairs: Tensor
    contextual: Tensor | None
    tags: Tensor
    lengths: Tensor
    missed: Tensor


Contextual = Callable[[list[tuple[str, ...]]], list[Tensor]]  # sentences -> (T, L, D) of each


class TagRows(Sequence[Row]):
    """Sentences in numbers: a sequence of `Row`, and `collate` that puts rows side by side.

    contextual  gives the states of language models for all sentences, asked once when the first row is
    unknown     in training: a word seen n times is unknown with the chance unknown / (unknown + n), which is how
                the vector of the unknown word learns (Kiperwasser and Goldberg 2016)
    """

    def __init__(
        self,
        sentences: Sequence[Sentence],
        vocabulary: TagVocabulary,
        scheme: Scheme,
        contextual: Contextual | None = None,
        unknown: float = 0.0,
    ) -> None:
        self.sentences, self.contextual = sentences, contextual
        self._states: list[Tensor] | None = None
        counts = Counter(token for sentence in sentences for token in sentence.tokens)
        forms = {form: i for i, form in enumerate(counts)}
        self.forms = [_numbers(forms, sentence.tokens) for sentence in sentences]
        self.words = _numbers(vocabulary.numbers["words"], map(plain, counts))
        self.shapes = _numbers(vocabulary.numbers["shapes"], map(shape, counts))
        known = vocabulary.numbers["characters"]
        spellings = [_numbers(known, form[:LONGEST] + form[LONGEST:][-LONGEST:]) for form in counts]
        self.characters = pad_sequence(spellings, batch_first=True) if spellings else torch.zeros(0, 1).long()
        self.spelled = torch.tensor([len(spelling) for spelling in spellings], dtype=torch.long)
        self.chance = _chance(counts, unknown)
        self.pairs = [_numbers(vocabulary.numbers["pairs"], neighbours(s.tokens)) for s in sentences]
        names = {name: i for i, name in enumerate(vocabulary.tags(scheme))}
        self.tags = [_numbers(names, convert(s.tags, scheme)) for s in sentences]
        kinds = set(vocabulary.kinds)
        self.missed = [sum(span.kind not in kinds for span in spans(s.tags)) for s in sentences]

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if self._states is None and self.contextual is not None:
            self._states = self.contextual([sentence.tokens for sentence in self.sentences])
        states = None if self._states is None else self._states[index]
        missed = torch.tensor(self.missed[index])
        return Row(self.forms[index], self.pairs[index], self.tags[index], missed, states)

    def batches(self, batch: int, unit: Any, shuffled: bool = False, pool: int = 1) -> RowBatches:
        """Batches of these rows."""
        lengths = [len(sentence.tokens) for sentence in self.sentences]
        return RowBatches(self, lengths, self.collate, batch, unit, shuffled, pool)

    def collate(self, rows: list[Row], random: torch.Generator) -> TagBatch:
        """Rows side by side; rare words are unknown by chance if this is the training part."""
        lengths = torch.tensor([len(row.forms) for row in rows])
        kinds, place = torch.cat([row.forms for row in rows]).unique(return_inverse=True)
        words, chance = self.words[kinds], self.chance[kinds]
        spelled = self.spelled[kinds]
        longest = int(spelled.max()) if len(spelled) else 0
        states = [row.contextual for row in rows if row.contextual is not None]
        return TagBatch(
            pad_sequence(list(place.split(lengths.tolist())), batch_first=True),
            words.masked_fill(torch.rand(len(kinds), generator=random) < chance, 0),
            self.shapes[kinds],
            self.characters[kinds, :longest],
            spelled,
            pad_sequence([row.pairs for row in rows], batch_first=True),
            pad_sequence(states, batch_first=True) if states else None,
            pad_sequence([row.tags for row in rows], batch_first=True),
            lengths,
            torch.stack([row.missed for row in rows]),
        )


def _numbers(known: dict[str, int], pieces: Iterable[str]) -> Tensor:
    return torch.tensor([known.get(piece, 0) for piece in pieces], dtype=torch.long)


def _chance(counts: Counter[str], unknown: float) -> Tensor:
    """How often each form is unknown in training; forms that are the same word count together."""
    together: Counter[str] = Counter()
    for form, count in counts.items():
        together[plain(form)] += count
    return torch.tensor([unknown / (unknown + together[plain(form)]) if unknown else 0.0 for form in counts])
