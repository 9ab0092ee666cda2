"""Speech recognition: what is said in a recording, or while it is being said.

    p(text | sound)        features -> subsampling -> recurrent layers -> CTC or transducer

Deep recurrent networks trained from recordings and their transcripts alone (Graves and Jaitly 2014, Hannun et al.
2014, Amodei et al. 2016): nobody has to say when which sound was made. A network that reads from the beginning only
listens live.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recurra import files
from recurra.data.audio import Sound, read_sound, resample
from recurra.data.features import Cepstra, Features, FilterBanks
from recurra.data.manifests import Utterance, read_manifest
from recurra.data.normalisation import Statistics, normalised, statistics
from recurra.errors import DataError, RunError
from recurra.heads.alignment import Greedy
from recurra.heads.transducer_search import GreedySearch
from recurra.heads.word_errors import WordErrors, word_errors
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.speech_batches import SpeechBatch, SpeechRow, SpeechRows
from recurra.tasks.speech_config import SpeechConfig
from recurra.tasks.speech_data import read_parts
from recurra.tasks.speech_decoding import CTCSteps, StepDecoder, TransducerSteps
from recurra.tasks.speech_listener import Listener, Said
from recurra.tasks.speech_network import SpeechNetwork
from recurra.tasks.speech_pictures import draw_hearing, draw_word_errors
from recurra.tasks.speech_search import Speller
from recurra.tasks.speech_sounds import Sounds
from recurra.tasks.speech_stream import Latency, SpeechStream
from recurra.tasks.speech_tokens import SpeechTokens, plain_text

__all__ = ["SpeechRecognizer"]

SAMPLE = 400  # training recordings that tell what features are like
NAMED = 3  # recordings that a note names


class SpeechRecognizer(Estimator):
    """A model that transcribes recordings, trained on a manifest of them.

    >>> recognizer = SpeechRecognizer(SpeechConfig(data=SpeechData(path="prompts-en")))      # doctest: +SKIP
    >>> recognizer.fit("runs/prompts")                                                       # doctest: +SKIP
    >>> recognizer.predict("hello.wav")["transcript"]                                        # doctest: +SKIP

    ``notes`` says what was read and what was left out of training, after `data`.
    """

    name = "speech"
    source: ClassVar[str] = "data.path"
    Config = SpeechConfig
    config: SpeechConfig

    def __init__(self, config: SpeechConfig | None = None) -> None:
        super().__init__(config)
        self.tokens: SpeechTokens | None = None
        self.languages: list[str] = []
        self.typical: Statistics | None = None
        self.speller = Speller(self.config.search)
        self.sounds = Sounds(self.config.features.rate)
        self.notes: dict[str, str] = {}
        self._listener: Listener | None = None

    def data(self) -> Data:
        """The recordings in three parts; tokens, languages and what features are like come from the first one."""
        parts = read_parts(self.config.data)
        self.notes = {"read": ", ".join(parts.notes)}
        if self.tokens is None:
            self._learn(parts.train)
        train, config = self._rows(parts.train), self.config.data
        rows = self._maker()
        batches = rows.training(self._trainable(train), config.batch, config.pool)
        held_out = [self._measurable(name, getattr(parts, name)) for name in ("valid", "test")]
        if self.sounds.complaints:
            counts = ", ".join(f"{count} {kind}" for kind, count in self.sounds.complaints.items())
            self.notes["recordings that may be bad"] = counts
        self.say(*(f"{what}: {value}" for what, value in self.notes.items()))
        return Data(batches, *held_out)

    def _learn(self, train: list[Utterance]) -> None:
        config = self.config
        texts = [plain_text(utterance.text, config.data.case) for utterance in train]
        if not any(texts):
            raise DataError("the training part has no transcript with a text")
        self.tokens = SpeechTokens.learn(texts, config.data.tokens, config.data.size)
        if config.model.languages:
            self.languages = sorted({utterance.language for utterance in train} - {""})
            if len(self.languages) < 2:
                raise DataError(
                    "model.languages: expected recordings of two languages or more, named by 'language' in the "
                    f"manifest, got {self.languages or 'none'}"
                )
        if config.features.normalisation == "running":
            plain, some = self._plain_features(), train[:: max(1, len(train) // SAMPLE)]
            self.typical = statistics([plain(self.sounds(utterance)) for utterance in some])
        self.speller.learn(texts, self.tokens, config.data.case)

    def _rows(self, utterances: Sequence[Utterance]) -> list[SpeechRow]:
        case = self.config.data.case
        return [SpeechRow(one, plain_text(one.text, case), place) for place, one in enumerate(utterances)]

    def _trainable(self, rows: list[SpeechRow]) -> list[SpeechRow]:
        """Rows that can be learned from; the others are named and counted in ``notes``."""
        longest = self.config.data.longest
        fitting = [row for row in rows if self.sounds.seconds(row.utterance) <= longest]
        whole = [row for row in fitting if self._allows(row)]
        self.notes["recordings to train on"] = f"{len(whole):,} of {len(rows):,}"
        if len(fitting) < len(rows):
            self.notes[f"left out, longer than data.longest = {longest:g} s"] = f"{len(rows) - len(fitting):,}"
        if len(whole) < len(fitting):
            left = [str(row.utterance.path) for row in fitting if not self._allows(row)]
            more = ", ..." if len(left) > NAMED else ""
            self.notes["left out, too short for their transcripts"] = (
                f"{len(left):,} ({', '.join(left[:NAMED])}{more}); smaller model.strides allow more tokens a second"
            )
        if not whole:
            raise DataError(f"no recording to train on among {len(rows)}: {self.notes}")
        return whole

    def _allows(self, row: SpeechRow) -> bool:
        """Whether CTC can say so many tokens in the recording, played as fast as it may be."""
        tokens, config = self._tokens().encode(row.text), self.config
        needed = len(tokens) + sum(a == b for a, b in pairwise(tokens))
        if config.model.head == "transducer" and not config.model.auxiliary:
            needed = min(1, needed)
        hop = self._features().hop
        samples = self.sounds.seconds(row.utterance) * config.features.rate / (1 + config.augment.speed)
        return needed * math.prod(config.model.strides) <= max(0.0, samples / hop - 2)

    def _measurable(self, part: str, utterances: list[Utterance]) -> Batches:
        """Batches of held-out recordings; a note counts what no training transcript has."""
        rows, tokens = self._rows(utterances), self._tokens()
        unknown = Counter(piece for row in rows for piece in tokens.unknown(row.text))
        if unknown:
            some = ", ".join(repr(piece) for piece, _ in unknown.most_common(5))
            self.notes[f"pieces of {part} transcripts that training never saw"] = f"{unknown.total()}: {some}"
        return self._maker().held_out(rows)

    def _maker(self) -> SpeechRows:
        return SpeechRows(self.sounds, self._features(), self._tokens(), self.languages, self.config.augment)

    def _plain_features(self) -> Features:
        kinds: dict[str, Any] = {"filter_banks": FilterBanks, "cepstra": Cepstra}
        config = self.config.features
        return kinds[config.kind](config.rate, config.size)

    def _features(self) -> Features:
        return normalised(self._plain_features(), self.config.features.normalisation, self.typical)

    def network(self) -> nn.Module:
        size = self.config.features.size
        kinds, reader = len(self._tokens()), self.speller.network
        return SpeechNetwork(self.config.model, size, kinds, len(self.languages), reader).cpu()

    def begin(self, network: nn.Module) -> None:
        """Forget an earlier training."""
        self.trained = self._listener = None

    def loss(self, network: nn.Module, batch: SpeechBatch, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the nats of all transcripts, and the number of their tokens; nothing is carried."""
        return network(batch), max(1, int(batch.token_lengths.sum())), None

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Word error rate of what is heard greedily, and how many recordings have no error; nats a token."""
        assert isinstance(network, SpeechNetwork)
        rows: Sequence[SpeechRow] = batches.rows  # type: ignore[attr-defined]
        device, texts = next(network.parameters()).device, [""] * len(rows)
        nats, count, right, known = 0.0, 0, 0, 0
        decoder = self._steps(network, greedy=True)
        for batch in batches.epoch(0):
            batch = SpeechBatch(*(part.to(device) for part in batch))
            encoded = network.encode(batch.frames, batch.lengths)
            for place, h, length in zip(batch.places.tolist(), encoded.h, encoded.lengths.tolist(), strict=True):
                state, _ = decoder.push(h[:length], decoder.initial())
                texts[place] = self._tokens().text(decoder.result(state).tokens)
            nats, count = nats + float(network.nats(encoded, batch)), count + int(batch.token_lengths.sum())
            if self.languages:
                found = network.language(*encoded).argmax(1)
                right, known = right + int((found == batch.languages).sum()), known + len(found)
        measured = self._shares(rows, texts) | {"loss": nats / max(1, count)}
        return measured | ({"language_accuracy": right / max(1, known)} if self.languages else {})

    def _compared(self, rows: Sequence[SpeechRow], texts: Sequence[str]) -> WordErrors:
        return word_errors([row.text for row in rows], texts)

    def _shares(self, rows: Sequence[SpeechRow], texts: Sequence[str]) -> dict[str, float]:
        errors = self._compared(rows, texts)
        exact = sum(row.text == text for row, text in zip(rows, texts, strict=True)) / max(1, len(rows))
        return {"wer": errors.wer, "cer": errors.cer, "accuracy": exact}

    @torch.no_grad()
    def finish(self, data: Data) -> None:
        """Choose the weight of the language model by the validation part, if ``search.tune`` asks for it."""
        if not self.config.search.tune:
            return
        network, heard, texts = self.ready().cpu(), [], []
        assert isinstance(network, SpeechNetwork)
        for row in data.valid.rows:  # type: ignore[attr-defined]
            frames = self._features()(self.sounds(row.utterance))
            encoded = network.encode(frames[None], torch.tensor([len(frames)]))
            heard.append(network.log_probs(encoded.h[0]))
            texts.append(row.text)
        self.speller.tune(heard, texts, self._tokens())
        self._listener = None
        self.say(f"language model: weight {self.speller.weight:g}, bonus {self.speller.bonus:g}")

    def _steps(self, network: SpeechNetwork, greedy: bool = False) -> StepDecoder:
        """What finds tokens in the network's steps: greedily, or as the configuration says."""
        if network.transducer is not None:
            search = GreedySearch(network.transducer) if greedy else self.speller.transducer(network.transducer)
            return TransducerSteps(search)
        return CTCSteps(network, Greedy() if greedy else self.speller.decoder())

    def listener(self, greedy: bool = False) -> Listener:
        """The trained network ready to listen, on the processor."""
        network = self.ready().cpu()
        assert isinstance(network, SpeechNetwork)
        if greedy or self._listener is None or self._listener.network is not network:
            features, decoder = self._features(), self._steps(network, greedy)
            silence = self.config.live.silence
            made = Listener(features, network, decoder, self._tokens(), self.languages, silence)
            if greedy:
                return made
            self._listener = made
        return self._listener

    def _tokens(self) -> SpeechTokens:
        if self.tokens is None:
            raise RunError("SpeechRecognizer has no tokens yet; call fit(...) or load(folder)")
        return self.tokens

    @torch.no_grad()
    def evaluate(self, part: str = "test", source: str | None = None) -> dict[str, float]:
        """Errors of what `predict` would answer, and how long one core takes for it.

        wer, cer                                errors in all words, in all characters; 0.05 is 5 %
        substituted, deleted, inserted          what the word errors are, as shares of all words
        accuracy                                share of recordings without an error
        rtf                                     real-time factor on one core: seconds of computing a second of sound
        latency_ms                              of a causal network: milliseconds that 100 ms of live sound take, 19
                                                of 20 times less
        wer_greedy                              without beam, language model and lexicon, where there are any
        """
        rows: Sequence[SpeechRow] = self.held_out(part, source).rows  # type: ignore[attr-defined]
        listener, latency, heard = self.listener(), Latency(), []
        with _one_core():
            heard = [self._timed(listener, row, latency) for row in rows]
        texts = [_text(said) for said in heard]
        measured, words = self._shares(rows, texts), self._compared(rows, texts).words
        for what in ("substituted", "deleted", "inserted"):
            measured[what] = getattr(words, what) / max(1, words.there)
        if self.config.search.beam > 1:
            plain = self.listener(greedy=True)
            found = [_text(plain.whole(self.sounds(row.utterance))) for row in rows]
            measured["wer_greedy"] = self._shares(rows, found)["wer"]
        if self.languages:
            right = [_language(said) == row.utterance.language for said, row in zip(heard, rows, strict=True)]
            measured["language_accuracy"] = sum(right) / max(1, len(right))
        measured["rtf"] = latency.factor
        return measured | ({"latency_ms": latency.milliseconds(0.95)} if listener.network.causal else {})

    def _timed(self, listener: Listener, row: SpeechRow, latency: Latency) -> list[Said]:
        """What is said in a recording, heard as it would be live if that can be."""
        samples, rate = self.sounds(row.utterance), self.config.features.rate
        if not listener.network.causal:
            begin = time.perf_counter()
            said = listener.whole(samples)
            latency.add(time.perf_counter() - begin, len(samples) / rate)
            return said
        stream = SpeechStream(listener, latency)
        said = [one for block in samples.split(rate // 10) for one in stream.push(block) if one.final]
        return said + stream.finish()

    def predict(self, raw: str | Path | Sound) -> dict[str, Any]:
        """What is said in a sound file, or in a `Sound`.

            {"audio", "seconds", "transcript", "words": [{"word", "begin", "end", "confidence"}], "shown"}

        Times are in seconds, to a step of the network; a confidence is the network's probability of the least sure
        token of a word. Where it tells languages apart also "language" and "languages", their probabilities.
        """
        sound = raw if isinstance(raw, Sound) else self._read(raw)
        if isinstance(raw, Sound):
            sound = resample(raw, self.config.features.rate)
        audio = "" if isinstance(raw, Sound) else str(raw)
        return self.answer(self.listener().whole(sound.samples), audio, sound.seconds)

    def answer(self, said: Sequence[Said], audio: str, seconds: float) -> dict[str, Any]:
        """The answer of `predict` from what a `SpeechStream` found to be final in so many seconds."""
        words = [word._asdict() for one in said for word in one.words]
        found = {"audio": audio, "seconds": round(seconds, 3), "transcript": _text(said), "words": words}
        if not self.languages:
            return found | {"shown": _text(said)}
        shares = _languages(said)
        language = max(shares, key=lambda name: shares[name], default="")
        return found | {"language": language, "languages": shares, "shown": f"{language}\t{_text(said)}"}

    def _read(self, raw: str | Path) -> Sound:
        if not isinstance(raw, str | Path) or not str(raw).strip():
            raise DataError(f"predict: expected the path of a sound file, or a Sound, got {raw!r}")
        return read_sound(str(raw).strip(), self.config.features.rate)

    def predict_many(self, raws: Sequence[str | Path | Sound]) -> list[dict[str, Any]]:
        """The answers of `predict`, each recording by itself: no answer depends on what stands beside it."""
        return [self.predict(raw) for raw in raws]

    def stream(self, raw: str | Path | Sound | None = None) -> SpeechStream:
        """A `SpeechStream`, which has heard ``raw``: push blocks of samples, and it tells what is said.

        Raises NotCausalError if the network reads from both ends.
        """
        stream = SpeechStream(self.listener())
        if raw is not None:
            sound = resample(raw, self.config.features.rate) if isinstance(raw, Sound) else self._read(raw)
            stream.push(sound.samples)
        return stream

    def read(self, source: str) -> Batches:
        """The recordings of a manifest, or of a folder of sounds and texts."""
        return self._measurable("other", read_manifest(source))

    @torch.no_grad()
    def draw_answer(self, raw: str | Path | Sound, folder: Path, name: str) -> list[Path]:
        """The spectrogram of a recording, and below it when the network heard which token."""
        path = folder / f"{name}.png"
        samples = (raw if isinstance(raw, Sound) else self._read(raw)).samples
        draw_hearing(self.listener(), samples, self._plain_features(), path)
        return [path]

    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """Which words are wrong, as ``words.png`` and ``words.txt``; the worst recording as ``worst.png``."""
        rows: Sequence[SpeechRow] = batches.rows  # type: ignore[attr-defined]
        listener, paths = self.listener(), [folder / name for name in ("words.png", "words.txt", "worst.png")]
        texts = [_text(listener.whole(self.sounds(row.utterance))) for row in rows]
        errors = self._compared(rows, texts)
        draw_word_errors(errors, paths[0])
        files.write_text(paths[1], errors.table(len(errors.rows)) + "\n")
        rates = [self._compared([row], [text]).wer for row, text in zip(rows, texts, strict=True)]
        worst = rates.index(max(rates))
        samples, title = self.sounds(rows[worst].utterance), f"said: {rows[worst].text}; heard: {texts[worst]}"
        draw_hearing(listener, samples, self._plain_features(), paths[2], title)
        return paths

    def explain(self) -> str:
        """Which kernel runs for a training batch."""
        network: Any = self.ready()
        config, length = self.config, 200
        size = max(1, config.data.batch // length)
        frames, lengths = torch.zeros(size, length, config.features.size), torch.full((size,), length)
        ones = torch.ones(size, 1, dtype=torch.long)
        batch = SpeechBatch(frames, lengths, ones, torch.ones(size).long(), torch.zeros(size).long(), -ones[:, 0])
        with dispatch.record() as log:
            network(batch)
        return "\n".join(dict.fromkeys(str(decision) for decision in log))

    def learned(self) -> dict[str, Any]:
        typical = self.typical and [part.tolist() for part in self.typical]
        tokens, search = self._tokens().to_dict(), self.speller.to_dict()
        return {"tokens": tokens, "languages": self.languages, "typical": typical, "search": search}

    def relearn(self, values: dict[str, Any]) -> None:
        self.tokens = SpeechTokens.from_dict(values.get("tokens"))
        self.languages = list(values.get("languages", []))
        typical = values.get("typical")
        self.typical = typical and Statistics(*(torch.tensor(part, dtype=torch.float64) for part in typical))
        self.speller.restore(values.get("search"), self.tokens)
        self._listener = None


@contextmanager
def _one_core() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _text(said: Sequence[Said]) -> str:
    """All that was said, in a line."""
    return " ".join(one.text for one in said)


def _languages(said: Sequence[Said]) -> dict[str, float]:
    """The probability of each language, utterances weighed by how long they last."""
    whole = sum(one.end - one.begin for one in said)
    names = said[0].languages if said else {}
    return {name: sum(one.languages[name] * (one.end - one.begin) for one in said) / whole for name in names}


def _language(said: Sequence[Said]) -> str:
    shares = _languages(said)
    return max(shares, key=lambda name: shares[name], default="")
