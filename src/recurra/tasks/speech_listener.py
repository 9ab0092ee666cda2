"""Listening as a function: samples and a state in, what was said and the next state out.

Recordings that a causal network transcribes go the same way as live sound, step by step through the same operations
of the same shapes. So a transcript does not depend on how the sound was cut into blocks, not by a bit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.data.features import Features
from recurra.errors import DataError, NotCausalError, ShapeError
from recurra.heads.alignment import Transcript
from recurra.layers import Stream
from recurra.tasks.speech_decoding import StepDecoder
from recurra.tasks.speech_network import SpeechNetwork
from recurra.tasks.speech_tokens import SpeechTokens
from recurra.tree import State

__all__ = ["Listener", "Said", "Word"]


class Word(NamedTuple):
    """A word, when it was said in seconds, and how sure the network was of its least sure token, from 0 to 1."""

    word: str
    begin: float
    end: float
    confidence: float


class Said(NamedTuple):
    """Words between two silences.

    final      whether it can still change: a silence or the end of the sound has come after it
    begin      seconds; what the network heard for it, silence before it with it
    end        seconds
    languages  probability of each language, where the network tells them apart
    """

    final: bool
    words: tuple[Word, ...]
    begin: float
    end: float
    languages: dict[str, float]

    @property
    def text(self) -> str:
        """The words in a line."""
        return " ".join(word.word for word in self.words)


class Listener:
    """A trained network with its features and decoder.

    features   samples to frames, whole or as a stream
    network    in evaluation mode
    decoder    steps to tokens
    tokens     tokens to words
    languages  their names, where the network tells them apart
    silence    seconds without a token after which what was said is final, when listening live
    """

    def __init__(
        self,
        features: Features,
        network: SpeechNetwork,
        decoder: StepDecoder,
        tokens: SpeechTokens,
        languages: Sequence[str] = (),
        silence: float = 0.8,
    ) -> None:
        self.features, self.network, self.decoder = features, network.eval(), decoder
        self.tokens, self.languages = tokens, list(languages)
        self.stride = network.subsampling.stride
        self.seconds = self.stride * features.hop / features.rate  # of one step
        self.silence = max(1, round(silence / self.seconds))
        self.layers = Stream(network.without_dropout()) if network.causal else None

    def whole(self, samples: Tensor) -> list[Said]:
        """All that is said in a recording ``samples (N,)``."""
        samples = self.check(samples)
        if self.layers is None:
            return self._at_once(samples)
        said, state = self.push(samples, self.initial(), partial=False)
        return said + self.finish(state)

    @torch.inference_mode()
    def _at_once(self, samples: Tensor) -> list[Said]:
        frames = self.features(samples)
        if not len(frames):
            return []
        h, _ = self.network.encode(frames[None], torch.tensor([len(frames)]))
        transcript = self.decoder.result(self.decoder.push(h[0], self.decoder.initial())[0])
        return self.said(transcript, True, 0, h.shape[1], h[0].sum(0))

    def initial(self) -> Any:
        """The state before the first sample: tensors in tuples.

        clock  steps heard, the step at which the present utterance begins, steps since its last token
        """
        if self.layers is None:
            raise NotCausalError(
                "this recognizer reads each recording from both ends and has no single step; to listen live, train "
                "one with model.bidirectional = false and features.normalisation = running"
            )
        self.layers.reset()
        state = self.layers.state
        return State(
            sound=self.features.initial(),
            frames=torch.zeros(0, self.features.size),
            past=self.network.subsampling.initial_state(),
            layers=state,
            decoder=self.decoder.initial(),
            heard=torch.zeros(self.network.width),
            clock=torch.zeros(3, dtype=torch.int64),
        )

    def check(self, samples: Tensor) -> Tensor:
        """Samples as float32 between -1 and 1; int16 is scaled. Raises ShapeError or DataError."""
        samples = torch.as_tensor(samples)
        if samples.dim() != 1:
            raise ShapeError(f"expected samples of one channel, shape (N,), got {tuple(samples.shape)}")
        if samples.dtype == torch.int16:
            return samples.float() / 32768
        if not samples.is_floating_point():
            raise DataError(f"expected samples as int16, or as real numbers from -1 to 1, got {samples.dtype}")
        return samples.float()

    @torch.inference_mode()
    def push(self, samples: Tensor, state: Any, partial: bool = True) -> tuple[list[Said], Any]:
        """What became final with the next ``samples (n,)``, and the state after them.

        With ``partial`` also what is being said, if anything was said in these samples.
        """
        frames, sound = self.features.push(samples, state.sound)
        state = state._replace(sound=sound, frames=torch.cat([state.frames, frames]))
        talk = self._steps(state)
        if partial and talk.spoke:
            talk.tell(final=False)
        return talk.said, talk.state()

    @torch.inference_mode()
    def finish(self, state: Any) -> list[Said]:
        """What was said before the sound ended here."""
        rest = torch.cat([state.frames, self.features.finish(state.sound)])
        filling = rest.new_zeros(-len(rest) % self.stride, self.features.size)
        talk = self._steps(state._replace(frames=torch.cat([rest, filling])), len(rest) % self.stride)
        talk.tell(final=True)
        return talk.said

    def _steps(self, state: Any, real: int = 0) -> "_Talk":
        """All whole steps of the waiting frames; of the last one only ``real`` frames are real, if not 0."""
        assert self.layers is not None
        stride, hops, past = self.stride, len(state.frames) // self.stride, state.past
        talk = _Talk(self, state)
        self.layers.state = state.layers
        for hop in range(hops):
            # A copy: products may round differently by where in memory their numbers lie.
            x = state.frames[None, hop * stride : (hop + 1) * stride].clone()
            e, past = self.network.subsampling.step(x, past, real if real and hop == hops - 1 else stride)
            talk.step(self.layers.push(e))
        talk.before = state._replace(
            frames=state.frames[hops * stride :].clone(), past=past, layers=self.layers.state
        )
        return talk

    def said(self, transcript: Transcript, final: bool, begin: int, end: int, heard: Tensor) -> list[Said]:
        """The utterance of steps ``begin .. end``, of sum ``heard (H,)``; nothing if there is no word."""
        words = tuple(
            Word(
                word.text,
                round((begin + word.begin) * self.seconds, 3),
                round((begin + word.end) * self.seconds, 3),
                word.confidence,
            )
            for word in self.tokens.words(transcript.heard)
        )
        if not words:
            return []
        shares = self._languages(heard, end - begin)
        return [Said(final, words, round(begin * self.seconds, 3), round(end * self.seconds, 3), shares)]

    def _languages(self, heard: Tensor, steps: int) -> dict[str, float]:
        """The probability of each language from the sum ``heard (H,)`` of so many steps."""
        if not self.languages:
            return {}
        logits = self.network.language(heard[None, None], torch.tensor([steps]))[0]
        return dict(zip(self.languages, logits.softmax(-1).tolist(), strict=True))


class _Talk:
    """The utterance that is being heard, while some steps come in.

    before  the state before them
    said    what became final in them, and more when `tell` is asked
    spoke   whether anything was said since that
    """

    def __init__(self, listener: Listener, state: Any) -> None:
        self.listener, self.before, self.decoder, self.heard = listener, state, state.decoder, state.heard
        self.now, self.begin, self.quiet = state.clock.tolist()
        self.said: list[Said] = []
        self.spoke = False

    def step(self, h: Tensor) -> None:
        """One step of the layers ``h (1, H)`` goes to the decoder; a long silence ends the utterance."""
        self.decoder, spoke = self.listener.decoder.push(h, self.decoder)
        if self.listener.languages:
            self.heard = self.heard + h[0]
        self.spoke |= spoke
        self.now, self.quiet = self.now + 1, 0 if spoke else self.quiet + 1
        if self.quiet >= self.listener.silence:
            self.tell(final=True)
            self.decoder, self.heard = self.listener.decoder.forget(self.decoder), torch.zeros_like(self.heard)
            self.begin, self.quiet, self.spoke = self.now, 0, False

    def tell(self, final: bool) -> None:
        """Note what is being said, if anything."""
        decoder = self.listener.decoder
        self.decoder = decoder.settle(self.decoder)
        transcript = decoder.result(self.decoder) if final else decoder.partial(self.decoder)
        self.said += self.listener.said(transcript, final, self.begin, self.now, self.heard)

    def state(self) -> Any:
        """The state after the steps."""
        clock = torch.tensor([self.now, self.begin, self.quiet])
        return self.before._replace(decoder=self.decoder, heard=self.heard, clock=clock)
