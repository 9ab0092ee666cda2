"""What besides the sound says which transcript is likely: language models and rules, walked token by token.

Shallow fusion (Hannun et al. 2014; Chorowski and Jaitly 2017): the search adds to the log probability of the sound

    weight * log p(text) + bonus * (how many words or tokens)

A `LanguageModel` scores text and knows nothing of tokens; a `Guide` walks with a search, token by token.
`TokenFusion` and `WordFusion` make the one out of the other, `Together` adds guides up, `recurra.heads.lexicon`
forbids. States are plain Python values while a search runs, and become tensors, a row each, when its memory is
stored.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from recurra.errors import ConfigError

__all__ = ["Free", "Guide", "LanguageModel", "Together", "TokenFusion", "Walk", "WordFusion"]

S = TypeVar("S")


class Walk(ABC, Generic[S]):
    """States that are followed step by step, of which a search keeps many side by side."""

    @abstractmethod
    def initial(self) -> S:
        """The state before anything was said."""

    @abstractmethod
    def finish(self, state: S) -> float:
        """The nats of ending here; -inf where it may not end."""

    @abstractmethod
    def pack(self, states: Sequence[S]) -> Any:
        """States as tensors in tuples, a row each."""

    @abstractmethod
    def unpack(self, packed: Any) -> list[S]:
        """The inverse of `pack`."""

    def ready(self, states: Sequence[S]) -> list[S]:
        """The same states, which a search has decided to keep: what is expensive is computed here, for all at once.

        Only states that were ready go into `finish`, `pack` and the next step.
        """
        return list(states)


class LanguageModel(Walk[S]):
    """The probability of text, left to right."""

    @abstractmethod
    def score(self, state: S, text: str) -> tuple[float, S]:
        """``log p(text)`` in nats after what the state has read, and the state after it."""


class Guide(Walk[S]):
    """What a search adds to the score of the sound.

    most   no token adds more nats than this: a search need not ask for what cannot win
    kinds  how many tokens it knows, the blank among them; 0: any number
    """

    most: float
    kinds: int = 0

    @abstractmethod
    def follow(self, state: S, token: int) -> tuple[float, S] | None:
        """The nats that one more token adds, and the state after it; None where it is forbidden."""


class Free(Guide[tuple[()]]):
    """All tokens are welcome: the sound alone decides."""

    most = 0.0

    def initial(self) -> tuple[()]:
        return ()

    def follow(self, state: tuple[()], token: int) -> tuple[float, tuple[()]]:
        return 0.0, ()

    def finish(self, state: tuple[()]) -> float:
        return 0.0

    def pack(self, states: Sequence[tuple[()]]) -> Tensor:
        return torch.zeros(len(states), 0)

    def unpack(self, packed: Tensor) -> list[tuple[()]]:
        return [()] * len(packed)


class TokenFusion(Guide[Any]):
    """A language model is asked at every token.

        extra = weight * log p(text) + bonus * tokens        the end is scored too, without a bonus

    spellings  the text of each token by its number; the first one is the blank, ''
    weight     1 trusts the language model as much as the sound
    bonus      nats for each token, against the model's liking for short texts
    """

    def __init__(
        self, model: LanguageModel[Any], spellings: Sequence[str], weight: float = 0.5, bonus: float = 0.0
    ) -> None:
        self.model, self.weight, self.bonus = model, check_weight(weight), bonus
        self.spellings = check_spellings(spellings, type(self).__name__)
        self.most, self.kinds = max(0.0, bonus), len(spellings)

    def initial(self) -> Any:
        return self.model.initial()

    def follow(self, state: Any, token: int) -> tuple[float, Any]:
        nats, after = self.model.score(state, self.spellings[token])
        return self.weight * nats + self.bonus, after

    def finish(self, state: Any) -> float:
        return self.weight * self.model.finish(state)

    def ready(self, states: Sequence[Any]) -> list[Any]:
        return self.model.ready(states)

    def pack(self, states: Sequence[Any]) -> Any:
        return self.model.pack(states)

    def unpack(self, packed: Any) -> list[Any]:
        return self.model.unpack(packed)


class Writing(NamedTuple):
    """The letters of a word that is not at its end, and the language model's state before it."""

    letters: str
    model: Any


