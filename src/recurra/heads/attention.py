"""Attention: a decoder looks at all steps of a source, and takes most from those that fit what it is about to say.

    e_ti = score(q_t, k_i)          a_t = softmax over the valid i of e_t          c_t = sum over i of a_ti v_i

Additive scores are those of Bahdanau et al. (2015), multiplicative ones those of Luong et al. (2015); scaling is
that of Vaswani et al. (2017), coverage that of Tu et al. (2016) in the form of See et al. (2017).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra import lengths as ragged
from recurra.errors import ConfigError, ShapeError

__all__ = ["ATTENTIONS", "Additive", "Attended", "Attention", "Coverage", "Dot", "General", "Memory", "overlap"]


class Memory(NamedTuple):
    """What can be looked at, a row for each source: made once by `Attention.remember`, then read at every step.

    values  (B, S, M)  what is taken; zero past the end of each row
    keys    (B, S, A)  what queries are compared with
    valid   (B, S)     true where there is something
    """

    values: Tensor
    keys: Tensor
    valid: Tensor


class Attended(NamedTuple):
    """What was taken, and from where.

    context  (B, T, M)  for queries of all steps, or (B, M) for those of one step
    weights  (B, T, S)  or (B, S): each row sums to 1; all zero for a source of length 0
    """

    context: Tensor
    weights: Tensor


class Attention(nn.Module, ABC):
    """Attention over the valid steps of a memory. A subclass writes `keys` and `scores`.

    query_size   Q, features of a query
    memory_size  M, features of a step of the source
    """

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        for name, size in (("query_size", query_size), ("memory_size", memory_size)):
            if size < 1:
                raise ConfigError(f"{type(self).__name__}: expected {name} of at least 1, got {size}")
        self.query_size, self.memory_size = query_size, memory_size

    @property
    @abstractmethod
    def key_size(self) -> int:
        """A, features of a key."""

    @abstractmethod
    def keys(self, values: Tensor) -> Tensor:
        """``(B, S, M)`` -> ``(B, S, A)``: the part of the scores that no query changes."""

    @abstractmethod
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Queries ``(B, T, Q)`` and keys ``(B, S, A)`` -> ``(B, T, S)``."""

    def remember(self, values: Tensor, lengths: Tensor | None = None) -> Memory:
        """The memory of sources ``values (B, S, M)`` with ``lengths (B,)``; None means that all steps are valid."""
        if values.dim() != 3 or values.shape[2] != self.memory_size:
            raise ShapeError(
                f"{type(self).__name__}: expected values (B, S, {self.memory_size}), got {tuple(values.shape)}"
            )
        checked = None if lengths is None else ragged.check(lengths, len(values), values.shape[1])
        values = ragged.blank(values, checked)
        if checked is None:
            valid = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        else:
            valid = ragged.mask(checked, values.shape[1], values.device)
        return Memory(values, self.keys(values), valid)

    def forward(self, query: Tensor, memory: Memory, covered: Tensor | None = None) -> Attended:
        """Look for the queries ``(B, T, Q)`` of all steps at once.

        covered  (B, S)  what each place was given before the first of these steps; only `Coverage` reads it
        """
        self.check(query, memory, 3)
        return _take(self.scores(query, memory.keys), memory)

    def step(self, query: Tensor, memory: Memory, covered: Tensor | None = None) -> Attended:
        """Look for the queries ``(N, Q)`` of one step: N = B times k, with k neighbouring rows for each source."""
        self.check(query, memory, 2)
        context, weights = self(query.unflatten(0, (len(memory.values), -1)), memory)
        return Attended(context.flatten(0, 1), weights.flatten(0, 1))

    def check(self, query: Tensor, memory: Memory, axes: int) -> None:
        """Raise ShapeError if queries of so many ``axes`` do not fit the memory."""
        rows, sources = len(query), len(memory.values)
        fits = rows == sources if axes == 3 else sources and rows % sources == 0
        if query.dim() != axes or query.shape[-1] != self.query_size or not (fits or rows == sources):
            want = "B, T" if axes == 3 else "N"
            raise ShapeError(
                f"{type(self).__name__}: expected queries ({want}, {self.query_size}) for {sources} sources, got "
                f"{tuple(query.shape)}"
            )

    def extra_repr(self) -> str:
        return f"{self.query_size}, {self.memory_size}"


def _take(scores: Tensor, memory: Memory) -> Attended:
    """From scores ``(B, T, S)`` to weights over the valid places, and what they take."""
    valid = memory.valid[:, None]
    exact = torch.promote_types(scores.dtype, torch.float32)
    # The lowest number and not minus infinity: a source of length 0 then gives zeros, not NaN.
    weights = scores.to(exact).masked_fill(~valid, torch.finfo(exact).min).softmax(-1) * valid
    return Attended(weights.to(memory.values.dtype) @ memory.values, weights)


