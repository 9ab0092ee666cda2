"""The sounds of utterances, read when they are wanted and kept while there is room."""

import warnings
from collections import Counter

from torch import Tensor

from recurra.data.audio import complaints
from recurra.data.manifests import Utterance, load
from recurra.errors import DataWarning

__all__ = ["Sounds"]

ROOM = 1 << 28  # samples that are kept: a gigabyte, 9 hours at 8 kHz


class Sounds:
    """Samples ``(N,)`` of utterances at one rate.

    complaints  what is likely wrong with recordings, such as "clipped", and of how many
    """

    def __init__(self, rate: int, room: int = ROOM) -> None:
        self.rate, self.room = rate, room
        self.kept: dict[Utterance, Tensor] = {}
        self.lengths: dict[Utterance, int] = {}
        self.complaints: Counter[str] = Counter()

    def __call__(self, utterance: Utterance) -> Tensor:
        """The samples. Raises DataError for a file that cannot be read."""
        samples = self.kept.get(utterance)
        if samples is None:
            samples = self._read(utterance)
            if len(samples) <= self.room:
                self.kept[utterance] = samples
                self.room -= len(samples)
        return samples

    def _read(self, utterance: Utterance) -> Tensor:
        sound = load(utterance, self.rate)
        if utterance not in self.lengths:
            self.lengths[utterance] = len(sound.samples)
            for complaint in complaints(sound):
                kind = complaint.split(":")[0]
                if not self.complaints[kind]:
                    warnings.warn(f"{utterance.path} is {complaint}", DataWarning, stacklevel=2)
                self.complaints[kind] += 1
        return sound.samples

    def seconds(self, utterance: Utterance) -> float:
        """How long it lasts, by the manifest, or by its sound if the manifest does not say."""
        if utterance.duration:
            return utterance.duration
        if utterance not in self.lengths:
            self(utterance)
        return self.lengths[utterance] / self.rate
