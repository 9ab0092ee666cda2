"""A keyword spotter that listens: samples go in by blocks of any size, alarms come out."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import tree
from recurra.data.features import Features
from recurra.errors import DataError
from recurra.tasks.keyword_network import KeywordNetwork, stacked

__all__ = ["Alarm", "KeywordStream", "Rule"]


class Alarm(NamedTuple):
    """A keyword was heard.

    at           seconds from the beginning of the sound to the step that noticed it
    probability  at that step
    """

    keyword: str
    at: float
    probability: float


class Rule(NamedTuple):
    """When there is an alarm.

    threshold  the probability from which on there is
    rest       steps below it before the same keyword can raise another, at least one
    """

    threshold: float
    rest: int


class KeywordStream:
    """A listener with a memory of fixed size.

        stream = spotter.stream()
        stream.push(samples)              -> [Alarm(keyword="seven", at=3.21, probability=0.93)], or []

    Blocks of any size give the same alarms. ``state`` is a value, tensors in named tuples: read it, save its
    `tree.leaves`, assign it, and another stream goes on where this one stood. ``probabilities (j, K)`` are those of
    the steps of the last push.
    """

    def __init__(
        self, network: KeywordNetwork, features: Features, stack: int, keywords: tuple[str, ...], rule: Rule
    ) -> None:
        self.layers, self.features, self.stack = network.eval().without_dropout(), features, stack
        self.keywords, self.rule = keywords, rule
        self.probabilities = torch.empty(0, len(keywords))
        last = torch.full((len(keywords),), -rule.rest - 1, dtype=torch.long)
        self.state = tree.State(
            features=features.initial(),
            frames=torch.empty(0, features.size),
            memory=self.layers.initial_state(1, next(network.parameters())),
            step=torch.zeros((), dtype=torch.long),
            last=last,  # the last step in which each keyword was there
        )

    def push(self, samples: Tensor) -> list[Alarm]:
        """Hear the next ``samples (n,)``, -1 to 1, at the spotter's rate; n may be 0."""
        if samples.dim() != 1 or not samples.is_floating_point():
            raise DataError(
                "push: expected samples as a tensor (n,) of real numbers, got "
                f"{samples.dtype} {tuple(samples.shape)}"
            )
        frames, heard = self.features.push(samples.float(), self.state.features)
        return self._hear(frames, heard)

    def finish(self) -> list[Alarm]:
        """What the end of the sound still tells: the last frame is complete only then."""
        return self._hear(self.features.finish(self.state.features), self.state.features)

    @torch.no_grad()
    def _hear(self, frames: Tensor, heard: Any) -> list[Alarm]:
        frames = torch.cat([self.state.frames, frames])
        x, found, memory = stacked(frames, self.stack), [], self.state.memory
        step, last, answers = int(self.state.step), self.state.last.tolist(), []
        for one in x:
            logits, memory = self.layers.step(one[None], memory)
            answers.append(logits[0].double().sigmoid())
            for number, p in enumerate(answers[-1].tolist()):
                if p >= self.rule.threshold:
                    if step - last[number] > self.rule.rest:
                        found.append(Alarm(self.keywords[number], self.seconds(step), p))
                    last[number] = step
            step += 1
        self.probabilities = torch.stack(answers) if answers else self.probabilities[:0]
        rest = frames[len(x) * self.stack :]
        self.state = tree.State(
            features=heard, frames=rest, memory=memory, step=torch.tensor(step), last=torch.tensor(last)
        )
        return found

    def seconds(self, step: int) -> float:
        """When a step has been heard."""
        return (step + 1) * self.stack * self.features.hop / self.features.rate
