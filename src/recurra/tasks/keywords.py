"""Keyword spotting: says when one of a few words was heard, in sound that goes on for ever.

A small causal network over mel filter banks, with a loss that is told where a word was said but not at which moment
to notice it (max-pooling, Sun et al. 2016). The threshold is chosen by false alarms an hour of validation.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recurra.data.audio import read_sound
from recurra.data.batches import RowBatches
from recurra.data.features import Features, FilterBanks
from recurra.data.normalisation import Running, Statistics, statistics
from recurra.errors import DataError, RunError
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.keyword_config import AlarmConfig, KeywordConfig, KeywordData, KeywordNet
from recurra.tasks.keyword_data import Clip, Joiner, Place, Recording, read_clips
from recurra.tasks.keyword_network import KeywordBatch, KeywordNetwork, stacked
from recurra.tasks.keyword_pictures import draw_curve, draw_recording
from recurra.tasks.keyword_scores import Curve, Heard, alarms, curve
from recurra.tasks.keyword_stream import Alarm, KeywordStream, Rule

__all__ = ["AlarmConfig", "KeywordConfig", "KeywordData", "KeywordNet", "KeywordSpotter"]

TYPICAL = 100  # training strings by whose features others are normalised
VALID, TEST = 1, 2  # added to the seed of strings
AT_ONCE = 16  # strings that are measured together


class KeywordSpotter(Estimator):
    """A model that hears keywords in long recordings, trained on short recordings with texts.

    >>> spotter = KeywordSpotter(KeywordConfig(KeywordData(path="words", keywords=("hello",))))   # doctest: +SKIP
    >>> spotter.fit("runs/hello")                                                                # doctest: +SKIP
    >>> spotter.predict("long.wav")["heard"]                                                     # doctest: +SKIP
    """

    name = "keywords"
    source: ClassVar[str] = "data.path"
    unit: ClassVar[str] = "steps"
    Config = KeywordConfig
    config: KeywordConfig

    def __init__(self, config: KeywordConfig | None = None) -> None:
        super().__init__(config)
        self.typical: Statistics | None = None
        self.threshold = 0.5
        self._joiner = Joiner(self.config.data)
        self._banks: Any = FilterBanks(self.config.data.rate, self.config.model.features)

    def data(self) -> Data:
        """Training strings, new ones in each epoch, and the strings that are measured."""
        data = self.config.data
        train, valid, test = read_clips(data)
        there, others = ([clip for clip in train if any(clip.counts) == has] for has in (True, False))
        drawn = lambda random: self._joiner.training(there, others, random)
        if self.typical is None:
            random = torch.Generator().manual_seed(data.seed)
            strings = (drawn(random) for _ in range(TYPICAL))
            self.typical = statistics([self._banks(string.samples) for string in strings])
        rows = max(1, 2 * len(train) // (data.least + data.most))  # so an epoch has about all recordings
        made = lambda rows, random: self._batch([drawn(random) for _ in rows])
        batches = RowBatches(range(rows), [1] * rows, made, data.batch, "rows", True)
        return Data(batches, self._held_out(valid, VALID), self._held_out(test, TEST))

    def _held_out(self, clips: list[Clip], part: int) -> "Measured":
        return Measured(lambda: self._joiner.measured(clips, self.config.data.seed + part), self._batch)

    def _batch(self, strings: Sequence[Recording]) -> KeywordBatch:
        """Strings side by side."""
        x = [self._steps(string.samples) for string in strings]
        places = [
            [row, *self._steps_of(place, len(x[row]))]
            for row, string in enumerate(strings)
            for place in string.places
        ]
        lengths = torch.tensor([len(row) for row in x])
        return KeywordBatch(pad_sequence(x, batch_first=True), lengths, torch.tensor(places).long().view(-1, 7))

    def _steps_of(self, place: Place, steps: int) -> list[int]:
        """A place in steps, as `KeywordBatch` has it."""
        model, rate = self.config.model, self.config.data.rate
        early = place.end - round(model.early * rate) if place.alone else place.begin
        late = place.end + round(model.late * rate)
        samples = (place.begin, max(early, place.begin), late, place.end)
        begin, first, last, end = (min(at // (model.stack * self._banks.hop), steps - 1) for at in samples)
        return [place.keyword, begin, first, last + 1, end, place.times]

    def _steps(self, samples: Tensor) -> Tensor:
        """Samples ``(N,)`` as the network reads them, one step at least."""
        x = stacked(self._features(samples), self.config.model.stack)
        return x if len(x) else x.new_zeros(1, x.shape[1])

    @property
    def _features(self) -> Features:
        if self.typical is None:
            raise RunError("KeywordSpotter knows no typical features yet; call fit(...) or load(folder)")
        return Running(self._banks, self.typical)

    @property
    def _step(self) -> float:
        """Seconds of a step."""
        return self.config.model.stack * self._banks.hop / self._banks.rate

    @property
    def _rest(self) -> int:
        """Steps in which a keyword must not be heard before it raises another alarm."""
        return max(1, round(self.config.alarm.rest / self._step))

    def network(self) -> nn.Module:
        return KeywordNetwork(self.config.model, self._banks.size, len(self.config.data.keywords))

    def begin(self, network: nn.Module) -> None:
        """Forget an earlier training: each validation chooses the threshold again."""
        self.trained = None

    def loss(self, network: nn.Module, batch: KeywordBatch, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the nats of all steps, and how many there are; nothing is carried."""
        return network(batch), int(batch.lengths.sum()), None

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Shares of keywords missed, false alarms an hour, seconds from a word's end to its alarm, nats, hours.

        The first, mean_misses, is that of many thresholds, for which one network may be compared with another.
        While training, each validation chooses the threshold anew.
        """
        heard, nats = self._heard(network, batches)
        whole = curve(heard, self._step, self._rest)
        if self.trained is None:
            self.threshold = whole.choose(self.config.alarm.false_alarms).threshold
        found = curve(heard, self._step, self._rest, [self.threshold])
        point, steps = found.points[0], sum(len(one.logits) for one in heard)
        return {
            "mean_misses": whole.mean_misses(),
            "misses": point.misses,
            "false_alarms_per_hour": point.false_alarms,
            "delay": point.delay,
            "loss": nats / max(1, steps),
            "hours": found.hours,
        }

    def _heard(self, network: nn.Module, batches: Batches) -> tuple[list[Heard], float]:
        """What the network says about each string, and its nats in all."""
        assert isinstance(network, KeywordNetwork)
        heard, nats, device = [], 0.0, next(network.parameters()).device
        for batch in batches.epoch(0):
            batch = batch._replace(x=batch.x.to(device))
            logits, places = network.logits(batch.x, batch.lengths), batch.places.tolist()
            nats, logits = nats + float(network.nats(logits, batch).detach()), logits.cpu()
            for row, length in enumerate(batch.lengths.tolist()):
                heard.append(Heard(logits[row, :length], [_scored(place) for place in places if place[0] == row]))
        return heard, nats

    @torch.no_grad()
    def finish(self, data: Data) -> None:
        """Choose the threshold by the false alarms of the validation part."""
        self.threshold = self.curve(data.valid).choose(self.config.alarm.false_alarms).threshold

    @torch.no_grad()
    def curve(self, batches: Batches) -> Curve:
        """What every threshold would miss, and how often it would give a false alarm."""
        return curve(self._heard(self.ready(), batches)[0], self._step, self._rest)

    def signatures(self) -> dict[str, str]:
        alarm = self.config.alarm
        return {
            "mean_misses": "share of keywords, mean of that at 1, 10 and 100 false alarms an hour",
            "misses": f"share of keywords, at threshold {self.threshold:.4f} (at most {alarm.false_alarms:g} false "
            "alarms an hour in validation)",
            "delay": "seconds from the end of the word",
        }

    def predict(self, raw: str) -> dict[str, Any]:
        """When keywords are heard in a sound file.

            {"text", "seconds", "heard": [{"keyword", "at", "probability"}], "shown"}

        ``at`` is the second at which it is noticed, near the end of the word.
        """
        return self._answer(raw)[0]

    @torch.no_grad()
    def _answer(self, raw: str) -> tuple[dict[str, Any], list[Alarm], Tensor]:
        """The answer, its alarms, and the probabilities of all steps ``(J, K)``."""
        network = self.ready()
        if not isinstance(raw, str | Path):
            raise DataError(f"predict: expected the name of a sound file, got {type(raw).__name__}")
        sound = read_sound(raw, self.config.data.rate)
        p = network.logits(self._steps(sound.samples)[None], None)[0].double().sigmoid()  # type: ignore[operator]
        found = [
            Alarm(keyword, self._step * (step + 1), float(p[step, number]))
            for number, keyword in enumerate(self.config.data.keywords)
            for step in alarms(p[:, number], self.threshold, self._rest)
        ]
        found.sort(key=lambda alarm: alarm.at)
        return self.told(str(raw), sound.seconds, found), found, p

    def told(self, name: str, seconds: float, found: Sequence[Alarm]) -> dict[str, Any]:
        """The answer for people and programs: what was heard in so many seconds of sound."""
        shown = " ".join(f"{alarm.keyword}@{alarm.at:.2f}" for alarm in found)
        return {"text": name, "seconds": seconds, "heard": [alarm._asdict() for alarm in found], "shown": shown}

    def stream(self, raw: Tensor | None = None) -> KeywordStream:
        """A `KeywordStream` that has heard the samples ``raw (n,)``: push more, and it tells what it heard."""
        network, config = self.ready(), self.config
        assert isinstance(network, KeywordNetwork)
        keywords, stack = config.data.keywords, config.model.stack
        stream = KeywordStream(network, self._features, stack, keywords, Rule(self.threshold, self._rest))
        if raw is not None:
            stream.push(raw)
        return stream

    def read(self, source: str) -> Batches:
        """Strings of the recordings of another folder, manifest or data set, all parts together."""
        clips = [clip for part in read_clips(replace(self.config.data, path=source)) for clip in part]
        return self._held_out(clips, TEST)

    def explain(self) -> str:
        """Which kernel runs for a training batch."""
        size = self.config.model.stack * self._banks.size
        with dispatch.record() as log, torch.no_grad():
            self.ready().logits(torch.zeros(self.config.data.batch, 100, size), None)  # type: ignore[operator]
        return "\n".join(dict.fromkeys(str(decision) for decision in log))

    @torch.no_grad()
    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """Misses by false alarms an hour, at every threshold, as ``curve.png``."""
        heard, _ = self._heard(self.ready(), batches)
        chosen = curve(heard, self._step, self._rest, [self.threshold]).points[0]
        draw_curve(curve(heard, self._step, self._rest), chosen, folder / "curve.png")
        return [folder / "curve.png"]

    def draw_answer(self, raw: str, folder: Path, name: str) -> list[Path]:
        """The spectrogram of the sound, and the probability of each keyword below it."""
        _, found, p = self._answer(raw)
        frames = self._banks(read_sound(raw, self.config.data.rate).samples)
        draw_recording(frames, p, self.config.data.keywords, found, self.threshold, folder / f"{name}.png")
        return [folder / f"{name}.png"]

    def learned(self) -> dict[str, Any]:
        if self.typical is None:
            raise RunError("KeywordSpotter has learned nothing yet; call fit(...) or load(folder)")
        mean, deviation = (values.tolist() for values in self.typical)
        return {"threshold": self.threshold, "mean": mean, "deviation": deviation}

    def relearn(self, values: dict[str, Any]) -> None:
        try:
            mean, deviation = (torch.tensor(values[name], dtype=torch.float64) for name in ("mean", "deviation"))
            self.threshold = float(values["threshold"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError("the run has no threshold, mean and deviation; was it made by this task?") from error
        self.typical = Statistics(mean, deviation)


def _scored(place: list[int]) -> list[int]:
    """A place as `Heard` has it."""
    _, keyword, begin, _, after, end, times = place
    return [keyword, begin, after, end, times]


class Measured:
    """Strings to measure on, made when they are first asked for."""

    def __init__(
        self, make: Callable[[], list[Recording]], collate: Callable[[Sequence[Recording]], KeywordBatch]
    ) -> None:
        self.make, self.collate = make, collate
        self.made: list[KeywordBatch] = []

    def epoch(self, number: int) -> list[KeywordBatch]:
        """All batches, the same every time."""
        if not self.made:
            strings = self.make()
            self.made = [self.collate(strings[i : i + AT_ONCE]) for i in range(0, len(strings), AT_ONCE)]
        return self.made

    def shard(self, rank: int, world: int) -> Self:
        """The same: every process measures all."""
        return self
