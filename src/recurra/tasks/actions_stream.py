"""A recognizer that watches: frames go in as they come, the current action comes out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.tasks.actions_answers import Seen, told
from recurra.tasks.actions_input import Input

__all__ = ["ActionStream", "Current", "Watch"]


class Current(NamedTuple):
    """What is being done.

    label          the likeliest action
    probability    of it
    probabilities  of all actions
    seconds        from the first frame to the end of this one
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    seconds: float


class Watch(NamedTuple):
    """How a stream looks.

    labels       in the order of the network's answers
    temperature  by which its logits are divided
    rate         frames a second
    window       frames after which there is an answer; 0: there is one window, which never ends
    step         frames from the beginning of a window to that of the next
    """

    labels: Sequence[str]
    temperature: float
    rate: float
    window: int
    step: int


class _Open(NamedTuple):
    """A window that is not yet full: where it began, and the network's memory of it."""

    begin: int
    state: Any
    chances: Tensor


class ActionStream:
    """A watcher with a memory of fixed size.

        stream = recognizer.stream()
        stream.push(frame)          -> Current(label="walk", probability=0.93, ...)

    Windows begin every ``step`` frames, as `predict` cuts a film; the answer is that of the oldest one that is not
    yet full, so it has seen between ``window - step`` and ``window`` frames, once there are so many. What it says
    of a window at its end is what the whole says of it. ``seen`` holds the windows that are full; clear it at will.
    """

    def __init__(self, network: nn.Module, reader: Input, watch: Watch) -> None:
        self.network, self.reader, self.watch = network.eval(), reader, watch
        self.reading, self.open, self.steps = reader.initial(), list[_Open](), 0
        self.seen: list[Seen] = []

    @torch.no_grad()
    def push(self, raw: Any) -> Current:
        """See the next frame, or several: ``(C, M, N)`` uint8, or joints ``(J, D)``; return the current action."""
        frames, self.reading = self.reader.push(raw, self.reading)
        for frame in frames:
            current = self._see(frame[None])
        return current

    def _see(self, frame: Tensor) -> Current:
        window, watch = self.watch.window, self.watch
        if not self.steps or (window and self.steps % watch.step == 0):
            self.open.append(_Open(self.steps, None, torch.empty(0)))
        self.open = [self._more(one, frame) for one in self.open]
        self.steps += 1
        oldest = self.open[0]
        if window and self.steps - oldest.begin == window:
            self.seen.append(Seen(oldest.begin, self.steps, oldest.chances))
            self.open = self.open[1:]
        best = int(oldest.chances.argmax())
        named = dict(zip(watch.labels, oldest.chances.tolist(), strict=True))
        return Current(watch.labels[best], float(oldest.chances[best]), named, self.steps / watch.rate)

    def _more(self, one: _Open, frame: Tensor) -> _Open:
        logits, state = self.network.step(frame, one.state)  # type: ignore[operator]
        return _Open(one.begin, state, (logits[0].float() / self.watch.temperature).softmax(0).cpu())

    def answer(self, name: str = "") -> dict[str, Any]:
        """What `predict` says of the frames so far."""
        rest = self.open[0] if self.open else None
        told_already = max((one.end for one in self.seen), default=0)
        last = [Seen(rest.begin, self.steps, rest.chances)] if rest and self.steps > told_already else []
        return told([*self.seen, *last], self.watch.labels, self.watch.rate, name)