class WordFusion(Guide[Writing]):
    """A language model over words is asked when a word ends: at white space, and at the end of the sound.

        extra = weight * log p(words) + bonus * words

    Arguments are those of `TokenFusion`; bonus is for each word.
    """

    def __init__(
        self, model: LanguageModel[Any], spellings: Sequence[str], weight: float = 0.5, bonus: float = 0.0
    ) -> None:
        self.model, self.weight, self.bonus = model, check_weight(weight), bonus
        self.spellings = check_spellings(spellings, type(self).__name__)
        ends = max(sum(map(str.isspace, text)) for text in self.spellings)
        self.most, self.kinds = max(0.0, bonus) * ends, len(spellings)

    def initial(self) -> Writing:
        return Writing("", self.model.initial())

    def follow(self, state: Writing, token: int) -> tuple[float, Writing]:
        extra, (letters, model) = 0.0, state
        for letter in self.spellings[token]:
            if not letter.isspace():
                letters += letter
            elif letters:
                more, model = self._end(letters, model)
                extra, letters = extra + more, ""
        return extra, Writing(letters, model)

    def _end(self, letters: str, model: Any) -> tuple[float, Any]:
        nats, after = self.model.score(model, letters)
        return self.weight * nats + self.bonus, after

    def finish(self, state: Writing) -> float:
        extra, model = self._end(*state) if state.letters else (0.0, state.model)
        return extra + self.weight * self.model.finish(*self.model.ready([model]))

    def ready(self, states: Sequence[Writing]) -> list[Writing]:
        models = self.model.ready([state.model for state in states])
        return [Writing(state.letters, model) for state, model in zip(states, models, strict=True)]

    def pack(self, states: Sequence[Writing]) -> Any:
        letters = pack_numbers([list(map(ord, state.letters)) for state in states])
        return letters, self.model.pack([state.model for state in states])

    def unpack(self, packed: Any) -> list[Writing]:
        letters = ["".join(map(chr, row)) for row in unpack_numbers(packed[0])]
        return [Writing(*pair) for pair in zip(letters, self.model.unpack(packed[1]), strict=True)]


class Together(Guide[tuple[Any, ...]]):
    """Several guides at once: what they add is added up, and a token that one of them forbids is forbidden."""

    def __init__(self, *guides: Guide[Any]) -> None:
        if not guides:
            raise ConfigError("Together: expected at least one guide")
        self.guides = guides
        self.most, self.kinds = sum(guide.most for guide in guides), max(guide.kinds for guide in guides)
        if any(guide.kinds not in (0, self.kinds) for guide in guides):
            raise ConfigError(
                f"Together: expected guides of the same tokens, got {[g.kinds for g in guides]} of them"
            )

    def initial(self) -> tuple[Any, ...]:
        return tuple(guide.initial() for guide in self.guides)

    def follow(self, state: tuple[Any, ...], token: int) -> tuple[float, tuple[Any, ...]] | None:
        extra, after = 0.0, []
        for guide, one in zip(self.guides, state, strict=True):
            step = guide.follow(one, token)
            if step is None:
                return None
            extra += step[0]
            after.append(step[1])
        return extra, tuple(after)

    def finish(self, state: tuple[Any, ...]) -> float:
        return sum(guide.finish(one) for guide, one in zip(self.guides, state, strict=True))

    def ready(self, states: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        columns = zip(self.guides, zip(*states, strict=True), strict=False)
        return list(zip(*(guide.ready(column) for guide, column in columns), strict=True))

    def pack(self, states: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        columns = zip(*states, strict=True)
        return tuple(guide.pack(column) for guide, column in zip(self.guides, columns, strict=True))

    def unpack(self, packed: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        columns = [guide.unpack(column) for guide, column in zip(self.guides, packed, strict=True)]
        return list(zip(*columns, strict=True))


def check_weight(weight: float) -> float:
    """The weight of a language model, or ConfigError."""
    if not weight >= 0:
        raise ConfigError(f"fusion: expected a weight of 0 or more, got {weight}")
    return weight


def check_spellings(spellings: Sequence[str], name: str) -> list[str]:
    """The spellings, or ConfigError: the guide ``name`` needs the text of every token."""
    if len(spellings) < 2 or spellings[0]:
        raise ConfigError(
            f"{name}: expected the text of every token, '' for the blank first, got {spellings[:4]!r}"
        )
    return list(spellings)


def pack_numbers(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows of numbers from 0, of any lengths, as one tensor ``(k, longest)`` with -1 where a row is over."""
    longest = max(map(len, rows), default=0)
    padded = [[*row, *[-1] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.int64).view(len(rows), longest)


def unpack_numbers(packed: Tensor) -> list[list[int]]:
    """The inverse of `pack_numbers`."""
    return [[number for number in row if number >= 0] for row in packed.tolist()]
