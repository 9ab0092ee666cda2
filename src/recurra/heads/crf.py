"""A linear-chain conditional random field on top of a network: tags that know their neighbours.

Lafferty, McCallum and Pereira 2001; on a bidirectional LSTM Huang, Xu and Yu 2015, Lample et al. 2016.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra.errors import ConfigError, DataError, DtypeError, ShapeError
from recurra.heads.tag_schemes import Allowed, allowed_for
from recurra.kernels import dispatch
from recurra.kernels.crf import CRFCall, Posterior, likelihood, posterior
from recurra.kernels.crf_paths import best_path, top_paths
from recurra.tree import State

__all__ = ["CRF", "Allowed", "Span", "allowed_for"]

MOST = 1 << 22  # numbers that `span_probabilities` holds at a time


class Span(NamedTuple):
    """Steps ``begin .. begin + len(tags) - 1`` of a row, and what each of them is asked to be.

    A step's tag is one number, or a collection of numbers any of which will do: in BIO an entity has ended where
    the next tag may be any but I of its type.
    """

    row: int
    begin: int
    tags: Sequence[int | Collection[int]]


class CRF(nn.Module):
    """The probability of a sequence of tags as a whole, from a score for each tag at each step.

        score(y) = begins[y_0] + sum of s_t[y_t] + sum of transitions[y_{t-1}, y_t] + ends[y_{T-1}]
        p(y | s) = exp(score(y)) / Z        Z = the sum of exp(score) over all sequences of T tags

    The layer learns begins, transitions and ends, which are zero at first: no order of tags is likelier than
    another before the data says so. All methods take scores ``s (B, T, K)`` of a network, padded on the right, and
    lengths ``(B,)`` as every layer does, or None. Padding is never read. Half precision is computed in float32. A
    row of length 0 has one sequence of tags, the empty one, of probability 1.

    tags     K, how many there are
    allowed  what may begin, follow and end (see `allowed_for`); the rest has probability exactly 0. None allows all

    All methods raise ShapeError, DtypeError or LengthsError where the tensors do not fit.
    """

    begins: nn.Parameter
    transitions: nn.Parameter
    ends: nn.Parameter
    allowed_begins: Tensor
    allowed_transitions: Tensor
    allowed_ends: Tensor

    def __init__(self, tags: int, allowed: Allowed | None = None) -> None:
        super().__init__()
        if tags < 1:
            raise ConfigError(f"CRF: expected at least one tag, got {tags}")
        shapes = {"begins": (tags,), "transitions": (tags, tags), "ends": (tags,)}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))
            mask = torch.ones(shape, dtype=torch.bool) if allowed is None else getattr(allowed, name)
            if tuple(mask.shape) != shape or mask.dtype != torch.bool:
                raise ShapeError(
                    f"CRF: expected allowed.{name} as booleans {shape}, got {mask.dtype} {tuple(mask.shape)}"
                )
            self.register_buffer(f"allowed_{name}", mask.clone(), persistent=False)
        self.constrained = allowed is not None

    @property
    def tags(self) -> int:
        """K."""
        return len(self.allowed_begins)

    def forward(self, scores: Tensor, tags: Tensor, lengths: Tensor | list[int] | None = None) -> Tensor:
        """``-log p(tags)`` in nats ``(B,)``, what training makes small; its gradients are exact.

        tags  (B, T) of int64; what stands in the padding is not read

        Raises DataError, naming row and step, where tags hold a number that is no tag or a step that is forbidden.
        """
        call = replace(self._call(scores, lengths), tags=tags)
        nats = likelihood(call)
        if not torch.compiler.is_compiling() and bool((nats == inf).any()):
            raise self._refusal(call, int((nats == inf).nonzero()[0]))
        return nats

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Tensor | list[int] | None = None) -> tuple[Tensor, Tensor]:
        """The likeliest tags ``(B, T)``, -1 in the padding, and the log of their probability ``(B,)`` in nats.

        Where the scores allow no path at all, tags are -1 and the log probability is -inf.
        """
        call = self._call(scores, lengths)
        tags = best_path(call)
        return tags, -likelihood(replace(call, tags=tags))

    @torch.no_grad()
    def best(self, scores: Tensor, lengths: Tensor | list[int] | None, n: int) -> tuple[Tensor, Tensor]:
        """The n likeliest sequences ``(B, n, T)``, best first, and their log probabilities ``(B, n)`` in nats.

        Exact. Padding is -1; where there are fewer than n sequences, the rest are -1 with -inf.
        """
        if n < 1:
            raise ConfigError(f"CRF: expected n >= 1 paths, got {n}")
        call = self._call(scores, lengths)
        tags, below = top_paths(call, n)
        return tags, below - likelihood(replace(call, tags=tags[:, 0]))[:, None]

    @torch.no_grad()
    def marginals(self, scores: Tensor, lengths: Tensor | list[int] | None = None) -> Tensor:
        """``p(y_t = k)`` given the whole row ``(B, T, K)``, zero in the padding."""
        return posterior(self._call(scores, lengths)).marginals

    @torch.no_grad()
    def span_probabilities(
        self, scores: Tensor, lengths: Tensor | list[int] | None, spans: Sequence[Span]
    ) -> Tensor:
        """How probable it is that each span has the tags that it asks for ``(N,)``.

            p(y_b .. y_e) = p(y_b) p(y_{b+1} | y_b) .. p(y_e | y_{e-1})

        Exact, for given the scores the tags are a Markov chain; a product of marginals would not be. Raises
        DataError for a span that leaves its row.
        """
        call = self._call(scores, lengths)
        asked, sizes = _asked(spans, call)
        corners = [(span.row, span.begin, size) for span, size in zip(spans, sizes, strict=True)]
        places = torch.tensor(corners, dtype=torch.int64, device=scores.device).view(-1, 3)
        found = posterior(call)
        share = max(1, MOST // self.tags**2)
        pieces = zip(places.split(share), asked.split(share), strict=True)
        return torch.cat([_walk(call, found, *piece) for piece in pieces])

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        """The state before the first step of `step`, for ``batch`` rows."""
        begins = self._weights(torch.promote_types((self.begins if like is None else like).dtype, torch.float32))[1]
        return State(expected=begins.expand(batch, -1))

    def step(self, scores: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of a stream: scores ``(B, K)`` and the state before give p ``(B, K)`` and the state after.

            a_t[j] = expected_t[j] + s_t[j]          p = softmax(a_t)
            expected_{t+1}[k] = log of the sum over j of exp(a_t[j] + transitions[j, k])

        p is the tag of this step as the steps until now tell it: the last of `marginals` if the row ended here, but
        for `ends`. Later steps may tell more, which `decode` hears.
        """
        state = self.initial_state(len(scores), scores) if state is None else state
        transitions = self._weights(state.expected.dtype)[0]
        log_p = (state.expected + scores).log_softmax(-1)
        return log_p.exp(), State(expected=(log_p[:, :, None] + transitions).logsumexp(1))

    @torch.no_grad()
    def explain(self, scores: Tensor, lengths: Tensor | list[int] | None = None) -> str:
        """Run the likelihood, the best path and the posterior once: which variant ran, and why others refused."""
        call = self._call(scores, lengths)
        with dispatch.record() as log:
            tags = best_path(call)
            likelihood(replace(call, tags=tags))
            posterior(call)
        return "\n".join(str(decision) for decision in log)

    def extra_repr(self) -> str:
        return f"{self.tags}, constrained" if self.constrained else f"{self.tags}"

    def _call(self, scores: Tensor, lengths: Tensor | list[int] | None) -> CRFCall:
        if not isinstance(scores, Tensor) or not scores.is_floating_point():
            got = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
            raise DtypeError(f"CRF: expected scores as a tensor of real numbers, got {got}")
        if scores.dim() != 3 or scores.shape[2] != self.tags:
            raise ShapeError(f"CRF: expected scores of shape (B, T, {self.tags}), got {tuple(scores.shape)}")
        checked = None if lengths is None else ragged.check(lengths, *scores.shape[:2])
        exact = torch.promote_types(scores.dtype, torch.float32)
        return CRFCall(scores.to(exact), *self._weights(exact), checked)

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Transitions, begins and ends, -inf where they are forbidden."""
        names = ("transitions", "begins", "ends")
        weights = [getattr(self, name).to(dtype) for name in names]
        if self.constrained:
            masks = [getattr(self, f"allowed_{name}") for name in names]
            weights = [weight.masked_fill(~mask, -inf) for weight, mask in zip(weights, masks, strict=True)]
        return weights[0], weights[1], weights[2]

    def _refusal(self, call: CRFCall, row: int) -> DataError:
        """What is wrong with the tags of a row that cannot be."""
        assert call.tags is not None
        length = call.scores.shape[1] if call.lengths is None else int(call.lengths[row])
        tags = call.tags[row, :length].tolist()
        for t, tag in enumerate(tags):
            where = f"CRF: row {row}, step {t}: "
            if not 0 <= tag < self.tags:
                return DataError(f"{where}expected a tag of 0 to {self.tags - 1}, got {tag}")
            if t == 0 and call.begins[tag] == -inf:
                return DataError(f"{where}tag {tag} may not begin a row; mend the tags, or allow it")
            if t and call.transitions[tags[t - 1], tag] == -inf:
                return DataError(f"{where}tag {tag} may not follow tag {tags[t - 1]}; mend the tags, or allow it")
            if call.scores[row, t, tag] == -inf:
                return DataError(f"{where}tag {tag} is right, but its score is -inf")
            if t == length - 1 and call.ends[tag] == -inf:
                return DataError(f"{where}tag {tag} may not end a row; mend the tags, or allow it")
        return DataError(f"CRF: row {row}: its tags have probability 0: the scores are too far apart for {call}")


def _asked(spans: Sequence[Span], call: CRFCall) -> tuple[Tensor, list[int]]:
    """``(N, S, K)``: which tags each step of each span may have, and how many steps each span has."""
    kinds, sizes = call.scores.shape[2], [len(span.tags) for span in spans]
    asked = torch.zeros(len(spans), max(sizes, default=1), kinds, dtype=torch.bool)
    for i, span in enumerate(spans):
        _check_span(span, f"CRF: span {i}", call)
        for step, tag in enumerate(span.tags):
            wanted = [tag] if isinstance(tag, int) else list(tag)
            if not all(0 <= one < kinds for one in wanted):
                raise DataError(f"CRF: span {i} asks for tags {wanted}, expected 0 to {kinds - 1}")
            asked[i, step, wanted] = True
    return asked.to(call.scores.device), sizes


def _check_span(span: Span, name: str, call: CRFCall) -> None:
    """Raise DataError if a span does not lie in its row."""
    batch, time, _ = call.scores.shape
    if not 0 <= span.row < batch:
        raise DataError(f"{name} is in row {span.row}, but there are {batch} rows")
    length = time if call.lengths is None else int(call.lengths[span.row])
    end = span.begin + len(span.tags)
    if span.begin < 0 or not span.tags or end > length:
        raise DataError(f"{name} is steps {span.begin} to {end - 1} of row {span.row}, which has {length} steps")


def _walk(call: CRFCall, found: Posterior, places: Tensor, asked: Tensor) -> Tensor:
    """The probability of each span: tags that were not asked for drop out, step by step."""
    rows, begins, sizes = places.unbind(1)
    p = found.marginals[rows, begins] * asked[:, 0]
    for step in range(1, asked.shape[1]):
        inside = step < sizes
        place = torch.where(inside, begins + step, begins)
        following = call.scores[rows, place] + found.behind[rows, place]
        given = (call.transitions + following[:, None]).softmax(2).nan_to_num(0)  # NaN: a tag without a next one
        p = torch.where(inside[:, None], (p[:, :, None] * given).sum(1) * asked[:, step], p)
    return p.sum(1)
