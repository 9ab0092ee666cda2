"""What a keyword spotter learns from: strings of short recordings, of which it is known where each begins and ends.

Long recordings with marked keywords are rare, short ones with a text are not. So strings are made of these, with
near silence between and noise under them: new ones for each training batch, the same ones for every measurement.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.config import suggest
from recurra.data.audio import Sound
from recurra.data.augmentation import Noise, Speed, between
from recurra.data.manifests import Utterance, load, read_manifest
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.data.spoken_digits import holds_digits, official, read_digits
from recurra.errors import DataError
from recurra.tasks.keyword_config import KeywordData

__all__ = ["Clip", "Joiner", "Place", "Recording", "read_clips"]

PARTS = ("train", "valid", "test")
QUIET = (1e-4, 3e-3)  # of full scale: how loud near silence is
DIGITAL = 0.2  # share of the gaps that are digital silence
LONG = 20.0  # seconds of a string that is measured
ROUND = 800  # samples: strings are a multiple of it, for Fourier transforms of awkward lengths are slow


class Clip(NamedTuple):
    """A short recording, and how often each keyword is said in it."""

    utterance: Utterance
    counts: tuple[int, ...]


class Place(NamedTuple):
    """Samples ``begin`` to ``end``, in which a keyword is said so many times, and perhaps other words."""

    keyword: int
    begin: int
    end: int
    times: int
    alone: bool


class Recording(NamedTuple):
    """Sound ``samples (N,)``, and where in it the keywords are."""

    samples: Tensor
    places: list[Place]


def read_clips(data: KeywordData) -> list[list[Clip]]:
    """The recordings for training, validation and test. Raises DataError for a keyword that one of them lacks."""
    parts = _parts(data)
    found = []
    for name, rows in zip(PARTS, (parts.train, parts.valid, parts.test), strict=True):
        clips = [Clip(row, tuple(_count(row.text, keyword) for keyword in data.keywords)) for row in rows]
        for number, keyword in enumerate(data.keywords):
            if not any(clip.counts[number] for clip in clips):
                words = sorted({word for clip in clips for word in clip.utterance.text.split()})
                raise DataError(
                    f"data.keywords: {keyword!r} is never said in the {name} part{suggest(keyword, words[:30])}"
                )
        if all(any(clip.counts) for clip in clips):
            raise DataError(f"{data.path}: every recording of the {name} part has a keyword; expected others too")
        found.append(clips)
    return found


def _count(text: str, keyword: str) -> int:
    words, wanted = text.lower().split(), keyword.lower().split()
    return sum(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))


def _parts(data: KeywordData) -> Parts:
    path = place_of(data.path)
    if all((path / f"{part}.jsonl").is_file() for part in PARTS):
        train, valid, test = (read_manifest(path / f"{part}.jsonl") for part in PARTS)
        return Parts(train, valid, test)
    if holds_digits(path):
        return official(read_digits(path))
    return _split(read_manifest(path), data)


def _split(rows: list[Utterance], data: KeywordData) -> Parts:
    """Shares of the recordings of each text, drawn."""
    random, parts = torch.Generator().manual_seed(data.seed), Parts([], [], [])
    for text in sorted({row.text for row in rows}):
        same = [row for row in rows if row.text == text]
        order = torch.randperm(len(same), generator=random).tolist()
        first, second = (round(sum(data.split[:k]) * len(same)) for k in (1, 2))
        for part, chosen in zip(
            (parts.train, parts.valid, parts.test),
            (order[:first], order[first:second], order[second:]),
            strict=True,
        ):
            part.extend(same[i] for i in chosen)
    return parts


class Joiner:
    """Makes strings of recordings. ``sounds`` keeps those that were read."""

    def __init__(self, data: KeywordData) -> None:
        self.data, self.noise = data, Noise(data.snr[0], data.snr[1])
        self.speed = Speed(1 - data.speed, 1 + data.speed)
        self.sounds: dict[Utterance, Tensor] = {}

    def sound(self, utterance: Utterance) -> Tensor:
        """The samples ``(N,)`` of a recording, read once."""
        if utterance not in self.sounds:
            self.sounds[utterance] = load(utterance, self.data.rate).samples
        return self.sounds[utterance]

    def training(self, there: Sequence[Clip], others: Sequence[Clip], random: torch.Generator) -> Recording:
        """A string of recordings with and without keywords: more keywords than in life, faster or slower."""
        size = int(torch.randint(self.data.least, self.data.most + 1, (), generator=random))
        chosen = []
        for _ in range(size):
            among = there if float(torch.rand((), generator=random)) < self.data.share else others
            chosen.append(among[int(torch.randint(len(among), (), generator=random))])
        return self.join(chosen, random, self._faster)

    def _faster(self, samples: Tensor, random: torch.Generator) -> Tensor:
        return self.speed(Sound(samples, self.data.rate), random).samples if self.data.speed else samples

    def measured(self, clips: Sequence[Clip], seed: int) -> list[Recording]:
        """Strings of some 20 s, ``data.minutes`` in all, in which each recording comes once before one comes again.

        Like life, and unlike `training`: keywords come as often as the data has them, at their own speed.
        """
        random, left = torch.Generator().manual_seed(seed), self.data.minutes * 60
        deck: list[Clip] = []
        found: list[Recording] = []
        while left > 0 or not found:
            chosen, seconds = [], 0.0
            while seconds < min(LONG, max(left, 1e-3)):
                if not deck:
                    deck = [clips[i] for i in torch.randperm(len(clips), generator=random).tolist()]
                chosen.append(deck.pop())
                seconds += len(self.sound(chosen[-1].utterance)) / self.data.rate + self.data.gap / 2
            found.append(self.join(chosen, random, lambda samples, random: samples))
            left -= len(found[-1].samples) / self.data.rate
        return found

    def join(
        self,
        clips: Sequence[Clip],
        random: torch.Generator,
        change: Callable[[Tensor, torch.Generator], Tensor],
    ) -> Recording:
        """Recordings one after the other, each changed, with near silence around them, and noise under all."""
        pieces, places = [self._silence(random)], []
        at = len(pieces[0])
        for clip in clips:
            samples = self._louder(change(self.sound(clip.utterance), random), random)
            spoken = enumerate(clip.counts)
            sizes = [len(keyword.split()) for keyword in self.data.keywords]
            words = len(clip.utterance.text.split())
            places += [
                Place(number, at, at + len(samples), count, sizes[number] == words)
                for number, count in spoken
                if count
            ]
            pieces += [samples, self._silence(random)]
            at += len(samples) + len(pieces[-1])
        pieces.append(QUIET[0] * torch.randn(-at % ROUND, generator=random))
        sound = torch.cat(pieces)
        if between(0, 1, random) < self.data.noise:
            sound = self.noise(Sound(sound, self.data.rate), random).samples
        return Recording(sound, places)

    def _louder(self, samples: Tensor, random: torch.Generator) -> Tensor:
        return samples * 10 ** (between(-self.data.loudness, self.data.loudness, random) / 20)

    def _silence(self, random: torch.Generator) -> Tensor:
        """Near silence: the hiss that every microphone hears; or samples of 0, as in sound that was cut."""
        (low, high), seconds = QUIET, between(0, self.data.gap, random)
        loud = low * (high / low) ** between(0, 1, random) * (between(0, 1, random) > DIGITAL)
        return loud * torch.randn(round(seconds * self.data.rate), generator=random)
