"""WikiText-2 (Merity et al. 2017, https://arxiv.org/abs/1609.07843) from its raw files: articles, split officially.

The word-level text replaces every word that comes fewer than three times in the training text by ``<unk>``: 33,276
kinds of word stay, and with ``<unk>`` and a mark for the end of a line that is the usual vocabulary of 33,278.
"""

import gzip
from collections import Counter
from pathlib import Path

__all__ = ["prepare", "prepare_raw", "words"]

SPLITS = ("train", "valid", "test")
RARE = 3  # a word needs this many places in the training text to be kept
UNKNOWN = "<unk>"


def words(line: str) -> list[str]:
    """The words of a line: what stands between spaces. Other white space, as a hard space, is part of a word."""
    return [word for word in line.split(" ") if word]


def _read(folder: Path, split: str) -> list[list[str]]:
    (path,) = folder.rglob(f"{split}.raw.gz")
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    return [words(line) for line in text.removesuffix("\n").split("\n")]


def _write(lines: list[list[str]], path: Path) -> None:
    path.write_text("".join(" ".join(line) + "\n" for line in lines), "utf-8", newline="\n")


def prepare(folder: Path, target: Path) -> None:
    """Write ``train.txt``, ``valid.txt`` and ``test.txt`` with the words of the training text and ``<unk>``."""
    texts = {split: _read(folder, split) for split in SPLITS}
    counts = Counter(word for line in texts["train"] for word in line)
    kept = {word: word for word, count in counts.items() if count >= RARE}
    for split, lines in texts.items():
        _write([[kept.get(word, UNKNOWN) for word in line] for line in lines], target / f"{split}.txt")


def prepare_raw(folder: Path, target: Path) -> None:
    """Write the three files with every word as it stands, for characters and byte pairs."""
    for split in SPLITS:
        _write(_read(folder, split), target / f"{split}.txt")
