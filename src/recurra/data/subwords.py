"""Pieces of words: what a rare or unknown word shares with known ones (Bojanowski et al. 2017).

"unfunny" may never have been seen, but "funny" and "un" in front were.
"""

from collections import OrderedDict
from zlib import crc32

__all__ = ["Subwords"]

KEPT = 100_000  # words whose pieces are remembered


class Subwords:
    """Numbers of the character n-grams of a word, from 1 to ``buckets`` by a hash.

    The n-grams are those of ``<word>`` with 5, 4 and 3 characters, in this order; the first ``most`` of them count,
    and where there are fewer the rest is 0.
    """

    def __init__(self, buckets: int, most: int = 20) -> None:
        self.buckets, self.most = buckets, most
        self._known: OrderedDict[str, list[int]] = OrderedDict()

    def __call__(self, word: str) -> list[int]:
        """``most`` numbers for a word."""
        if word not in self._known:
            if len(self._known) >= KEPT:
                self._known.popitem(last=False)
            numbers = [1 + crc32(gram.encode("utf-8")) % self.buckets for gram in self.grams(word)]
            self._known[word] = numbers + [0] * (self.most - len(numbers))
        return self._known[word]

    def grams(self, word: str) -> list[str]:
        """The n-grams themselves."""
        marked = f"<{word}>"
        grams = [marked[i : i + n] for n in (5, 4, 3) for i in range(len(marked) - n + 1)]
        return grams[: self.most]
