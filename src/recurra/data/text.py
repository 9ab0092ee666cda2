"""Text: reading it, splitting it, and cutting it into tokens."""

import json
import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError

__all__ = [
    "TOKENS",
    "BytePairs",
    "Characters",
    "Listed",
    "Tokens",
    "Words",
    "decode_text",
    "read_text",
    "split_text",
]


def read_text(path: str | Path) -> str:
    """A UTF-8 text file with ``\\n`` line ends. Raises DataError if it is missing, empty, binary or not UTF-8."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the text {path}: {error.strerror}") from error
    return decode_text(raw, str(path))


def decode_text(raw: bytes, name: str) -> str:
    """Bytes as text, with the same checks as `read_text`."""
    if not raw.strip():
        raise DataError(f"{name} is empty; expected a UTF-8 text")
    if b"\0" in raw[:65536]:
        raise DataError(f"{name} is a binary file; expected a UTF-8 text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{name} is not UTF-8: byte 0x{raw[error.start]:02x} in line {line}; "
            f"convert it with: iconv -f ENCODING -t UTF-8 {name}"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def split_text(text: str, shares: tuple[float, ...]) -> list[str]:
    """The text in order, cut at the cumulated ``shares`` such as (0.9, 0.05, 0.05)."""
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"split: expected shares that add up to 1 such as [0.9, 0.05, 0.05], got {list(shares)}")
    inner = [int(len(text) * share) for share in accumulate(shares[:-1])]
    return [text[a:b] for a, b in pairwise([0, *inner, len(text)])]


class Tokens(ABC):
    """Text <-> token numbers, learned from a training text.

    A subclass learns in `learn`, and writes `encode`, `decode` and `to_dict`. ``len`` is the number of kinds.
    """

    kind: ClassVar[str]
    unknown_number: ClassVar[int] = -1  # the number of the unknown token, -1 where no text is unknown

    def known(self, logits: Tensor) -> Tensor:
        """Logits ``(..., kinds)`` with no chance for the unknown token, which is nothing to write."""
        if self.unknown_number < 0:
            return logits
        return logits.index_fill(-1, torch.tensor([self.unknown_number], device=logits.device), -math.inf)

    @classmethod
    @abstractmethod
    def learn(cls, text: str, size: int) -> "Tokens":
        """Learn from a text; at most ``size`` kinds of token if size is not 0."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: dict[str, Any]) -> "Tokens":
        """The inverse of `to_dict`."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Numbers of the tokens of a text; what was never seen in training gets the number of the unknown."""

    @abstractmethod
    def decode(self, numbers: Iterable[int]) -> str:
        """The text of token numbers."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

    @abstractmethod
    def __len__(self) -> int:
        """How many kinds of token there are."""


class Listed(Tokens):
    """Tokens that are a list of pieces of text; number 0 is the unknown piece."""

    unknown: ClassVar[str] = "\N{REPLACEMENT CHARACTER}"
    unknown_number = 0
    pattern: ClassVar[re.Pattern[str]]

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self.numbers = {piece: i for i, piece in enumerate(pieces)}

    @classmethod
    def learn(cls, text: str, size: int) -> "Listed":
        counts = Counter(cls.pattern.findall(text))
        counts.pop(cls.unknown, None)
        most = sorted(counts, key=lambda piece: (-counts[piece], piece))
        return cls([cls.unknown, *(sorted(most[: size - 1]) if size else sorted(most))])

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Listed":
        return cls(list(values["pieces"]))

    def encode(self, text: str) -> list[int]:
        return [self.numbers.get(piece, 0) for piece in self.pattern.findall(text)]

    def decode(self, numbers: Iterable[int]) -> str:
        return "".join(self.pieces[number] for number in numbers)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "pieces": self.pieces}

    def __len__(self) -> int:
        return len(self.pieces)


class Characters(Listed):
    """One token a character (Unicode code point)."""

    kind = "characters"
    pattern = re.compile(r".", re.DOTALL)


class Words(Listed):
    """One token a word, with the space before it; punctuation and other white space are tokens of their own.

    Nothing is lost: the tokens joined are the text.
    """

    kind = "words"
    pattern = re.compile(r" ?\w+| ?[^\w\s]|\s")


class BytePairs(Tokens):
    """Byte-pair tokens (Sennrich et al. 2016) over bytes, by the library tokenizers (extra ``text``).

    No text is unknown to them. 4,096 kinds if no size is asked for.
    """

    kind = "byte_pairs"

    def __init__(self, serialized: str) -> None:
        self.tokenizer = _tokenizers().Tokenizer.from_str(serialized)

    @classmethod
    def learn(cls, text: str, size: int) -> "BytePairs":
        library = _tokenizers()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        alphabet = library.pre_tokenizers.ByteLevel.alphabet()
        if size and size < len(alphabet):
            raise ConfigError(f"byte_pairs: expected a size of at least {len(alphabet)} (all bytes), got {size}")
        trainer = library.trainers.BpeTrainer(
            vocab_size=size or 4096, show_progress=False, initial_alphabet=alphabet
        )
        tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
        return cls(tokenizer.to_str())

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BytePairs":
        return cls(json.dumps(values["tokenizer"]))

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text).ids)

    def decode(self, numbers: Iterable[int]) -> str:
        return str(self.tokenizer.decode(list(numbers)))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "tokenizer": json.loads(self.tokenizer.to_str())}

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "byte_pairs need the library tokenizers; install it with: pip install 'recurra[text]'"
        ) from error
    return tokenizers


TOKENS: dict[str, type[Tokens]] = {kind.kind: kind for kind in (Characters, Words, BytePairs)}
