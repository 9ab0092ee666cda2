"""A translation as it is written: an iterator over pieces of text whose memory can be saved and resumed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra import files, tree
from recurra.errors import RunError, StateError
from recurra.tasks.translation_config import TranslationConfig
from recurra.tasks.translation_network import TranslationNetwork
from recurra.tasks.translation_search import longest_of, start
from recurra.tasks.translation_text import SentenceTokens, join_pieces, pieces_of

__all__ = ["TranslationStream"]

SAVED = ("text", "written", "done", "numbers", "looked", "place", "parts", "logits", "attention", "nats", "longest")
HALF = "\N{REPLACEMENT CHARACTER}"  # what a character that is not whole yet looks like


class TranslationStream(Iterator[str]):
    """The likeliest translation, token by token: what ``predict`` gives with ``search.beam`` = 1.

        for piece in model.stream("Where is the station?"): print(piece, end="", flush=True)

    text     the source; a text longer than ``data.longest`` tokens is translated in pieces, one after the other
    written  the translation so far
    nats     its log probability
    state    the decoder's memory
    `save` and `load` carry everything to another process, which goes on with the same words. A piece is empty while
    a character is not whole.
    """

    def __init__(
        self, network: TranslationNetwork, tokens: SentenceTokens, config: TranslationConfig, text: str
    ) -> None:
        self.network, self.tokens, self.config = network, tokens, config
        self.text, self.place = text, 0
        self.done: list[str] = []  # translations of the pieces before this one
        self.written, self.nats = "", 0.0
        self._begin()

    @property
    def pieces(self) -> list[str]:
        """The source in pieces that are translated one by one."""
        return pieces_of(self.text, self.tokens, self.config.data.longest)

    @torch.no_grad()
    def _begin(self) -> None:
        """Read the piece of the source whose turn it is."""
        self.numbers: list[int] = []
        self.looked: list[int] = []  # the source token that attention looked at most, for each written one
        numbers = self.tokens.encode(self.pieces[self.place])
        self.longest = longest_of(len(numbers), self.config.search) if numbers else 0
        self.step, self.logits, self.state, self.source = start(
            self.network, self.tokens, [numbers], self.config.search.copy
        )
        self.attention: Tensor = self.state.covered

    def __next__(self) -> str:
        """One more token's text."""
        if len(self.numbers) >= self.longest:
            return self._turn()
        best = int(self.logits.argmax())
        self.nats += float(self.logits[0].log_softmax(-1)[best])
        if best == self.tokens.end:
            return self._turn()
        self._write(best)
        return self._show(final=False)

    @torch.no_grad()
    def _write(self, number: int) -> None:
        self.numbers.append(number)
        self.looked.append(int(self.attention.argmax()))
        before = self.state.covered
        self.logits, self.state = self.step(torch.tensor([number]), self.state, self.source)
        self.attention = self.state.covered - before

    def _turn(self) -> str:
        """The end of a piece of the source: go on with the next one, or stop."""
        rest = self._show(final=True)
        if self.place + 1 < len(self.pieces):
            self.done.append(self._translated())
            self.place += 1
            self._begin()
            return rest
        self.longest = 0  # nothing is left but what was held back
        if rest:
            return rest
        raise StopIteration

    def _translated(self) -> str:
        source = self.pieces[self.place]
        if self.tokens.unknown in self.numbers:
            return self.tokens.decode_copied(self.numbers, self.looked, source)
        return self.tokens.decode(self.numbers)

    def _show(self, final: bool) -> str:
        """What is new in the translation so far. A space waits for the word after it."""
        whole = join_pieces([*self.done, self._translated()])
        if whole.endswith(HALF) and not final:
            return ""
        fresh, self.written = whole[len(self.written) :], whole
        return fresh

    def save(self, path: str | Path) -> None:
        """Write the source, what was written and the memory to a safetensors file."""
        text = {"text": self.text, "written": self.written, "done": "\0".join(self.done)}
        values = {name: torch.tensor(list(value.encode()), dtype=torch.uint8) for name, value in text.items()}
        numbers = {"numbers": self.numbers, "looked": self.looked, "place": [self.place], "parts": [len(self.done)]}
        values |= {name: torch.tensor(value, dtype=torch.long) for name, value in numbers.items()}
        values |= {"logits": self.logits, "attention": self.attention}
        values |= {"nats": torch.tensor(self.nats, dtype=torch.float64), "longest": torch.tensor(self.longest)}
        files.write_tensors(Path(path), values | self._memory(self.state))

    @staticmethod
    def _memory(state: Any) -> dict[str, Tensor]:
        names = [f"state.{name}" for name in tree.names(state)]
        return dict(zip(names, tree.leaves(state), strict=True))

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises RunError for a broken file, StateError for another network's."""
        found = files.read_tensors(Path(path))
        missing = [name for name in SAVED if name not in found]
        if missing:
            raise RunError(f"{path} does not hold a translation under way: {missing[0]} is missing")
        text = {name: bytes(found[name].tolist()).decode() for name in ("text", "written", "done")}
        self.text, self.place = text["text"], int(found["place"])
        self._begin()  # the source is read again: the same text gives the same memory
        mine = self._memory(self.state) | {"logits": self.logits, "attention": self.attention}
        wrong = [name for name, leaf in mine.items() if name not in found or found[name].shape != leaf.shape]
        if wrong:
            raise StateError(f"{path} does not hold the memory of this network: {wrong[0]} differs")
        self.written, self.done = text["written"], text["done"].split("\0") if int(found["parts"]) else []
        self.numbers, self.looked = found["numbers"].tolist(), found["looked"].tolist()
        self.state = tree.unflatten(self.state, [found[name] for name in self._memory(self.state)])
        self.logits, self.attention = found["logits"], found["attention"]
        self.nats, self.longest = float(found["nats"]), int(found["longest"])
