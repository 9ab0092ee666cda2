"""Networks that give a whole sequence one label: one network, or several that answer together."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.heads.pooling import Pooling
from recurra.layers import Recurrent

__all__ = ["ClassifierNetwork", "Committee", "make_network", "members_of", "together"]


class ClassifierNetwork(nn.Module):
    """Embedding, recurrent layers, pooling, and a linear layer.

    x (B, T) or (B, T, F), lengths (B,) -> logits (B, classes)
    """

    def __init__(self, embed: nn.Module, layers: Recurrent, pool: Pooling, classes: int, dropout: float) -> None:
        super().__init__()
        self.embed, self.layers, self.pool = embed, layers, pool
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(pool.output_size, classes)
        self.causal = layers.causal

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.read(self.embed(x), lengths)

    def read(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The logits from embedded inputs ``(B, T, F)``."""
        y, _ = self.layers(vectors, None, lengths)
        logits: Tensor = self.output(self.dropout(self.pool(y, lengths)))
        return logits

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One more step ``(B,)`` or ``(B, F)`` -> logits (B, classes) of all steps so far, state."""
        vector = self.embed(x)
        below, above = (None, self.pool.initial_state(len(x), vector)) if state is None else state
        y, below = self.layers.step(vector, below)
        pooled, above = self.pool.step(y, above)
        return self.output(pooled), (below, above)


class Committee(nn.Module):
    """Networks that learn side by side, each for itself, and answer together (Hansen and Salamon 1990).

        p(label | x) = mean over the members m of softmax(logits_m)

    x (B, T) or (B, T, F), lengths (B,) -> logits (M, B, classes) of the M members, which `together` joins. Their
    errors differ by their first weights and their dropout, so the mean is right more often than most of them.
    """

    def __init__(self, members: list[ClassifierNetwork]) -> None:
        super().__init__()
        self.all = nn.ModuleList(members)
        self.causal = all(member.causal for member in members)

    @property
    def members(self) -> list[ClassifierNetwork]:
        """The networks."""
        return list(self.all)  # type: ignore[arg-type]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return torch.stack([member(x, lengths) for member in self.members])

    def embed(self, x: Tensor) -> Tensor:
        """The embeddings of all members side by side ``(B, T, M F)``."""
        return torch.cat([member.embed(x) for member in self.members], -1)

    def read(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The joined logits ``(B, classes)`` from embedded inputs ``(B, T, M F)``."""
        parts = vectors.chunk(len(self.members), -1)
        read = [member.read(part, lengths) for member, part in zip(self.members, parts, strict=True)]
        return together(torch.stack(read))

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One more step ``(B,)`` or ``(B, F)`` -> joined logits (B, classes) of all steps so far, state."""
        states = (None,) * len(self.members) if state is None else state
        stepped = [member.step(x, branch) for member, branch in zip(self.members, states, strict=True)]
        return together(torch.stack([logits for logits, _ in stepped])), tuple(branch for _, branch in stepped)


def together(logits: Tensor) -> Tensor:
    """``(M, B, classes)`` -> log of the mean probabilities (B, classes); logits of one network as they are."""
    if logits.dim() == 2:
        return logits
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def members_of(network: nn.Module) -> list[ClassifierNetwork]:
    """The members of a committee, or the one network itself."""
    if isinstance(network, Committee):
        return network.members
    assert isinstance(network, ClassifierNetwork)
    return [network]


def make_network(members: int, make: Callable[[], ClassifierNetwork]) -> nn.Module:
    """One network, or a committee of so many."""
    return make() if members == 1 else Committee([make() for _ in range(members)])
