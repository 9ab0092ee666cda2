"""Which part a text belongs to: a split by the text itself, that every machine repeats and no copy can cross.

    key(text)     the text without its differences of case and white space
    part(text)    sha256(key)'s first 8 bytes as a number, modulo 10: 0 is test, 1 is valid, 2 to 9 are train

So two texts that differ in case or spaces alone are in one part, whatever else the set holds.
"""

import hashlib
import unicodedata

__all__ = ["PARTS", "key", "part"]

PARTS = ("train", "valid", "test")


def key(text: str) -> str:
    """What two copies of a text have in common."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def part(text: str) -> str:
    """``train`` for eight texts of ten, ``valid`` and ``test`` for one each."""
    tenth = int.from_bytes(hashlib.sha256(key(text).encode()).digest()[:8]) % 10
    return {0: "test", 1: "valid"}.get(tenth, "train")
