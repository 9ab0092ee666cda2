"""A classifier that answers while the sequence still comes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ClassifierStream"]


class ClassifierStream:
    """A reader with a memory of fixed size, which always has an answer for what it read so far.

        stream = classifier.stream()
        stream.push("not")              -> {"positive": 0.2, "negative": 0.8}

    state          the network's memory, with what the pooling keeps
    steps          how many tokens or frames it read
    probabilities  of all labels for what was read; empty before the first step
    """

    def __init__(
        self, network: nn.Module, pieces: Callable[[Any], Tensor], labels: list[str], temperature: float
    ) -> None:
        self.network, self.pieces, self.labels = network.eval(), pieces, labels
        self.temperature, self.state, self.steps = temperature, None, 0
        self.probabilities: dict[str, float] = {}

    @torch.no_grad()
    def push(self, raw: Any) -> dict[str, float]:
        """Read what comes next: a piece of text (one token or more), or one frame or more ``(F,)``, ``(T, F)``."""
        for piece in self.pieces(raw):
            logits, self.state = self.network.step(piece[None], self.state)  # type: ignore[operator]
            chances = (logits[0].float() / self.temperature).softmax(0).tolist()
            self.probabilities = dict(zip(self.labels, chances, strict=True))
            self.steps += 1
        return self.probabilities
