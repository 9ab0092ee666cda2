"""What a recognizer writes: the tokens of a text by their numbers, where 0 is the blank of CTC and transducers."""

from collections.abc import Sequence
from typing import Any

from recurra.data.text import TOKENS, BytePairs, Tokens
from recurra.heads.alignment import BLANK, Heard, HeardWord, words
from recurra.tasks.checks import restore_tokens

__all__ = ["SpeechTokens", "plain_text"]


def plain_text(text: str, case: str) -> str:
    """A transcript as it is learned and measured: single spaces, and with case "lower" no capitals."""
    text = " ".join(text.split())
    return text.lower() if case == "lower" else text


class SpeechTokens:
    """Texts <-> numbers: those of ``tokens``, each one higher, so that 0 is free for the blank.

    ``len`` counts the blank too.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        kinds = range(len(tokens))
        self.spellings = ["", *(_spelling(tokens, number) for number in kinds)]

    @classmethod
    def learn(cls, texts: Sequence[str], kind: str, size: int) -> "SpeechTokens":
        """Learn from training transcripts; at most ``size`` kinds of token if that is not 0."""
        made = TOKENS[kind]
        return cls(made.learn("\n".join(_begun(made, text) for text in texts), size))

    def __len__(self) -> int:
        return len(self.tokens) + 1

    def encode(self, text: str) -> list[int]:
        """The numbers of a transcript."""
        return [number + 1 for number in self.tokens.encode(_begun(type(self.tokens), text))]

    def unknown(self, text: str) -> list[str]:
        """The characters of a transcript, or its words, that were never seen in training."""
        if self.tokens.unknown_number < 0:
            return []
        unknown = self.tokens.unknown_number + 1
        pieces = text if len(text) == len(self.encode(text)) else text.split()
        return [piece for piece in pieces if unknown in self.encode(piece)]

    def words(self, heard: Sequence[Heard]) -> list[HeardWord]:
        """The words that tokens spell, with their steps."""
        found = words(heard, self.spellings)
        if not isinstance(self.tokens, BytePairs):
            return found
        decoder = self.tokens.tokenizer.decoder
        return [word._replace(text=decoder.decode([word.text])) for word in found]

    def text(self, numbers: Sequence[int]) -> str:
        """The transcript of token numbers."""
        return " ".join(word.text for word in self.words([Heard(number, 0, 0, 1.0) for number in numbers]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.tokens.to_dict()

    @classmethod
    def from_dict(cls, values: Any) -> "SpeechTokens":
        """The inverse of `to_dict`. Raises RunError for what it did not write."""
        return cls(restore_tokens(values, TOKENS))


def _begun(kind: type[Tokens], text: str) -> str:
    """Words and byte pairs carry the space before them; the first of a transcript gets one too, to be the same."""
    return text if kind.kind == "characters" else f" {text}"


def _spelling(tokens: Tokens, number: int) -> str:
    """The text of a token; byte pairs keep their own alphabet, a letter a byte, as a token may be part of one."""
    if isinstance(tokens, BytePairs):
        return str(tokens.tokenizer.id_to_token(number)).replace("\u0120", " ").replace("\u010a", "\n")
    return tokens.decode([number])


assert BLANK == 0
