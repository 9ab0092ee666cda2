"""Pooling: one vector for a whole sequence, from the outputs of a recurrent network at all its valid steps.

Each way to pool also goes step by step, in constant memory: what it says of the steps so far is what it would say
of a sequence that ends there. So a causal classifier can answer after every token.
"""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.config import suggest
from recurra.errors import ConfigError, ShapeError

__all__ = [
    "POOLINGS",
    "AttentivePooling",
    "Concatenation",
    "LastPooling",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "pooling",
]


class Pooling(nn.Module, ABC):
    """y (B, T, size), lengths (B,) -> (B, output_size)

    Only valid steps count; what stands in the padding, NaN too, is not read. A row of length 0 gives zeros.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.output_size = size, size

    def forward(self, y: Tensor, lengths: Tensor | list[int] | None = None) -> Tensor:
        """Pool whole sequences. Raises ShapeError or LengthsError if they do not fit."""
        if y.dim() != 3 or y.shape[2] != self.size:
            raise ShapeError(
                f"{type(self).__name__}: expected y of shape (B, T, {self.size}), got {tuple(y.shape)}"
            )
        given = [y.shape[1]] * len(y) if lengths is None else lengths
        checked = ragged.check(given, len(y), y.shape[1]).to(y.device)
        if not y.shape[1]:
            return y.new_zeros(len(y), self.output_size)
        return self.pool(y, checked)

    @abstractmethod
    def pool(self, y: Tensor, lengths: Tensor) -> Tensor:
        """`forward` after its checks: T is at least 1, lengths are on the device of y."""

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor) -> Any:
        """What is known before the first step."""

    @abstractmethod
    def step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One more step ``y (B, size)`` -> what `forward` gives for all steps so far, state."""

    def extra_repr(self) -> str:
        return f"{self.size} -> {self.output_size}"


class LastPooling(Pooling):
    """The output at the last step, where a network that reads ahead has read everything.

        s = [y_T[: size - back], y_1[size - back :]]

    back  so many features, the last ones, come from a network that reads backwards (as `Bidirectional` concatenates
          them): they have read everything at the first step
    """

    def __init__(self, size: int, back: int = 0) -> None:
        super().__init__(size)
        self.back = back

    def pool(self, y: Tensor, lengths: Tensor) -> Tensor:
        ahead = self.size - self.back
        zeros = y.new_zeros(len(y), self.size)
        last = ragged.last(y[..., :ahead], lengths, zeros[:, :ahead])
        if not self.back:
            return last
        return torch.cat([last, y[:, 0, ahead:].masked_fill((lengths == 0)[:, None], 0)], 1)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return ()

    def step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        return y, state


class MaxPooling(Pooling):
    """The highest value of each feature: s = max over t of y_t (Collobert and Weston 2008)."""

    def pool(self, y: Tensor, lengths: Tensor) -> Tensor:
        padding = ~ragged.mask(lengths, y.shape[1], y.device)[..., None]
        highest = y.masked_fill(padding, -torch.inf).amax(1)
        return highest.masked_fill((lengths == 0)[:, None], 0)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return tree.State(highest=like.new_full((batch, self.size), -torch.inf))

    def step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        highest = torch.maximum(state.highest, y)
        return highest, tree.State(highest=highest)


class MeanPooling(Pooling):
    """The mean of each feature: s = sum over t of y_t / T."""

    def pool(self, y: Tensor, lengths: Tensor) -> Tensor:
        return ragged.blank(y, lengths).sum(1) / lengths.clamp(min=1)[:, None]

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return tree.State(total=like.new_zeros(batch, self.size), steps=like.new_zeros(batch))

    def step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        total, steps = state.total + y, state.steps + 1
        return total / steps[:, None], tree.State(total=total, steps=steps)


