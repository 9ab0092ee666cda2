"""A list of the words that may be heard, as a guide of a search."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError
from recurra.heads.fusion import Guide, check_spellings

__all__ = ["Lexicon"]

ROOT = 0  # the place between words


class Lexicon(Guide[int]):
    """Only these words, with white space between them.

    The words are a tree of letters, and the state is a place in it. A token is forbidden where no word goes on with
    its letters; white space is forbidden within a word, and so is the end.

    words      without white space in them, in the letters of the tokens
    spellings  the text of each token by its number; the first one is the blank, ''

    Raises DataError for a word that the tokens cannot spell.
    """

    most = 0.0

    def __init__(self, words: Iterable[str], spellings: Sequence[str]) -> None:
        self.spellings = check_spellings(spellings, "Lexicon")
        self.kinds = len(self.spellings)
        self.branches: dict[tuple[int, str], int] = {}
        self.ends = {ROOT}
        letters = set("".join(self.spellings))
        for word in words:
            self._add(word, letters)
        if len(self.ends) == 1:
            raise ConfigError("Lexicon: expected at least one word, got none")

    def _add(self, word: str, letters: set[str]) -> None:
        strange = sorted(set(word) - letters) or [letter for letter in word if letter.isspace()]
        if not word or strange:
            raise DataError(
                f"Lexicon: expected words in the letters of the tokens, without white space, got {word!r}"
                + (f" with {strange[0]!r}" if strange else "")
            )
        place = ROOT
        for letter in word:
            place = self.branches.setdefault((place, letter), len(self.branches) + 1)
        self.ends.add(place)

    def initial(self) -> int:
        return ROOT

    def follow(self, state: int, token: int) -> tuple[float, int] | None:
        for letter in self.spellings[token]:
            after = self._step(state, letter)
            if after is None:
                return None
            state = after
        return 0.0, state

    def _step(self, place: int, letter: str) -> int | None:
        if letter.isspace():
            return ROOT if place in self.ends else None
        return self.branches.get((place, letter))

    def finish(self, state: int) -> float:
        return 0.0 if state in self.ends else -torch.inf

    def pack(self, states: Sequence[int]) -> Tensor:
        return torch.tensor(list(states), dtype=torch.int64)

    def unpack(self, packed: Tensor) -> list[int]:
        return packed.tolist()
