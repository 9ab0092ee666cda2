"""Paths that are predicted while people walk: positions go in step by step, futures of everybody come out."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.errors import DataError

__all__ = ["PathStream", "Positions"]

Positions = Mapping[str, Sequence[float]]  # x and y by agent


class PathStream:
    """A watcher of one scene with a memory of fixed size: the last steps of those who are there.

        stream = predictor.stream()
        stream.push({"ann": (3.1, 4.0), "ben": (7.5, 2.2)})      -> the futures of both, as `predict` gives them

    Who is missing in a step has left; who comes again is somebody new. The observed steps are read anew at each
    push, seen from where each agent is now and where it looks: so a stream says what the whole would say.

    steps  how many it has seen
    """

    def __init__(self, answer: Callable[[tuple[str, ...], Tensor], dict[str, Any]], observed: int) -> None:
        self.answer, self.observed, self.steps = answer, observed, 0
        self.here: dict[str, deque[tuple[float, float]]] = {}

    def push(self, positions: Positions) -> dict[str, Any]:
        """See where everybody is at the next step; return what may come."""
        seen = {str(agent): _position(agent, at) for agent, at in positions.items()}
        self.here = {agent: self.here.get(agent, deque(maxlen=self.observed)) for agent in seen}
        for agent, at in seen.items():
            self.here[agent].append(at)
        self.steps += 1
        return self.answer(tuple(self.here), self.past())

    def past(self) -> Tensor:
        """``(N, P, 2)`` positions of those who are there, NaN before they came."""
        past = torch.full((len(self.here), self.observed, 2), torch.nan)
        for row, points in zip(past, self.here.values(), strict=True):
            row[self.observed - len(points) :] = torch.tensor(list(points))
        return past


def _position(agent: str, at: Any) -> tuple[float, float]:
    try:
        x, y = (float(value) for value in at)
    except (TypeError, ValueError) as error:
        raise DataError(f"push: expected x and y of agent {agent!r}, got {at!r}") from error
    if not (abs(x) < float("inf") and abs(y) < float("inf")):
        raise DataError(f"push: expected finite x and y of agent {agent!r}, got {at!r}; leave out who is not seen")
    return x, y
