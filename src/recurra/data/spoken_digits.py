"""The Free Spoken Digit Dataset (Jackson et al. 2018): six people say zero to nine, each fifty times, at 8 kHz.

the file   7_jackson_32.wav        seven, by jackson, his recording 32
test       recordings 0 to 4, as its authors have it        valid  5 to 9        train  10 to 49
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from recurra.data.manifests import Utterance
from recurra.data.splits import Parts
from recurra.data.unpacked import unpacked
from recurra.errors import ConfigError, DataError

__all__ = ["WORDS", "Digit", "connected", "holds_digits", "official", "read_digits", "without"]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NAME = re.compile(r"(\d)_([^_]+)_(\d+)")
TEST, VALID = range(5), range(5, 10)


class Digit(NamedTuple):
    """One recording: who says which digit, and which of his or her recordings of it this is."""

    path: Path
    digit: int
    speaker: str
    take: int

    @property
    def utterance(self) -> Utterance:
        """The recording and its word."""
        return Utterance(self.path, WORDS[self.digit], language="en", speaker=self.speaker)


def holds_digits(path: Path) -> bool:
    """Whether this looks like the data set: a zip file, or a folder with sounds that have such names."""
    return path.suffix == ".zip" or (path.is_dir() and any(path.rglob("[0-9]_*_[0-9]*.wav")))


def read_digits(path: str | Path) -> list[Digit]:
    """The recordings in a folder or a zip file, which is unpacked once to the folder of data sets.

    Raises DataError for a sound with another name than ``{digit}_{speaker}_{index}.wav``, or if there is none.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no {path}; expected the folder or zip file of the Free Spoken Digit Dataset")
    folder = path if path.is_dir() else unpacked(path, "*.wav", "spoken-digits")
    sounds = sorted(folder.rglob("*.wav"))
    if not sounds:
        raise DataError(f"{path}: expected sounds named digit_speaker_index.wav, there is none")
    return sorted((_digit(sound) for sound in sounds), key=lambda digit: digit[1:])


def _digit(path: Path) -> Digit:
    found = NAME.fullmatch(path.stem)
    if not found:
        raise DataError(f"{path}: expected a name like 7_jackson_32.wav: digit, speaker, index")
    return Digit(path, int(found[1]), found[2], int(found[3]))


def official(digits: Sequence[Digit]) -> Parts:
    """The split of the authors, with a part for validation cut from their training recordings."""
    train = [digit.utterance for digit in digits if digit.take not in (*TEST, *VALID)]
    valid, test = ([digit.utterance for digit in digits if digit.take in part] for part in (VALID, TEST))
    return _checked(Parts(train, valid, test))


def without(digits: Sequence[Digit], speaker: str) -> Parts:
    """All recordings of one speaker to test; those of the others to learn, recordings 5 to 9 for validation."""
    speakers = sorted({digit.speaker for digit in digits})
    if speaker not in speakers:
        raise ConfigError(f"speaker: expected one of {', '.join(speakers)}, got {speaker!r}")
    others = [digit for digit in digits if digit.speaker != speaker]
    train, valid = (
        [digit.utterance for digit in others if (digit.take in VALID) == held] for held in (False, True)
    )
    return _checked(Parts(train, valid, [digit.utterance for digit in digits if digit.speaker == speaker]))


def _checked(parts: Parts) -> Parts:
    for name, rows in (("train", parts.train), ("valid", parts.valid), ("test", parts.test)):
        if not rows:
            raise DataError(f"the part {name!r} has no recording; is the Free Spoken Digit Dataset complete?")
    return parts


def connected(
    utterances: Sequence[Utterance], count: int, seed: int, least: int = 3, most: int = 7
) -> list[Utterance]:
    """Strings of ``least`` to ``most`` recordings of one speaker, joined; the same for the same seed.

    They are dealt like cards: all recordings of a speaker come once before one comes again. Speakers take turns. A
    part's strings are made of its own recordings alone.
    """
    if not utterances or not 1 <= least <= most:
        raise ConfigError(f"connected: expected recordings and 1 <= least <= most, got {least} and {most}")
    random = torch.Generator().manual_seed(seed)
    hands: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        hands.setdefault(utterance.speaker, []).append(utterance)
    decks: dict[str, list[Utterance]] = {speaker: [] for speaker in hands}
    speakers, strings = sorted(hands), []
    for number in range(count):
        speaker = speakers[number % len(speakers)]
        size = int(torch.randint(least, most + 1, (), generator=random))
        while len(decks[speaker]) < size:
            order = torch.randperm(len(hands[speaker]), generator=random).tolist()
            decks[speaker] += [hands[speaker][i] for i in order]
        strings.append(_joined(decks[speaker][:size]))
        del decks[speaker][:size]
    return strings


def _joined(utterances: list[Utterance]) -> Utterance:
    first, *rest = utterances
    text = " ".join(utterance.text for utterance in utterances)
    return first._replace(text=text, more=tuple(utterance.path for utterance in rest))