class Additive(Attention):
    """A small network compares query and place (Bahdanau et al. 2015).

    score(q, m) = v . tanh(W q + U m + b)                    key k = U m + b

    size  A, units of the comparison; None: as the query

    All steps at once need B x T x S x A numbers: of the kinds here it is the dearest.
    """

    def __init__(self, query_size: int, memory_size: int, size: int | None = None) -> None:
        super().__init__(query_size, memory_size)
        self.size = query_size if size is None else size
        self.W = nn.Linear(query_size, self.size, bias=False)
        self.U = nn.Linear(memory_size, self.size)
        self.v = nn.Parameter(torch.randn(self.size) * self.size**-0.5)

    @property
    def key_size(self) -> int:
        return self.size

    def keys(self, values: Tensor) -> Tensor:
        return self.U(values)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return linear((self.W(query)[:, :, None] + keys[:, None]).tanh(), self.v[None])[..., 0]


class Dot(Attention):
    """The product of query and place, which have the same size (Luong et al. 2015).

    score(q, m) = scale * q . m                              key k = scale * m

    scale  1 is the paper's; Q ** -0.5 (Vaswani et al. 2017) keeps the weights of a large Q from becoming all but 0
           and 1 early in training, where little can be learned of where to look
    """

    def __init__(self, query_size: int, memory_size: int, scale: float = 1.0) -> None:
        super().__init__(query_size, memory_size)
        if query_size != memory_size:
            raise ConfigError(
                f"Dot: expected query and memory of the same size, got {query_size} and {memory_size}; use General"
            )
        self.scale = scale

    @property
    def key_size(self) -> int:
        return self.query_size

    def keys(self, values: Tensor) -> Tensor:
        return values * self.scale

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return query.to(keys.dtype) @ keys.mT


class General(Attention):
    """The product of query and place with a matrix between them (Luong et al. 2015).

    score(q, m) = scale * q . W m                            key k = scale * W m

    scale  as of `Dot`
    """

    def __init__(self, query_size: int, memory_size: int, scale: float = 1.0) -> None:
        super().__init__(query_size, memory_size)
        self.W = nn.Linear(memory_size, query_size, bias=False)
        self.scale = scale

    @property
    def key_size(self) -> int:
        return self.query_size

    def keys(self, values: Tensor) -> Tensor:
        return self.W(values) * self.scale

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return query.to(keys.dtype) @ keys.mT


class Coverage(Attention):
    """Attention that knows where it has looked before (Tu et al. 2016, in the form of See et al. 2017).

        k'_ti = k_i + w c_ti          c_ti = sum over s < t of a_si

    attention  the kind that compares queries with the keys k'

    Each step needs the weights of the steps before, so all steps at once are a loop, if a short one.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention.query_size, attention.memory_size)
        self.attention = attention
        self.w = nn.Parameter(torch.zeros(attention.key_size))  # begins as the attention without coverage

    @property
    def key_size(self) -> int:
        return self.attention.key_size

    def keys(self, values: Tensor) -> Tensor:
        return self.attention.keys(values)

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.attention.scores(query, keys)

    def forward(self, query: Tensor, memory: Memory, covered: Tensor | None = None) -> Attended:
        self.check(query, memory, 3)
        covered = memory.valid.new_zeros(memory.valid.shape, dtype=self.w.dtype) if covered is None else covered
        steps = []
        for t in range(query.shape[1]):
            steps.append(self._look(query[:, t : t + 1], memory, covered))
            covered = covered + steps[-1].weights[:, 0]
        if not steps:
            return _take(self.scores(query, memory.keys), memory)
        return Attended(*(torch.cat(parts, 1) for parts in zip(*steps, strict=True)))

    def step(self, query: Tensor, memory: Memory, covered: Tensor | None = None) -> Attended:
        self.check(query, memory, 2)
        each = len(query) // max(1, len(memory.values))
        own = Memory(*(part.repeat_interleave(each, 0) for part in memory)) if each > 1 else memory
        covered = own.valid.new_zeros(own.valid.shape, dtype=self.w.dtype) if covered is None else covered
        context, weights = self._look(query[:, None], own, covered)
        return Attended(context[:, 0], weights[:, 0])

    def _look(self, query: Tensor, memory: Memory, covered: Tensor) -> Attended:
        keys = memory.keys + covered[..., None].to(memory.keys.dtype) * self.w.to(memory.keys.dtype)
        return _take(self.scores(query, keys), memory)


def overlap(weights: Tensor) -> Tensor:
    """How much each step ``(B, T)`` looks again at what the steps before saw, 0 to 1: the coverage loss.

    sum over i of min(a_ti, c_ti)          c_ti = sum over s < t of a_si          (See et al. 2017)
    """
    return torch.minimum(weights, weights.cumsum(1) - weights).sum(-1)


def scaled_dot(query_size: int, memory_size: int) -> Attention:
    """`Dot` divided by the root of the size."""
    return Dot(query_size, memory_size, query_size**-0.5)


def scaled_general(query_size: int, memory_size: int) -> Attention:
    """`General` divided by the root of the size."""
    return General(query_size, memory_size, query_size**-0.5)


# Every kind that takes (query_size, memory_size), by the name that recipes use.
ATTENTIONS: dict[str, Callable[[int, int], Attention]] = {
    "additive": Additive,
    "dot": Dot,
    "general": General,
    "scaled_dot": scaled_dot,
    "scaled_general": scaled_general,
}
