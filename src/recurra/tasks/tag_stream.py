"""Tags as tokens come: what a causal tagger believes after each token, with a memory that can be saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import files, tree
from recurra.data.conll import Sentence
from recurra.data.spans import Scheme
from recurra.errors import DataError, StateError
from recurra.tasks.contextual import ContextualWords
from recurra.tasks.tag_network import TagNetwork
from recurra.tasks.tag_vocabulary import EDGE, TagBatch, TagRows, TagVocabulary, neighbours

__all__ = ["TagStream", "Tagged"]


class Tagged(NamedTuple):
    """A token, its likeliest tag given all tokens up to it, and the probability of each tag."""

    token: str
    tag: str
    confidence: float
    chances: dict[str, float]


class TagStream:
    """Tags of one sentence as its tokens come, in constant memory.

        stream = tagger.stream()
        for token in ("Angela", "Merkel", "visited"): print(stream.push(token).tag)

    The probabilities are filtered: p(tag_t | token_1 .. token_t), of all sequences of tags that can be. A later
    token does not change what was told. `restart` begins a new sentence; `save` and `load` carry the memory to
    another process.
    """

    def __init__(
        self,
        network: TagNetwork,
        vocabulary: TagVocabulary,
        scheme: Scheme,
        contextual: ContextualWords | None = None,
        bold: Callable[[Tensor], Tensor] = Tensor.clone,
    ) -> None:
        self.network, self.vocabulary, self.scheme = network.eval(), vocabulary, scheme
        self.contextual, self.names = contextual, vocabulary.tags(scheme)
        self.bold = bold  # what the tagger adds to the scores
        self.restart()

    def restart(self) -> None:
        """A new sentence begins: forget everything."""
        like = next(self.network.head.parameters())
        words = () if self.contextual is None else self.contextual.initial_state()
        self.state: Any = (
            self.network.initial_state(1),
            self.network.head.initial_state(1, like),
            words,
        )
        self.before, self.count = EDGE, 0

    @torch.no_grad()
    def push(self, token: str) -> Tagged:
        """Read the next token and tell its tag."""
        if not token.strip():
            raise DataError(f"push: expected a token, got {token!r}")
        layers, head, words = self.state
        batch = self._batch(token)
        if self.contextual is not None:
            states, words = self.contextual.step(token, words if self.count else None)
            batch = batch._replace(contextual=states[None, None])
        scores, layers = self.network.step(batch, layers)
        chances, head = self.network.head.step(self.bold(scores), head)
        self.state, self.before, self.count = (layers, head, words), token, self.count + 1
        best = int(chances[0].argmax())
        named = dict(zip(self.names, chances[0].tolist(), strict=True))
        return Tagged(token, self.names[best], float(chances[0, best]), named)

    def _batch(self, token: str) -> TagBatch:
        rows = TagRows([Sentence((token,), ("O",))], self.vocabulary, self.scheme)
        batch = rows.collate([rows[0]], torch.Generator())
        (pair,) = neighbours([self.before, token])[1:2] if self.count else neighbours([token])[:1]
        batch.pairs[:, 0] = self.vocabulary.numbers["pairs"].get(pair, 0)
        return batch

    def save(self, path: str | Path) -> None:
        """Write the memory to a safetensors file."""
        tensors = dict(zip(self._names(), tree.leaves(self.state), strict=True))
        before = torch.tensor([ord(character) for character in self.before], dtype=torch.long)
        files.write_tensors(Path(path), tensors | {"before": before, "count": torch.tensor(self.count)})

    def load(self, path: str | Path) -> None:
        """Go on from what `save` wrote. Raises RunError for a broken file, StateError for another network's."""
        found = files.read_tensors(Path(path))
        mine = dict(zip(self._names(), tree.leaves(self.state), strict=True))
        wrong = [name for name, value in mine.items() if name not in found or found[name].shape != value.shape]
        if wrong or not {"before", "count"} <= found.keys():
            raise StateError(f"{path} does not hold the memory of this network: {(wrong or ['count'])[0]} differs")
        self.state = tree.unflatten(self.state, [found[name] for name in mine])
        self.before, self.count = "".join(map(chr, found["before"].tolist())), int(found["count"])

    def _names(self) -> list[str]:
        return [f"state.{name}" for name in tree.names(self.state)]
