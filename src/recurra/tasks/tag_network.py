"""The network of tagging: features of words, a stack of recurrent layers, a head over sequences of tags."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding, linear, pad

from recurra import lengths as ragged
from recurra.heads.crf import CRF, allowed_for
from recurra.layers import (
    LAYERS,
    LSTM,
    Bidirectional,
    Recurrent,
    RecurrentDropout,
    Stack,
    VariationalDropout,
)
from recurra.tasks.tag_config import TagNet
from recurra.tasks.tag_vocabulary import TagBatch, TagVocabulary

__all__ = ["CharacterCNN", "CharacterLSTM", "LayerMix", "Projection", "TagNetwork"]


class CharacterCNN(nn.Module):
    """A word by its trigrams of characters: a convolution and its largest values (Ma and Hovy 2016).

        y_f = max over i of tanh(W_f [e(c_{i-1}), e(c_i), e(c_{i+1})] + b_f)

    characters (U, C), lengths (U,) -> (U, features)
    """

    def __init__(self, kinds: int, size: int, features: int) -> None:
        super().__init__()
        self.embedding = table(kinds, size)
        self.filters = nn.Linear(3 * size, features)
        self.output_size = features

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        longest = characters.shape[1]
        if not longest:
            return self.filters.weight.new_zeros(len(characters), self.output_size)
        # Only characters that are there, one product over all windows: on processors far faster than a convolution.
        e, ends = self.embedding(characters[ragged.mask(lengths, longest, characters.device)]), lengths.cumsum(0)
        y = pad(self.filters(_windows(e, ends, lengths)), (0, 0, 0, 1), value=-torch.inf)
        steps = torch.arange(longest, device=characters.device)
        place = (ends - lengths)[:, None] + torch.minimum(
            steps, lengths[:, None] - 1
        )  # past the end its last again
        return embedding(place.where(lengths[:, None] > 0, len(e)), y).amax(1).tanh()


def _windows(e: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
    """Each character with its neighbours in the word, words one after another: e (N, E) -> (N, 3 E)."""
    here, none = torch.arange(len(e), device=e.device), len(e)
    there = lengths > 0
    left = (here - 1).index_fill(0, (ends - lengths)[there], none)
    right = (here + 1).index_fill(0, ends[there] - 1, none)
    return embedding(torch.stack([left, here, right], 1), pad(e, (0, 0, 0, 1))).flatten(1)


class CharacterLSTM(nn.Module):
    """A word by what two LSTMs know after reading it, one from each end (Lample et al. 2016).

    y = [h_C of the one ahead, h_1 of the one back]

    characters (U, C), lengths (U,) -> (U, 2 * features)
    """

    def __init__(self, kinds: int, size: int, features: int) -> None:
        super().__init__()
        self.embedding = table(kinds, size)
        self.layer = Bidirectional(LSTM(size, features), LSTM(size, features))
        self.output_size = 2 * features

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        _, (ahead, back) = self.layer(self.embedding(characters), lengths=lengths)
        return torch.cat([ahead.h, back.h], 1)


class LayerMix(nn.Module):
    """The layers of a language model, mixed as the task likes (ELMo; Peters et al. 2018).

    y = g * sum over l of softmax(w)_l x_l               x (B, T, L, D) -> y (B, T, D)
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * torch.einsum("btld,l->btd", x, self.weights.softmax(0))


class Projection(nn.Module):
    """Fewer features of many inputs, at the pace of Adam.

        y = W x / sqrt(D) + b               W ~ N(0, 1)            x (..., D) -> y (..., features)

    A step of Adam moves every weight by the learning rate, so that without the root y would move D times as far.
    With rates that suit small tables of vectors, the states of a language model, D = 1024, would not settle.
    """

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, size))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x * x.shape[-1] ** -0.5, self.weight, self.bias)


class TagNetwork(nn.Module):
    """Features of tokens, recurrent layers, scores of tags, and a CRF (or a softmax) over them.

        x_t = [words(w), shapes(s), characters(c), pairs(w_{t-1} w_t), pairs(w_t w_{t+1}), project(language models)]
        y = layers(dropout(x))        scores_t = W y_t + b        nats = -log p(tags | scores)

    `TagBatch` -> nats (B,). A feature of size 0 is left out; the pair with the next token too, where the network
    is causal. With the head softmax the CRF has no weights: it only keeps decoding to sequences that can be.

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
        self.words = table(len(vocabulary.words), config.words) if config.words else None
        self.shapes = table(len(vocabulary.shapes), config.shapes) if config.shapes else None
        self.pairs = table(len(vocabulary.pairs), config.pairs) if config.pairs else None
        make: Any = {"cnn": CharacterCNN, "lstm": CharacterLSTM, "none": None}[config.characters]
        kinds = len(vocabulary.characters)
        self.characters = make(kinds, config.character_size, config.character_features) if make else None
        self.mix = LayerMix(contextual[0]) if config.language_layers == "mix" and contextual[0] else None
        self.projection = Projection(contextual[1], config.projection) if config.projection else None
        size = config.words + config.shapes + (self.characters.output_size if self.characters else 0)
        size += config.pairs * (2 if config.bidirectional else 1) + (config.projection or contextual[1])
        self.layers = _stack(config, size)
        tags = vocabulary.tags(config.scheme)
        (width,) = self.layers.output_shape or (config.hidden,)
        self.output = nn.Linear(width, len(tags))
        self.head = CRF(len(tags), allowed_for(tags, config.scheme))
        if config.head == "softmax":
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter.requires_grad_(False))

    def train(self, mode: bool = True) -> "TagNetwork":
        """The language models stay as they are used: without dropout."""
        super().train(mode)
        self.language.train(False)
        return self

    def forward(self, batch: TagBatch) -> Tensor:
        return self.nats(self.scores(batch), batch)

    def nats(self, scores: Tensor, batch: TagBatch) -> Tensor:
        """-log p(tags | scores) of each sentence (B,)."""
        if self.config.head == "crf":
            return self.head(scores, batch.tags, batch.lengths)
        nats = cross_entropy(scores.flatten(0, 1).float(), batch.tags.flatten(), reduction="none")
        return ragged.blank(nats.view(batch.tags.shape), batch.lengths.cpu()).sum(1)

    def scores(self, batch: TagBatch) -> Tensor:
        """The scores (B, T, K) of the tags of each token."""
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
            parts += [pairs[:, :-1], pairs[:, 1:]] if self.config.bidirectional else [pairs[:, :-1]]
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


def table(kinds: int, size: int) -> nn.Embedding:
    """Vectors of length 1 or so (Lample et al. 2016): of larger ones Adam would unlearn the noise for long."""
    made = nn.Embedding(kinds, size)
    nn.init.uniform_(made.weight, -((3 / size) ** 0.5), (3 / size) ** 0.5)
    return made


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
