"""A recurrent network over text, such as a trained character model, as the language model of a search.

The network reads what the search writes, one step a token, all texts of the search together.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import tree
from recurra.errors import ConfigError
from recurra.heads.fusion import LanguageModel

__all__ = ["RecurrentModel"]

Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


class Read(NamedTuple):
    """What was read: log probabilities of the next token ``(V,)``, and the network's memory, one row of it."""

    log_probs: list[float]
    memory: Any


class Unread(NamedTuple):
    """A token that is not read yet after what was."""

    read: Read
    number: int


class RecurrentModel(LanguageModel[Read | Unread]):
    """The probability of text by a network that reads it step by step.

        log p(text) = sum over t of log p(token_t | token_0 .. token_{t-1})

        model = LanguageModel.load("runs/characters")              # of recurra.tasks
        RecurrentModel(model.ready().step, model.tokens.encode)

    step    tokens (N,) and a state, None at first -> logits (N, V), state: N rows side by side
    encode  the numbers of a text's tokens
    begin   what stands before every text
    end     what stands after it

    Raises ConfigError if begin or end have no token.
    """

    def __init__(self, step: Step, encode: Callable[[str], list[int]], begin: str = "\n", end: str = "\n") -> None:
        self.step, self.encode = step, encode
        self.begin, self.end = self._numbers("begin", begin), self._numbers("end", end)

    def _numbers(self, name: str, text: str) -> list[int]:
        numbers = self.encode(text)
        if not numbers:
            raise ConfigError(f"RecurrentModel: expected {name} to be at least one token, got {text!r}")
        return numbers

    def initial(self) -> Read:
        memory = None
        for number in self.begin:
            logits, memory = self._step([number], memory)
        return Read(_log_probs(logits)[0], memory)

    @torch.no_grad()
    def _step(self, numbers: list[int], memory: Any) -> tuple[Tensor, Any]:
        return self.step(torch.tensor(numbers), memory)

    def score(self, state: Read | Unread, text: str) -> tuple[float, Read | Unread]:
        return self._read(state, self.encode(text))

    def finish(self, state: Read | Unread) -> float:
        return self._read(state, self.end)[0]

    def _read(self, state: Read | Unread, numbers: list[int]) -> tuple[float, Read | Unread]:
        """The nats of these tokens. The last one is read when the search asks for it."""
        nats = 0.0
        for number in numbers:
            (read,) = self.ready([state])
            nats += read.log_probs[number]
            state = Unread(read, number)
        return nats, state

    def ready(self, states: Sequence[Read | Unread]) -> list[Any]:
        """Read what is not read: one step for all of them."""
        waiting = [state for state in states if isinstance(state, Unread)]
        if not waiting:
            return list(states)
        memory = side_by_side([state.read.memory for state in waiting])
        logits, memory = self._step([state.number for state in waiting], memory)
        fresh = zip(_log_probs(logits), one_by_one(memory, len(waiting)), strict=True)
        return [Read(*next(fresh)) if isinstance(state, Unread) else state for state in states]

    def pack(self, states: Sequence[Any]) -> Any:
        log_probs = torch.tensor([state.log_probs for state in states], dtype=torch.float64)
        return log_probs, side_by_side([state.memory for state in states])

    def unpack(self, packed: Any) -> list[Any]:
        log_probs, memory = packed
        rows = zip(log_probs.tolist(), one_by_one(memory, len(log_probs)), strict=True)
        return [Read(*row) for row in rows]


def _log_probs(logits: Tensor) -> list[list[float]]:
    return logits.double().log_softmax(-1).tolist()


def side_by_side(memories: Sequence[Any]) -> Any:
    """Memories of one row each as one of many rows."""
    return tree.map(lambda *leaves: torch.cat(leaves), *memories)


def one_by_one(memory: Any, rows: int) -> list[Any]:
    """The inverse of `side_by_side`."""
    return [tree.rows(memory, slice(row, row + 1)) for row in range(rows)]
