"""From steps of the layers to tokens, by either head, in one manner: a state that grows step by step."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.heads import alignment
from recurra.heads.alignment import BLANK, Transcript
from recurra.heads.transducer_search import Search
from recurra.tasks.speech_network import SpeechNetwork

__all__ = ["CTCSteps", "StepDecoder", "TransducerSteps"]


class StepDecoder(Protocol):
    """Finds tokens in steps h ``(t, H)`` that come in any cut."""

    def initial(self) -> Any:
        """The state before the first step: tensors in tuples."""

    def push(self, h: Tensor, state: Any) -> tuple[Any, bool]:
        """The state after some more steps ``(t, H)``, and whether anything was said in them."""

    def partial(self, state: Any) -> Transcript:
        """The best transcript so far."""

    def result(self, state: Any) -> Transcript:
        """The best transcript if nothing follows."""


@dataclass(frozen=True)
class CTCSteps:
    """Steps to log probabilities of tokens, and these to a decoder of CTC."""

    network: SpeechNetwork
    decoder: alignment.Decoder

    def initial(self) -> Any:
        return self.decoder.initial()

    @torch.no_grad()
    def push(self, h: Tensor, state: Any) -> tuple[Any, bool]:
        log_probs = self.network.log_probs(h)
        return self.decoder.push(log_probs, state), bool((log_probs.argmax(-1) != BLANK).any())

    def partial(self, state: Any) -> Transcript:
        return self.decoder.partial(state)

    def result(self, state: Any) -> Transcript:
        return self.decoder.result(state)


@dataclass(frozen=True)
class TransducerSteps:
    """Steps to a search of a transducer."""

    search: Search

    def initial(self) -> Any:
        return self.search.initial()

    def push(self, h: Tensor, state: Any) -> tuple[Any, bool]:
        before, state = int(state.frame), self.search.push(h, state)
        heard = self.search.result(state)
        return state, bool(heard.frames) and heard.frames[-1] >= before

    def partial(self, state: Any) -> Transcript:
        return self.result(state)

    def result(self, state: Any) -> Transcript:
        found = self.search.result(state)
        rows = zip(found.tokens, found.frames, found.confidences, strict=True)
        heard = tuple(alignment.Heard(token, at, at + 1, sure) for token, at, sure in rows)
        return Transcript(heard, 0.0 - found.nats, 0)