class AttentivePooling(Pooling):
    """A weighted mean whose weights the network learns: attention with a query of its own.

        u_t = tanh(W y_t + b)                     W (units, size)
        a_t = softmax over t of V u_t             V (hops, units)
        s   = [sum over t of a_tk y_t for k = 1 .. hops]

    With one hop it is the word attention of Yang et al. 2016; with more it is the self-attentive embedding of Lin
    et al. 2017, with the bias b of the former and without the latter's penalty for hops that look alike.

    units  of the hidden vector u; 0: as size
    """

    def __init__(self, size: int, units: int = 0, hops: int = 1) -> None:
        super().__init__(size)
        self.output_size = hops * size
        self.hidden = nn.Linear(size, units or size)
        self.query = nn.Linear(units or size, hops, bias=False)

    def weights(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The weights ``(B, T, hops)`` of the steps, zero in the padding; they add up to 1 over the steps."""
        y = ragged.blank(y, lengths)
        valid = ragged.mask(lengths, y.shape[1], y.device)[..., None]
        scores = self._scores(y).masked_fill(~valid, torch.finfo(torch.float32).min)
        return scores.softmax(1) * valid

    def _scores(self, y: Tensor) -> Tensor:
        scores: Tensor = self.query(torch.tanh(self.hidden(y)))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def pool(self, y: Tensor, lengths: Tensor) -> Tensor:
        weights = self.weights(y, lengths).to(y.dtype)
        return torch.einsum("bth,btf->bhf", weights, ragged.blank(y, lengths)).flatten(1)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        hops = self.query.out_features
        return tree.State(
            highest=like.new_full((batch, hops), -torch.inf),
            total=like.new_zeros(batch, hops, self.size),
            weight=like.new_zeros(batch, hops),
        )

    def step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The softmax over all steps so far, kept relative to the highest score, so that nothing overflows."""
        score = self._scores(y)
        highest = torch.maximum(state.highest, score)
        old, new = (state.highest - highest).exp(), (score - highest).exp()
        total = state.total * old[..., None] + new[..., None] * y[:, None]
        weight = state.weight * old + new
        return (total / weight[..., None]).flatten(1), tree.State(highest=highest, total=total, weight=weight)


class Concatenation(Pooling):
    """Several poolings side by side, such as the last, highest and mean output of Howard and Ruder 2018.

    s = [pooling_1(y), pooling_2(y), ...]
    """

    def __init__(self, *parts: Pooling) -> None:
        if len({part.size for part in parts}) != 1:
            raise ShapeError(f"Concatenation: expected poolings of one size, got {[part.size for part in parts]}")
        super().__init__(parts[0].size)
        self.parts = nn.ModuleList(parts)
        self.output_size = sum(part.output_size for part in parts)

    def pool(self, y: Tensor, lengths: Tensor) -> Tensor:
        return torch.cat([part.pool(y, lengths) for part in self._each()], 1)

    def _each(self) -> list[Any]:
        return list(self.parts)

    def initial_state(self, batch: int, like: Tensor) -> Any:
        return tuple(part.initial_state(batch, like) for part in self._each())

    def step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        found = [part.step(y, branch) for part, branch in zip(self._each(), state, strict=True)]
        return torch.cat([pooled for pooled, _ in found], 1), tuple(after for _, after in found)


POOLINGS: dict[str, type[Pooling]] = {
    "last": LastPooling,
    "max": MaxPooling,
    "mean": MeanPooling,
    "attentive": AttentivePooling,
}


def pooling(name: str, size: int, back: int = 0) -> Pooling:
    """A pooling by name, or several joined by "+" such as ``max+mean``; ``back`` is for `LastPooling`.

    Raises ConfigError for an unknown name, or one that comes twice.
    """
    names = [part.strip() for part in name.split("+")]
    for part in names:
        if part not in POOLINGS:
            raise ConfigError(f"pooling: unknown {part!r} in {name!r}{suggest(part, list(POOLINGS))}")
    if any(a == b for a, b in pairwise(sorted(names))):
        raise ConfigError(f"pooling: expected different ones joined by '+', got {name!r}")
    parts = [LastPooling(size, back) if part == "last" else POOLINGS[part](size) for part in names]
    return parts[0] if len(parts) == 1 else Concatenation(*parts)
