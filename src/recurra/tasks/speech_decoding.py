"""From steps of the layers to tokens, by either head, in one manner: a state that grows step by step."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.heads import alignment
from recurra.heads.alignment import BLANK, Transcript
from recurra.heads.transducer_search import Search
from recurra.tasks.speech_network import SpeechNetwork
from recurra.tree import State

__all__ = ["CTCSteps", "StepDecoder", "TransducerSteps"]


class StepDecoder(Protocol):
    """Finds tokens in steps h ``(t, H)`` that come in any cut."""

    def initial(self) -> Any:
        """The state before the first step: tensors in tuples."""

    def push(self, h: Tensor, state: Any) -> tuple[Any, bool]:
        """The state after some more steps ``(t, H)``, and whether anything was said in them."""

    def settle(self, state: Any) -> Any:
        """The same state, with nothing left to be worked out."""

    def partial(self, state: Any) -> Transcript:
        """The best transcript so far."""

    def result(self, state: Any) -> Transcript:
        """The best transcript if nothing follows."""

    def forget(self, state: Any) -> Any:
        """The state that goes on after the best transcript, steps counted anew, but no longer tells it."""


@dataclass(frozen=True)
class CTCSteps:
    """Steps to log probabilities of tokens, and these to a decoder of CTC, some at a time as that is quicker."""

    network: SpeechNetwork
    decoder: alignment.Decoder

    def initial(self) -> Any:
        """The state before the first step."""
        assert self.network.tokens is not None
        return State(decoder=self.decoder.initial(), waiting=torch.zeros(0, self.network.tokens.out_features))

    @torch.inference_mode()
    def push(self, h: Tensor, state: Any) -> tuple[Any, bool]:
        """The state after some more steps ``(t, H)``, and whether anything was said in them."""
        log_probs = self.network.log_probs(h)
        spoke = int(log_probs.argmax()) != BLANK if len(h) == 1 else bool((log_probs.argmax(-1) != BLANK).any())
        return state._replace(waiting=torch.cat([state.waiting, log_probs])), spoke

    def settle(self, state: Any) -> Any:
        """The same state, with nothing left to be worked out."""
        if not len(state.waiting):
            return state
        return State(decoder=self.decoder.push(state.waiting, state.decoder), waiting=state.waiting[:0].clone())

    def partial(self, state: Any) -> Transcript:
        """The best transcript so far."""
        return self.decoder.partial(self.settle(state).decoder)

    def result(self, state: Any) -> Transcript:
        """The best transcript if nothing follows."""
        return self.decoder.result(self.settle(state).decoder)

    def forget(self, state: Any) -> Any:
        """A new beginning: CTC's steps do not depend on what was said."""
        return self.initial()


@dataclass(frozen=True)
class TransducerSteps:
    """Steps to a search of a transducer."""

    search: Search

    def initial(self) -> Any:
        """The state before the first step."""
        return self.search.initial()

    def push(self, h: Tensor, state: Any) -> tuple[Any, bool]:
        """The state after some more steps ``(t, H)``, and whether anything was said in them."""
        before, state = int(state.frame), self.search.push(h, state)
        heard = self.search.result(state)
        return state, bool(heard.frames) and heard.frames[-1] >= before

    def settle(self, state: Any) -> Any:
        """The same state, with nothing left to be worked out."""
        return state

    def partial(self, state: Any) -> Transcript:
        """The best transcript so far."""
        return self.result(state)

    def result(self, state: Any) -> Transcript:
        """The best transcript if nothing follows."""
        found = self.search.result(state)
        rows = zip(found.tokens, found.frames, found.confidences, strict=True)
        heard = tuple(alignment.Heard(token, at, at + 1, sure) for token, at, sure in rows)
        return Transcript(heard, 0.0 - found.nats, 0)

    def forget(self, state: Any) -> Any:
        """The state that goes on after the best transcript: what was written has a say in what comes next."""
        return self.search.forget(state)
