"""Language models that count: n-grams of words or characters with interpolated modified Kneser-Ney smoothing.

Kneser and Ney 1995, in the form of Chen and Goodman 1999; beginnings and unknown units as in Heafield et al. 2013.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any, NamedTuple

from torch import Tensor

from recurra.errors import ConfigError, DataError
from recurra.heads.fusion import LanguageModel, pack_numbers, unpack_numbers

__all__ = ["UNITS", "NGrams"]

UNITS: dict[str, Callable[[str], list[str]]] = {"words": str.split, "characters": list}
UNKNOWN, BEGIN, END = 0, 1, 2  # numbers that are no units of a text
FALLBACK = (0.5, 1.0, 1.5)

Gram = tuple[int, ...]


class Entry(NamedTuple):
    """What is known of an n-gram.

    nats     log p(last unit | those before it)
    backoff  log of what is left, after this n-gram as a context, for units that did not follow it
    """

    nats: float
    backoff: float


class NGrams(LanguageModel[Gram]):
    """The probability of a unit given the ``order - 1`` before it, learned by counting lines.

        p(w | h) = (c(h w) - D(c(h w))) / c(h .) + left(h) p(w | h')       h' is h without its first unit
        left(h)  = the sum of the discounts D / c(h .)                     p(w | nothing of h) = 1 / kinds
        D(1), D(2), D(3 and more) = k - (k + 1) Y n_{k+1} / n_k            Y = n_1 / (n_1 + 2 n_2)

    c counts n-grams of the highest order and those at the beginning of a line as often as they are there; shorter
    ones by how many different units stand before them. n_k is how many n-grams of an order have count k. Where
    there are too few to tell (some n_k is 0, or a discount would not lie between 0 and k), the discounts of that
    order are 0.5, 1 and 1.5: see `discounts`. Units that were never seen share the probability of one kind, which
    is that of "unknown"; the end of a line is a kind too.

    As a `LanguageModel` the state is the units before, as numbers, no more of them than are known as a context.
    """

    def __init__(self, units: str, vocabulary: Sequence[str], entries: dict[Gram, Entry]) -> None:
        if units not in UNITS:
            raise ConfigError(f"n-grams: expected units of {', '.join(UNITS)}, got {units!r}")
        self.units, self.vocabulary, self.entries = units, list(vocabulary), entries
        self.numbers = {unit: number for number, unit in enumerate(vocabulary, END + 1)}
        self.order = max(map(len, entries))
        self.discounts: list[tuple[float, ...]] = []

    @classmethod
    def learn(cls, lines: Iterable[str], order: int = 3, units: str = "words") -> "NGrams":
        """Count lines of text. Raises DataError if there is nothing to count."""
        if order < 1 or units not in UNITS:
            raise ConfigError(
                f"n-grams: expected order >= 1 and units of {', '.join(UNITS)}, got {order}, {units!r}"
            )
        texts = [text for text in map(UNITS[units], lines) if text]
        if not texts:
            raise DataError("n-grams: expected lines of text, got none that holds a unit")
        vocabulary = sorted({unit for text in texts for unit in text})
        numbers = {unit: number for number, unit in enumerate(vocabulary, END + 1)}
        rows = [(BEGIN, *(numbers[unit] for unit in text), END) for text in texts]
        counts = _adjusted(rows, order)
        discounts = [_discounts(one) for one in counts]
        model = cls(units, vocabulary, _entries(counts, discounts, len(vocabulary) + 2))
        model.discounts = discounts
        return model

    def initial(self) -> Gram:
        return self._known((BEGIN,))

    def score(self, state: Gram, text: str) -> tuple[float, Gram]:
        """``log p(text)`` in nats, unit by unit, and the state after it."""
        nats = 0.0
        for unit in UNITS[self.units](text):
            number = self.numbers.get(unit, UNKNOWN)
            nats += self._nats(state, number)
            state = self._known((*state, number))
        return nats, state

    def finish(self, state: Gram) -> float:
        return self._nats(state, END)

    def _nats(self, context: Gram, number: int) -> float:
        """By the longest n-gram that is known, after what is left for it."""
        nats = 0.0
        for begin in range(len(context) + 1):
            found = self.entries.get((*context[begin:], number))
            if found is not None:
                return nats + found.nats
            nats += self.entries[context[begin:]].backoff
        raise AssertionError("every number has a probability of its own")

    def _known(self, context: Gram) -> Gram:
        """The longest end of a context after which something is known."""
        context = context[len(context) - min(len(context), self.order - 1) :]
        while context and (context not in self.entries or self.entries[context].backoff == 0.0):
            context = context[1:]
        return context

    def pack(self, states: Sequence[Gram]) -> Tensor:
        return pack_numbers(states)

    def unpack(self, packed: Tensor) -> list[Gram]:
        return [tuple(row) for row in unpack_numbers(packed)]

    def log_prob(self, line: str) -> float:
        """``log p(line)`` in nats, its end included."""
        nats, state = self.score(self.initial(), line)
        return nats + self.finish(state)

    def perplexity(self, lines: Iterable[str]) -> float:
        """exp of the mean nats a unit, ends of lines included; unknown units count as what they are, unknown.

        Raises DataError if there is no line.
        """
        nats, count = 0.0, 0
        for line in lines:
            nats, count = nats - self.log_prob(line), count + len(UNITS[self.units](line)) + 1
        if not count:
            raise DataError("n-grams: expected at least one line of text, got none")
        return math.exp(nats / count)

    def learned(self) -> dict[str, Any]:
        """Everything as plain values, for a JSON file."""
        grams = [list(gram) for gram in self.entries]
        nats = [None if entry.nats == -inf else entry.nats for entry in self.entries.values()]
        backoffs = [entry.backoff for entry in self.entries.values()]
        names = ("units", "vocabulary", "discounts")
        return {name: getattr(self, name) for name in names} | {"grams": grams, "nats": nats, "backoffs": backoffs}

    @classmethod
    def relearn(cls, values: dict[str, Any]) -> "NGrams":
        """The inverse of `learned`."""
        nats = [-inf if one is None else one for one in values["nats"]]
        columns = zip(values["grams"], nats, values["backoffs"], strict=True)
        entries = {tuple(gram): Entry(one, backoff) for gram, one, backoff in columns}
        model = cls(values["units"], values["vocabulary"], entries)
        model.discounts = [tuple(one) for one in values["discounts"]]
        return model


def _adjusted(rows: list[Gram], order: int) -> list[Counter[Gram]]:
    """Counts of n-grams for n = 1 .. order, in the sense of Kneser and Ney."""
    raw: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for row in rows:
        for size, counter in enumerate(raw, 1):
            counter.update(row[i : i + size] for i in range(len(row) - size + 1))
    adjusted = raw[-1:]
    for counter, longer in zip(raw[-2::-1], raw[:0:-1], strict=True):
        before = Counter(gram[1:] for gram in longer)
        adjusted.append(Counter({g: count if g[0] == BEGIN else before[g] for g, count in counter.items()}))
    adjusted.reverse()
    del adjusted[0][(BEGIN,)]  # nothing is ever asked for its probability
    return adjusted


def _discounts(counts: Counter[Gram]) -> tuple[float, ...]:
    """D(1), D(2), D(3 and more)."""
    n = Counter(counts.values())
    if not all(n[k] for k in (1, 2, 3)):
        return FALLBACK
    share = n[1] / (n[1] + 2 * n[2])
    found = tuple(k - (k + 1) * share * n[k + 1] / n[k] for k in (1, 2, 3))
    return found if all(0 < d <= k for k, d in enumerate(found, 1)) else FALLBACK


def _entries(counts: list[Counter[Gram]], discounts: list[tuple[float, ...]], kinds: int) -> dict[Gram, Entry]:
    """Probabilities and what is left, from the shortest n-grams to the longest."""
    chances: dict[Gram, float] = {}
    left: dict[Gram, float] = {}
    for counter, discount in zip(counts, discounts, strict=True):
        total: defaultdict[Gram, int] = defaultdict(int)
        cut: defaultdict[Gram, float] = defaultdict(float)
        for gram, count in counter.items():
            total[gram[:-1]] += count
            cut[gram[:-1]] += discount[min(count, 3) - 1]
        left |= {context: cut[context] / total[context] for context in total}
        if not chances:
            chances[(UNKNOWN,)] = left[()] / kinds
        for gram, count in counter.items():
            context = gram[:-1]
            lower = chances[gram[1:]] if context else 1 / kinds
            chances[gram] = (count - discount[min(count, 3) - 1]) / total[context] + left[context] * lower
    found = {gram: Entry(math.log(p), math.log(left.get(gram, 1.0))) for gram, p in chances.items()}
    begins = Entry(-inf, math.log(left.get((BEGIN,), 1.0)))
    return found | {(BEGIN,): begins}
