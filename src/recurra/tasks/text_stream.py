"""Text as it is written: an iterator over tokens whose memory can be saved and resumed."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurra import files, tree
from recurra.data.text import Tokens
from recurra.errors import StateError
from recurra.heads.search import Sampling

__all__ = ["TextStream"]


class TextStream(Iterator[str]):
    """Pieces of text from a language model, for ever, in constant memory.

        for piece in model.stream("ROMEO:"): print(piece, end="")

    state    the network's memory after all that was read and written
    logits   (1, kinds): what the network expects next
    `push` reads text without writing any; `save` and `load` carry memory and random numbers to another process,
    which goes on with the very text that this one would have written.
    """

    def __init__(self, network: nn.Module, tokens: Tokens, prompt: str, sampling: Sampling, seed: int) -> None:
        self.network, self.tokens, self.sampling = network.eval(), tokens, sampling
        self.generator = torch.Generator().manual_seed(seed)
        self.state: Any = None
        self.pending: list[int] = []  # tokens that are only part of a character
        self.push(prompt or "\n")

    @torch.no_grad()
    def push(self, text: str) -> None:
        """Read text: the memory moves on by all its tokens at once."""
        numbers = self.tokens.encode(text)
        if numbers:
            logits, self.state = self.network(torch.tensor([numbers]), self.state)
            self.logits: Tensor = logits[:, -1].float()

    @torch.no_grad()
    def __next__(self) -> str:
        """Write one more piece of text; empty while a character is incomplete."""
        number = self.sampling.draw(self.tokens.known(self.logits), self.generator)
        self.pending.append(int(number))
        logits, self.state = self.network.step(number, self.state)  # type: ignore[operator]
        self.logits = logits.float()
        piece = self.tokens.decode(self.pending)
        if piece.endswith("\N{REPLACEMENT CHARACTER}") and len(self.pending) < 4:
            return ""
        self.pending = []
        return piece

    @torch.no_grad()
    def step(self, numbers: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step of the network for beam search: tokens (B,) and their states -> logits (B, kinds), states."""
        logits, state = self.network.step(numbers, state)  # type: ignore[operator]
        return self.tokens.known(logits.float()), state

    def take(self, count: int) -> Iterator[str]:
        """The pieces of the next ``count`` tokens."""
        return islice(self, count)

    def save(self, path: str | Path) -> None:
        """Write memory, expectation and random numbers to a safetensors file."""
        names = [f"state.{name}" for name in tree.names(self.state)]
        tensors = dict(zip(names, tree.leaves(self.state), strict=True))
        pending = torch.tensor(self.pending, dtype=torch.long)
        extra = {"logits": self.logits, "pending": pending, "random": self.generator.get_state()}
        files.write_tensors(Path(path), tensors | extra)

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises RunError for a broken file, StateError for another network's."""
        found = files.read_tensors(Path(path))
        names = [f"state.{name}" for name in tree.names(self.state)]
        mine = dict(zip(names, tree.leaves(self.state), strict=True)) | {"logits": self.logits}
        wrong = [name for name, value in mine.items() if name not in found or found[name].shape != value.shape]
        if wrong or not {"pending", "random"} <= found.keys():
            raise StateError(f"{path} does not hold the memory of this network: {(wrong or ['random'])[0]} differs")
        self.state = tree.unflatten(self.state, [found[name] for name in names])
        self.logits, self.pending = found["logits"], found["pending"].tolist()
        self.generator.set_state(found["random"])
