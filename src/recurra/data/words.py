"""Words for networks that read and do not write: without the spaces between them, lower-cased if wished.

`recurra.data.text.Words` keeps every space, so that a text can be written again. A classifier has no need of that:
here "good", " good" and "Good" are one word, and rare words are one unknown word that training knows about.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from recurra.data.text import Tokens
from recurra.errors import ConfigError

__all__ = ["PlainWords", "unspaced"]

UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@cache
def _pattern() -> re.Pattern[str]:
    """What one word is.

    English contractions come apart as in the Penn Treebank: "can't" is "ca" and "n't", "it's" is "it" and "'s".
    Combining marks belong to the letter before them, a joined emoji is one word, and so is each punctuation mark.
    """
    marks = [chr(c) for c in range(0x300, 0x10000) if unicodedata.category(chr(c))[0] == "M"]
    mark = "[" + "".join(marks) + "\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]"
    letters = rf"(?:\w{mark}*)"
    return re.compile(
        r"n['’]t\b|['’](?:s|re|ve|d|ll|m)\b"
        rf"|{letters}+?(?=n['’]t\b)|{letters}+(?:-{letters}+)*"
        rf"|[^\w\s]{mark}*(?:\u200d[^\w\s]{mark}*)*",
        re.IGNORECASE,
    )


def unspaced(texts: Iterable[str]) -> bool:
    """Whether texts are mostly in scripts without spaces between words: Chinese, Japanese, Thai and their like."""
    letters = Counter(
        bool(UNSPACED.match(character)) for text in texts for character in text if character.isalpha()
    )
    return letters[True] > letters[False]


class PlainWords(Tokens):
    """One token a word or punctuation mark, number 0 is the unknown word.

    lower  whether "Good" is read as "good"
    """

    kind = "plain_words"
    unknown_number = 0

    def __init__(self, pieces: list[str], lower: bool) -> None:
        self.pieces, self.lower = pieces, lower
        self.numbers = {piece: i for i, piece in enumerate(pieces)}

    def split(self, text: str) -> list[str]:
        """The words of a text."""
        return _pattern().findall(text.lower() if self.lower else text)

    @classmethod
    def learn(cls, text: str, size: int) -> "PlainWords":
        return cls.learn_from([text], size, 1, True)

    @classmethod
    def learn_from(cls, texts: Iterable[str], size: int, least: int, lower: bool) -> "PlainWords":
        """Learn the words that occur ``least`` times or more in the texts, the ``size`` most frequent if not 0."""
        empty = cls([], lower)
        counts = Counter(word for text in texts for word in empty.split(text))
        counts.pop(UNKNOWN, None)
        most = sorted((w for w, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))
        if not most:
            raise ConfigError(f"data.least: no word occurs {least} times; expected a smaller number, or more text")
        return cls([UNKNOWN, *(most[: size - 1] if size else most)], lower)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "PlainWords":
        return cls(list(values["pieces"]), bool(values["lower"]))

    def encode(self, text: str) -> list[int]:
        return [self.numbers.get(word, 0) for word in self.split(text)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The words with spaces between them, which may not be the text that they came from."""
        return " ".join(self.pieces[number] for number in numbers)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "lower": self.lower, "pieces": self.pieces}

    def __len__(self) -> int:
        return len(self.pieces)
