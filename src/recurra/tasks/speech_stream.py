"""Live listening: blocks of samples in, what is being said out; with a memory that can be saved and moved."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import files, tree
from recurra.errors import StateError
from recurra.tasks.speech_listener import Listener, Said

__all__ = ["Latency", "SpeechStream"]


class Latency:
    """How long sound took to be understood: the compute time of pushes, by the seconds of sound they held."""

    def __init__(self) -> None:
        self.seconds = self.sound = 0.0
        self.blocks: list[tuple[float, float]] = []  # seconds of computing and of sound, of the last 1000 pushes

    def add(self, seconds: float, sound: float) -> None:
        """A push of so many seconds of sound took so long."""
        self.seconds, self.sound = self.seconds + seconds, self.sound + sound
        self.blocks = [*self.blocks[-999:], (seconds, sound)]

    @property
    def factor(self) -> float:
        """The real-time factor: seconds of computing a second of sound."""
        return self.seconds / max(1e-9, self.sound)

    def milliseconds(self, share: float = 0.5) -> float:
        """Of 100 ms of sound, so long that this share of the pushes took less."""
        each = sorted(100 * seconds / sound for seconds, sound in self.blocks if sound > 0)
        return each[min(len(each) - 1, int(share * len(each)))] if each else 0.0

    def __str__(self) -> str:
        half, most = (self.milliseconds(share) for share in (0.5, 0.95))
        return (
            f"100 ms of sound took {half:.2f} ms (19 of 20 times less than {most:.2f} ms), "
            f"real-time factor {self.factor:.4f}"
        )


class SpeechStream:
    """What is being said, as the sound comes, in constant memory between silences.

        stream = recognizer.stream()
        for block in blocks:                      # samples (n,), n of any size, float in [-1, 1] or int16
            for said in stream.push(block): print(said.final, said.text)
        stream.finish()                           # the sound ends: what is left becomes final

    `push` tells what became final in this block, then, if it changed, what is being said. The words and times that
    become final are those of `predict`, to the bit, however the sound is cut. ``state`` is a value: read it, assign
    it, `save` it to a file and `load` it in another process. ``latency`` tells how long pushes took.
    """

    def __init__(self, listener: Listener, latency: Latency | None = None) -> None:
        self.listener, self.latency = listener, latency or Latency()
        self.rate = listener.features.rate
        self.restart()

    def restart(self) -> None:
        """Forget everything: another recording begins."""
        self.state: Any = self.listener.initial()
        self._told: tuple[Any, ...] = ()

    def push(self, samples: Tensor) -> list[Said]:
        """Hear the next samples ``(n,)``."""
        samples = self.listener.check(samples)
        begin = time.perf_counter()
        said, self.state = self.listener.push(samples, self.state)
        self.latency.add(time.perf_counter() - begin, len(samples) / self.rate)
        return self._news(said)

    def finish(self) -> list[Said]:
        """The sound ends here: what is left becomes final, and the next sound begins anew."""
        begin = time.perf_counter()
        said = self.listener.finish(self.state)
        self.latency.add(time.perf_counter() - begin, 0.0)
        self.restart()
        return said

    def _news(self, said: list[Said]) -> list[Said]:
        """Without what was told before."""
        news = [one for one in said if one.final or one.words != self._told]
        if said:
            self._told = () if said[-1].final else said[-1].words
        return news

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file."""
        structure = json.dumps(tree.spec(self.state)).encode()
        tensors = {str(i): leaf for i, leaf in enumerate(tree.leaves(self.state))}
        files.write_tensors(Path(path), {"structure": torch.tensor(list(structure), dtype=torch.uint8)} | tensors)

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises RunError for a broken file, StateError for another network's."""
        found = files.read_tensors(Path(path))
        structure = found.pop("structure", torch.zeros(0))
        try:
            state = tree.build(json.loads(bytes(structure.tolist())), [found[str(i)] for i in range(len(found))])
            fits = (
                _shapes(state.layers) == _shapes(self.state.layers)
                and state.frames.shape[1:] == (self.state.frames.shape[1:])
            )
        except (ValueError, KeyError, AttributeError, StopIteration) as error:
            raise StateError(f"{path} does not hold the memory of a recognizer: {error!r}") from error
        if not fits:
            raise StateError(f"{path} holds the memory of another recognizer: its layers have other sizes")
        self.state, self._told = state, ()


def _shapes(state: Any) -> list[Any]:
    return [leaf.shape for leaf in tree.leaves(state)]
