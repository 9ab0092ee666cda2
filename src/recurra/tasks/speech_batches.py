"""Recordings side by side, as a recognizer learns from them: loaded, disturbed, made into frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recurra.data.batches import RowBatches
from recurra.data.features import Features
from recurra.data.manifests import Utterance
from recurra.tasks.speech_config import SpeechAugment
from recurra.tasks.speech_disturbance import Disturbance
from recurra.tasks.speech_sounds import Sounds
from recurra.tasks.speech_tokens import SpeechTokens

__all__ = ["SpeechBatch", "SpeechRow", "SpeechRows"]

AT_ONCE = 12000  # frames of a batch when only answers are wanted


class SpeechRow(NamedTuple):
    """A recording, its transcript as it is measured, and its place among all of its part."""

    utterance: Utterance
    text: str
    place: int


class SpeechBatch(NamedTuple):
    """Recordings side by side, padded on the right.

    frames         (B, T, F)  features
    lengths        (B,)       frames of each
    tokens         (B, U)     numbers of the transcripts
    token_lengths  (B,)
    languages      (B,)       numbers of the languages; -1: not known
    places         (B,)       of the rows among all of their part; -1: several recordings, joined
    """

    frames: Tensor
    lengths: Tensor
    tokens: Tensor
    token_lengths: Tensor
    languages: Tensor
    places: Tensor


@dataclass(frozen=True)
class SpeechRows:
    """How rows become batches.

    sounds     samples of an utterance; see `Sounds`
    features   samples to frames
    tokens     transcripts to numbers
    languages  their names
    augment    how training rows are joined and disturbed
    """

    sounds: Sounds
    features: Features
    tokens: SpeechTokens
    languages: Sequence[str]
    augment: SpeechAugment

    def held_out(self, rows: Sequence[SpeechRow]) -> RowBatches:
        """Each recording as it is."""
        return RowBatches(rows, self._lengths(rows), self.plain, AT_ONCE, "steps")

    def training(self, rows: Sequence[SpeechRow], batch: int, pool: int) -> RowBatches:
        """Joined and disturbed, anew each epoch."""
        return RowBatches(rows, self._lengths(rows), self.disturbed, batch, "steps", True, pool)

    def _lengths(self, rows: Sequence[SpeechRow]) -> list[int]:
        per_second = self.features.rate / self.features.hop
        return [max(1, round(self.sounds.seconds(row.utterance) * per_second)) for row in rows]

    def plain(self, rows: list[SpeechRow], random: torch.Generator) -> SpeechBatch:
        """A batch of rows as they are."""
        frames = [self.features(self.sounds(row.utterance)) for row in rows]
        return self._together(frames, [[row] for row in rows])

    def disturbed(self, rows: list[SpeechRow], random: torch.Generator) -> SpeechBatch:
        """A batch of strings of rows, disturbed."""
        disturbance, strings = Disturbance(self.augment, self.features.rate, random), self._strings(rows, random)
        frames = []
        for string in strings:
            samples = disturbance.join([disturbance.one(self.sounds(row.utterance)) for row in string])
            frames.append(disturbance.hide(self.features(samples)))
        return self._together(frames, strings)

    def _strings(self, rows: list[SpeechRow], random: torch.Generator) -> list[list[SpeechRow]]:
        """The rows in strings of different sizes, those of a speaker and language together.

        Short strings beside long ones: from them the network learns first.
        """
        low, high = self.augment.join
        if high == 1:
            return [[row] for row in rows]
        kinds: dict[tuple[str, str], list[SpeechRow]] = {}
        for i in torch.randperm(len(rows), generator=random).tolist():
            kinds.setdefault((rows[i].utterance.speaker, rows[i].utterance.language), []).append(rows[i])
        strings = []
        for some in kinds.values():
            while some:
                size = int(torch.randint(low, high + 1, (1,), generator=random))
                strings.append(some[:size])
                some = some[size:]
        return strings

    def _together(self, frames: list[Tensor], strings: list[list[SpeechRow]]) -> SpeechBatch:
        tokens = [torch.tensor(self.tokens.encode(" ".join(row.text for row in string))) for string in strings]
        numbers = {name: number for number, name in enumerate(self.languages)}
        return SpeechBatch(
            pad_sequence(frames, batch_first=True),
            torch.tensor([len(row) for row in frames]),
            pad_sequence([row.long() for row in tokens], batch_first=True),
            torch.tensor([len(row) for row in tokens]),
            torch.tensor([numbers.get(string[0].utterance.language, -1) for string in strings]),
            torch.tensor([string[0].place if len(string) == 1 else -1 for string in strings]),
        )
