"""The network of tagging: features of words, a stack of recurrent layers, a head over sequences of tags."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding, linear

from recurra import lengths as ragged
from recurra.heads.crf import CRF, allowed_for
from recurra.layers import LAYERS, Bidirectional, Recurrent, RecurrentDropout, Stack, VariationalDropout
from recurra.tasks.tag_config import TagNet
from recurra.tasks.tag_features import CharacterCNN, CharacterLSTM, LayerMix, Projection, table
from recurra.tasks.tag_vocabulary import TagBatch, TagVocabulary

__all__ = ["TagMember", "TagNetwork"]


class TagMember(nn.Module):
    """Features of tokens, recurrent layers, and scores of tags.

        x_t = [words(w), shapes(s), characters(c), pairs(w_{t-1} w_t), pairs(w_t w_{t+1}), project(language models)]
        y = layers(dropout(x))        scores_t = W y_t + b

    `TagBatch` -> scores (B, T, K) of the K tags of each token. A feature of size 0 is left out; the pair with the
    next token too, where the network is causal.

    contextual  layers and size of the states of the language models
    """

    def __init__(self, config: TagNet, vocabulary: TagVocabulary, contextual: tuple[int, int]) -> None:
        super().__init__()
        self.causal = not config.bidirectional
        self.words = table(len(vocabulary.words), config.words) if config.words else None
        self.shapes = table(len(vocabulary.shapes), config.shapes) if config.shapes else None
        self.pairs = table(len(vocabulary.pairs), config.pairs) if config.pairs else None
        make: Any = {"cnn": CharacterCNN, "lstm": CharacterLSTM, "none": None}[config.characters]
        kinds = len(vocabulary.characters)
        self.characters = make(kinds, config.character_size, config.character_features) if make else None
        self.mix = LayerMix(contextual[0]) if config.language_layers == "mix" and contextual[0] else None
        self.projection = Projection(contextual[1], config.projection) if config.projection else None
        size = config.words + config.shapes + (self.characters.output_size if self.characters else 0)
        size += config.pairs * (1 if self.causal else 2) + (config.projection or contextual[1])
        self.layers = _stack(config, size)
        (width,) = self.layers.output_shape or (config.hidden,)
        self.output = nn.Linear(width, len(vocabulary.tags(config.scheme)))

    def forward(self, batch: TagBatch) -> Tensor:
        y, _ = self.layers(self.features(batch), lengths=batch.lengths)
        return self.output(y)

    def features(self, batch: TagBatch) -> Tensor:
        """x (B, T, F)."""
        found = [own(n) for own, n in ((self.words, batch.words), (self.shapes, batch.shapes)) if own]
        if self.characters is not None:
            found.append(self.characters(batch.characters, batch.spelled))
        parts = []
        if found:  # gathered as an embedding is, whose gradient is summed faster than that of an index
            parts.append(embedding(batch.place, torch.cat(found, 1)))
        if self.pairs is not None:
            pairs = self.pairs(batch.pairs)
            parts += [pairs[:, :-1]] if self.causal else [pairs[:, :-1], pairs[:, 1:]]
        if batch.contextual is not None:
            parts.append(self._contextual(batch.contextual.to(self.output.weight.dtype)))
        return torch.cat(parts, 2)

    def _contextual(self, states: Tensor) -> Tensor:
        mixed = states[:, :, -1] if self.mix is None else self.mix(states)
        return mixed if self.projection is None else self.projection(mixed)

    def step(self, batch: TagBatch, state: Any = None) -> tuple[Tensor, Any]:
        """One token of each row: a batch of T = 1 -> scores (B, K), the state of the layers."""
        y, state = self.layers.step(self.features(batch)[:, 0], state)
        return linear(y, self.output.weight, self.output.bias), state


class TagNetwork(nn.Module):
    """One member or several side by side, and a CRF (or a softmax) over the tags.

        training    nats = mean over the members m of -log p(tags | scores_m)
        answering   p(tags | scores),  scores = mean over m of scores_m

    `TagBatch` -> nats (B,). Members differ by their first weights and their dropout. They share the CRF, so that
    the mean of their scores makes the geometric mean of what they believe: a product of experts (Hinton 2002). With
    the head softmax the CRF has no weights: it only keeps decoding to sequences that can be.

    contextual  layers and size of the states of the language models
    language    the frozen networks of the language models, which are saved with this one
    """

    def __init__(
        self,
        config: TagNet,
        vocabulary: TagVocabulary,
        contextual: tuple[int, int] = (0, 0),
        language: list[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.language = nn.ModuleList(language or []).requires_grad_(False)
        self.all = nn.ModuleList(TagMember(config, vocabulary, contextual) for _ in range(config.members))
        tags = vocabulary.tags(config.scheme)
        self.head = CRF(len(tags), allowed_for(tags, config.scheme))
        if config.head == "softmax":
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter.requires_grad_(False))

    @property
    def members(self) -> list[TagMember]:
        """The networks under the head."""
        return list(self.all)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> "TagNetwork":
        """The language models stay as they are used: without dropout."""
        super().train(mode)
        self.language.train(False)
        return self

    def forward(self, batch: TagBatch) -> Tensor:
        return _mean([self.nats(member(batch), batch) for member in self.members])

    def nats(self, scores: Tensor, batch: TagBatch) -> Tensor:
        """-log p(tags | scores) of each sentence (B,)."""
        if self.config.head == "crf":
            return self.head(scores, batch.tags, batch.lengths)
        nats = cross_entropy(scores.flatten(0, 1).float(), batch.tags.flatten(), reduction="none")
        return ragged.blank(nats.view(batch.tags.shape), batch.lengths.cpu()).sum(1)

    def scores(self, batch: TagBatch) -> Tensor:
        """The scores (B, T, K) of the tags of each token, joined over the members."""
        return _mean([member(batch) for member in self.members])

    def initial_state(self, batch: int) -> Any:
        """The memory of the layers of all members before the first token."""
        return tuple(member.layers.initial_state(batch, member.output.weight) for member in self.members)

    def step(self, batch: TagBatch, state: Any = None) -> tuple[Tensor, Any]:
        """One token of each row: a batch of T = 1 -> joined scores (B, K), the state of the layers."""
        states = self.initial_state(len(batch.lengths)) if state is None else state
        stepped = [member.step(batch, own) for member, own in zip(self.members, states, strict=True)]
        return _mean([scores for scores, _ in stepped]), tuple(own for _, own in stepped)


def _mean(values: list[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(values).mean(0)


def _stack(config: TagNet, size: int) -> Stack:
    layers: list[Recurrent] = [VariationalDropout(config.dropout)]
    for _ in range(config.depth):
        directions = [_direction(config, size) for _ in range(2 if config.bidirectional else 1)]
        layers.append(Bidirectional(directions[0], directions[1]) if config.bidirectional else directions[0])
        layers.append(VariationalDropout(config.dropout))
        size = config.hidden * len(directions)
    return Stack(*layers)


def _direction(config: TagNet, size: int) -> Recurrent:
    make: Any = LAYERS[config.layer]
    layer = make(size, config.hidden)
    return RecurrentDropout(layer, config.recurrent_dropout) if config.recurrent_dropout else layer
