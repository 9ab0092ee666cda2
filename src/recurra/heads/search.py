"""Choosing the next token: sampling, and beam search over any state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.errors import ConfigError

__all__ = ["Sampling", "beam_search"]

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]  # tokens (B,), state -> logits (B, V), state


@dataclass(frozen=True)
class Sampling:
    """How to draw a token from logits ``(B, V)``.

        p = softmax(logits / temperature), cut to the top_k likeliest tokens, and of these to the smallest set that
        holds the share top_p of the probability (Holtzman et al. 2020)

    temperature 0 takes the likeliest token; top_k 0 and top_p 1 cut nothing.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ConfigError(f"temperature: expected 0 or more, got {self.temperature}")
        if self.top_k < 0:
            raise ConfigError(f"top_k: expected 0 (no limit) or more, got {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: expected 0 < top_p <= 1, got {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution ``(B, V)`` that `draw` draws from."""
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
        p = (logits.double() / self.temperature).softmax(-1)
        ranked, order = p.sort(dim=-1, descending=True, stable=True)
        before = ranked.cumsum(-1) - ranked
        cut = before >= self.top_p
        if self.top_k:
            cut[..., self.top_k :] = True
        cut[..., 0] = False
        p = torch.zeros_like(p).scatter(-1, order, ranked.masked_fill(cut, 0))
        return p / p.sum(-1, keepdim=True)

    def draw(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One token ``(B,)`` for each row of logits."""
        p = self.probabilities(logits)
        return torch.multinomial(p, 1, generator=generator)[:, 0]


@torch.no_grad()
def beam_search(step: Step, logits: Tensor, state: Any, length: int, beam: int) -> tuple[Tensor, Tensor]:
    """The likeliest continuations of ``length`` tokens among those that ``beam`` hypotheses reach.

    logits (1, V) and state (one row) after the prompt. Returns tokens ``(beam, length)``, best first, and their
    log probabilities ``(beam,)`` in nats. With a beam as wide as all prefixes the search is exact.
    """
    if beam < 1 or length < 1:
        raise ConfigError(f"beam search: expected beam >= 1 and length >= 1, got {beam} and {length}")
    scores, tokens = logits.new_zeros(1), torch.empty(1, 0, dtype=torch.long, device=logits.device)
    for place in range(length):
        kinds = logits.shape[-1]
        totals = (scores[:, None] + logits.log_softmax(-1)).flatten()
        scores, best = totals.topk(min(beam, len(totals)))
        parents, chosen = best // kinds, best % kinds
        tokens = torch.cat([tokens[parents], chosen[:, None]], 1)
        if place + 1 < length:
            logits, state = step(chosen, tree.rows(state, parents))
    return tokens, scores
