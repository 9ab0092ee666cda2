"""Choosing the next token: sampling, greedy search, and beam search over any state."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import tree
from recurra.errors import ConfigError

__all__ = ["BeamSearch", "Found", "Sampling", "beam_search", "coverage_penalty", "greedy_search"]

# tokens (N,), their states, and the sources: a row for each N / S neighbouring hypotheses -> logits (N, V), states
Step = Callable[[Tensor, Any, Any], tuple[Tensor, Any]]


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


class Found(NamedTuple):
    """A sequence that a search found.

    tokens  numbers, without the end
    score   what sequences are ranked by, higher is better
    nats    log probability, the end included
    ended   false if it was cut at the longest length
    """

    tokens: list[int]
    score: float
    nats: float
    ended: bool


@dataclass(frozen=True)
class BeamSearch:
    """The likeliest sequences among those that ``beam`` hypotheses reach, for many sources at once.

        score = log p(y_1 .. y_n) / ((5 + n) / 6) ** length_penalty + bonus          (Wu et al. 2016)

    n counts the end. A source is done when ``beam`` sequences have ended, or when no hypothesis can still come
    among the best ``n_best``; its rows then leave the batch. What is found for a source does not depend on the
    others. With a beam as wide as all prefixes the search is exact.

    end             number of the token that ends a sequence; None: all go on to the longest length
    n_best          how many sequences to give for each source
    length_penalty  0 ranks by probability, which favours short sequences; 1 is close to the mean over the tokens
    bonus           bonus(state, source) -> ``(N,)``, 0 or less, for hypotheses that end after this state
    """

    beam: int = 5
    end: int | None = None
    n_best: int = 1
    length_penalty: float = 0.0
    bonus: Callable[[Any, Any], Tensor] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.n_best <= self.beam:
            raise ConfigError(f"beam search: expected beam >= n_best >= 1, got {self.beam} and {self.n_best}")
        if not self.length_penalty >= 0:
            raise ConfigError(f"beam search: expected a length penalty of 0 or more, got {self.length_penalty}")

    @torch.no_grad()
    def __call__(self, step: Step, logits: Tensor, state: Any, source: Any, longest: Tensor) -> list[list[Found]]:
        """For each source the sequences found, best first.

        logits  (S, V) for the first tokens, with the ``state`` of S rows, and the ``source``, a row for each
        longest (S,)   tokens that a sequence may have, its end among them: at least 1

        Hypotheses of one source are neighbouring rows; ``step`` gets N = S' times k of them for the S' sources that
        are not done, and of those the rows of ``source``.
        """
        search = _Beams(self, longest.tolist())
        while search.open:
            parents, tokens, kept = search.advance(logits, state, source)
            if len(kept) < len(logits) // search.width:
                source = tree.rows(source, kept)
            search.width = tokens.shape[1]
            if search.open:
                logits, state = step(tokens.flatten(), tree.rows(state, parents), source)
        return search.best()


class _Beams:
    """A beam search under way: S sources that are not done, with k hypotheses for each."""

    def __init__(self, rules: BeamSearch, longest: list[int]) -> None:
        self.rules, self.longest = rules, longest
        self.open = list(range(len(longest)))  # the sources that are not done
        self.found: list[list[Found]] = [[] for _ in longest]
        self.width, self.place = 1, 0  # hypotheses for each source, tokens that they have
        self.scores: Any = None  # (S, k) nats
        self.history: Any = None  # (S, k, place)

    def advance(self, logits: Tensor, state: Any, source: Any) -> tuple[Tensor, Tensor, Tensor]:
        """One more token for each hypothesis: rows to go on from (S' * k'), their tokens (S', k'), sources kept."""
        scores, parents, tokens = self._candidates(logits)
        ends = tokens == (-1 if self.rules.end is None else self.rules.end)
        bonus = self.rules.bonus(state, source).view(-1, self.width) if self.rules.bonus else None
        fresh = ends[:, : self.rules.beam] & scores[:, : self.rules.beam].isfinite()
        self._finish(fresh, scores, parents, None, bonus)
        going = min(self.rules.beam, tokens.shape[1] - (self.width if self.rules.end is not None else 0))
        order = ends.int().argsort(dim=1, stable=True)[:, :going]  # those that go on, still best first
        scores, parents, tokens = (part.gather(1, order) for part in (scores, parents, tokens))
        self.place += 1
        last = torch.tensor([self.place >= self.longest[i] for i in self.open], device=logits.device)
        self._finish(scores.isfinite() & last[:, None], scores, parents, tokens, bonus)
        return self._go_on(scores, parents, tokens, last)

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of each source, best first ``(S, c)``: their nats, hypotheses and tokens.

        Of one hypothesis at most beam + 1 can matter: beam that go on, and the end.
        """
        logits, sources = logits.to(torch.promote_types(logits.dtype, torch.float32)), len(self.open)
        if self.scores is None:
            self.scores = logits.new_zeros(sources, 1)
            self.history = torch.empty(sources, 1, 0, dtype=torch.long, device=logits.device)
        top, numbers = logits.topk(min(self.rules.beam + 1, logits.shape[1]))
        nats = (top - logits.logsumexp(1, keepdim=True)).view(sources, self.width, -1)
        totals, each = (self.scores[:, :, None] + nats).flatten(1), top.shape[1]
        scores, best = totals.topk(min(2 * self.rules.beam, totals.shape[1]))
        return scores, best // each, numbers.view(sources, -1).gather(1, best)

    def _finish(
        self, fresh: Tensor, scores: Tensor, parents: Tensor, tokens: Tensor | None, bonus: Tensor | None
    ) -> None:
        """Note the candidates where ``fresh``: ended, or cut at the longest length with their last ``tokens``."""
        penalty = self._penalty(self.place + (1 if tokens is None else 0))
        for row, column in fresh.nonzero().tolist():
            parent = int(parents[row, column])
            last = [] if tokens is None else [int(tokens[row, column])]
            nats = float(scores[row, column])
            score = nats / penalty + (0.0 if bonus is None else float(bonus[row, parent]))
            numbers = self.history[row, parent].tolist() + last
            self.found[self.open[row]].append(Found(numbers, score, nats, tokens is None))

    def _penalty(self, length: int) -> float:
        return ((5 + length) / 6) ** self.rules.length_penalty

    def _go_on(
        self, scores: Tensor, parents: Tensor, tokens: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        done = last.tolist()
        if tokens.shape[1]:
            hopes = scores[:, 0].tolist()
            done = [over or self._settled(i, hope) for i, hope, over in zip(self.open, hopes, done, strict=True)]
        else:
            done = [True] * len(done)
        kept = torch.tensor([row for row, over in enumerate(done) if not over], dtype=torch.long)
        kept = kept.to(scores.device)
        self.open = [i for i, over in zip(self.open, done, strict=True) if not over]
        self.scores, parents, tokens = scores[kept], parents[kept], tokens[kept]
        history = self.history[kept].gather(1, parents[..., None].expand(-1, -1, self.history.shape[2]))
        self.history = torch.cat([history, tokens[..., None]], 2)
        return (kept[:, None] * self.width + parents).flatten(), tokens, kept

    def _settled(self, source: int, hope: float) -> bool:
        """Whether a source is done: enough has ended, or what goes on, at best ``hope`` nats, cannot come in."""
        found = self.found[source]
        if len(found) >= self.rules.beam or hope == -math.inf:
            return True
        if len(found) < self.rules.n_best:
            return False
        worst = sorted((one.score for one in found), reverse=True)[self.rules.n_best - 1]
        return worst >= hope / self._penalty(self.longest[source])

    def best(self) -> list[list[Found]]:
        """The sequences found, best first."""
        ranked = [sorted(found, key=lambda one: -one.score) for found in self.found]
        return [found[: self.rules.n_best] for found in ranked]


@torch.no_grad()
def greedy_search(step: Step, logits: Tensor, state: Any, source: Any, longest: Tensor, end: int) -> list[Found]:
    """For each source the sequence of the likeliest token, one after the other: what a beam of one finds, faster.

    The arguments are those of `BeamSearch`. Rows that have ended leave the batch.
    """
    found = [Found([], 0.0, 0.0, False) for _ in longest]
    rows, left = list(range(len(found))), longest.tolist()
    while rows:
        top, best = logits.max(-1)
        nats, tokens = (top - logits.logsumexp(-1)).tolist(), best.tolist()
        for i, token, more in zip(rows, tokens, nats, strict=True):
            before = found[i]
            written = before.tokens if token == end else [*before.tokens, token]
            found[i] = Found(written, before.score + more, before.nats + more, token == end)
        going = [k for k, i in enumerate(rows) if not found[i].ended and len(found[i].tokens) < left[i]]
        if 0 < len(going) < len(rows):
            kept = torch.tensor(going, device=logits.device)
            best, state, source = best[kept], tree.rows(state, kept), tree.rows(source, kept)
        rows = [rows[k] for k in going]
        if rows:
            logits, state = step(best, state, source)
    return found


def beam_search(
    step: Callable[[Tensor, Any], tuple[Tensor, Any]], logits: Tensor, state: Any, length: int, beam: int
) -> tuple[Tensor, Tensor]:
    """The likeliest continuations of ``length`` tokens of a text without an end.

    logits (1, V) and state (one row) after the prompt. Returns tokens ``(beam, length)``, best first, and their
    log probabilities ``(beam,)`` in nats; fewer if there are not so many.
    """
    if beam < 1 or length < 1:
        raise ConfigError(f"beam search: expected beam >= 1 and length >= 1, got {beam} and {length}")
    search = BeamSearch(beam, n_best=beam)
    (found,) = search(lambda tokens, s, _: step(tokens, s), logits, state, (), torch.tensor([length]))
    tokens = torch.tensor([one.tokens for one in found], device=logits.device)
    return tokens, torch.tensor([one.nats for one in found], dtype=logits.dtype, device=logits.device)


def coverage_penalty(weight: float, covered: Tensor, valid: Tensor) -> Tensor:
    """How much of each source was left unread ``(N,)``, 0 or less, to be a search's bonus (Wu et al. 2016).

        weight * sum over valid i of log(min(c_i, 1))

    covered  (N, S)  sums of the attention that each place was given
    valid    (B, S)  for the sources, of which each has N / B neighbouring rows
    """
    valid = valid.repeat_interleave(len(covered) // max(1, len(valid)), 0)
    return weight * covered.clamp(1e-6, 1).log().masked_fill(~valid, 0).sum(-1)
