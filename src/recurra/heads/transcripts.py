"""What was heard, and when: tokens and words with their frames and how sure the network was of them."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Heard", "HeardWord", "Transcript", "words"]


class Heard(NamedTuple):
    """A token in frames ``begin .. end - 1``.

    confidence  the highest probability that the network gave the token in these frames, from 0 to 1
    """

    token: int
    begin: int
    end: int
    confidence: float


class HeardWord(NamedTuple):
    """A word in frames ``begin .. end - 1``, from its first token to its last.

    confidence  that of its least sure token
    """

    text: str
    begin: int
    end: int
    confidence: float


class Transcript(NamedTuple):
    """What a decoder heard.

    heard    the tokens, in order
    score    what transcripts are ranked by, in nats, higher is better
    settled  how many of the tokens no sound to come can change any more, neither them nor their frames (but if the
             sound ends within a word of a lexicon, that word is left out)
    """

    heard: tuple[Heard, ...]
    score: float
    settled: int

    @property
    def tokens(self) -> list[int]:
        """The numbers of the tokens."""
        return [one.token for one in self.heard]


def words(heard: Sequence[Heard], spellings: Sequence[str]) -> list[HeardWord]:
    """The words that tokens spell: what stands between white space.

    spellings  the text of each token, by its number; white space may be a token of its own or part of one
    """
    found: list[HeardWord] = []
    inside = False
    for token, begin, end, confidence in heard:
        for letter in spellings[token]:
            if letter.isspace():
                inside = False
            elif inside:
                word = found[-1]
                found[-1] = HeardWord(word.text + letter, word.begin, end, min(word.confidence, confidence))
            else:
                found.append(HeardWord(letter, begin, end, confidence))
                inside = True
    return found
