"""An encoder-decoder with attention, whose training is parallel but for the recurrences.

Bahdanau et al. (2015) and Luong et al. (2015) feed what attention found into the next step of the layer that asks,
so that every step waits for the one before. Here the first layer of the decoder asks, as in GNMT (Wu et al. 2016),
and what is found goes up only: kernels run each layer over all steps at once, and attention is one product.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra import tree
from recurra.heads.attention import ATTENTIONS, Attention, Coverage, Memory
from recurra.heads.vocabulary import vocabulary_loss
from recurra.layers import LAYERS, Bidirectional, Dropout, Recurrent, RecurrentDropout, Residual, Stack
from recurra.tasks.translation_config import TranslationNet

__all__ = ["FeedingNetwork", "ParallelNetwork", "Read", "Sentences", "TranslationNetwork", "Written", "network_of"]


class Sentences(NamedTuple):
    """Sentences side by side with their translations, padded on the right.

    source          (B, S)  tokens
    source_lengths  (B,)
    before          (B, T)  the token before each target token; the first is the one that begins all sentences
    after           (B, T)  target tokens; the last valid one ends the sentence
    target_lengths  (B,)    the end counted
    """

    source: Tensor
    source_lengths: Tensor
    before: Tensor
    after: Tensor
    target_lengths: Tensor


class Read(NamedTuple):
    """What the encoder made of the sources, a row for each.

    memory   what attention reads
    summary  (B, H)  the mean over the valid steps, from which the decoder begins
    """

    memory: Memory
    summary: Tensor


class Written(NamedTuple):
    """What the decoder says for every target step ``(B, T)``.

    output   (B, T, embedding)  what the output layer reads
    weights  (B, T, S)          where attention looked
    """

    output: Tensor
    weights: Tensor


class TranslationNetwork(nn.Module, ABC):
    """The equations of both networks.

        m     = bidirectional(embedding(x))                        all source steps
        q_t   = layer_1(embedding(y_{t-1}), q_{t-1})               y_0 is the token that begins every sentence
        c_t   = attention(q_t, m)
        h_t   = layer_n(... layer_2([q_t, c_t]))                   where the decoder has more layers
        o_t   = tanh(W [h_t, c_t] + b)
        p_t   = softmax(E o_t + d)                                 E the embedding, if tied

    h and c of the decoder's cells begin as ``tanh(V s + b)``, s the mean of m; other memories begin empty.
    A subclass writes `write` and says what the first layer reads.
    """

    def __init__(self, kinds: int, config: TranslationNet) -> None:
        super().__init__()
        self.config = config
        self.source_embedding = _embedding(kinds, config.embedding)
        self.target_embedding = (
            self.source_embedding if config.tied == "all" else _embedding(kinds, config.embedding)
        )
        self.scale = config.embedding**0.5  # tied to the output, embeddings are small: inputs are not to be
        self.words = Dropout(config.word_dropout)
        self.encoder = Stack(Dropout(config.dropout), *self._encoder())
        self.attention: Attention = ATTENTIONS[config.attention](config.hidden, config.hidden)
        if config.coverage:
            self.attention = Coverage(self.attention)
        self.below = Stack(Dropout(config.dropout), self._layer(self.below_size(config), config.hidden))
        self.above = Stack(*self._above())
        self.start = nn.ModuleList(_Start(config.hidden, part) for part in (self.below, self.above))
        self.combine = nn.Linear(2 * config.hidden, config.embedding)
        self.last = Dropout(config.dropout)
        self.output = nn.Linear(config.embedding, kinds)
        if config.tied != "none":
            self.output.weight = self.target_embedding.weight

    @staticmethod
    @abstractmethod
    def below_size(config: TranslationNet) -> int:
        """Features that the decoder's first layer reads."""

    @abstractmethod
    def write(self, source: Read, tokens: Tensor, lengths: Tensor | None = None) -> Written:
        """All steps: ``tokens (B, T)`` are what was written before each step, valid up to ``lengths (B,)``."""

    def forward(self, batch: Sentences, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Nats of all target tokens of a batch, their sum; and where attention looked ``(B, T, S)``.

        With ``smoothing`` the nats are those of a target that spreads so much probability over all tokens.
        """
        written = self.write(self.read(batch.source, batch.source_lengths), batch.before, batch.target_lengths)
        valid = ragged.mask(batch.target_lengths, batch.after.shape[1], batch.after.device)
        o, answers = written.output[valid], batch.after[valid]
        return vocabulary_loss(o, self.output.weight, self.output.bias, answers, smoothing), written.weights

    def _layer(self, size: int, hidden: int) -> Any:
        make: Any = LAYERS[self.config.layer]
        layer, drop = make(size, hidden), self.config.recurrent_dropout
        return RecurrentDropout(layer, drop) if drop else layer

    def _encoder(self) -> list[Recurrent]:
        layers: list[Recurrent] = []
        hidden = self.config.hidden
        for i in range(self.config.encoder_depth):
            size = hidden if i else self.config.embedding
            both = Bidirectional(self._layer(size, hidden // 2), self._layer(size, hidden // 2))
            layers += [Residual(both) if i else both, Dropout(self.config.dropout)]
        return layers

    def _above(self) -> list[Recurrent]:
        layers: list[Recurrent] = []
        hidden = self.config.hidden
        for i in range(1, self.config.decoder_depth):
            layer = self._layer(hidden if i > 1 else 2 * hidden, hidden)
            layers += [Dropout(self.config.dropout), Residual(layer) if i > 1 else layer]
        return layers

    def read(self, tokens: Tensor, lengths: Tensor | None = None) -> Read:
        """Sources ``tokens (B, S)`` with ``lengths (B,)`` -> what the decoder needs to know of them."""
        values, _ = self.encoder(self.embed(self.source_embedding, tokens), None, lengths)
        valid = tokens.shape[1] if lengths is None else lengths.to(values.device)[:, None]
        total = values.sum(1, dtype=torch.promote_types(values.dtype, torch.float32))
        return Read(self.attention.remember(values, lengths), total / torch.as_tensor(valid).clamp(min=1))

    def embed(self, embedding: nn.Module, tokens: Tensor) -> Tensor:
        """Vectors of tokens, scaled to a variance of about 1; in training some are zero as a whole."""
        vectors = embedding(tokens) * self.scale
        if not self.training or not self.config.word_dropout:
            return vectors
        return vectors * self.words(vectors.new_ones(*tokens.shape, 1))[0]

    def begin(self, source: Read) -> Any:
        """The decoder's state before its first token, a row for each source."""
        summary, parts = source.summary, (self.below, self.above)
        empty = [part.initial_state(len(summary), summary) for part in parts]
        below, above = (start(state, summary) for start, state in zip(self.start, empty, strict=True))
        return tree.State(
            below=below,
            above=above,
            covered=summary.new_zeros(source.memory.valid.shape),
            fed=summary.new_zeros(len(summary), self.config.embedding),
        )

    def join(self, top: Tensor, context: Tensor) -> Tensor:
        """o ``(..., embedding)``."""
        return self.combine(torch.cat([top, context.to(top.dtype)], -1)).tanh()

    def advance(self, read: Tensor, state: Any, source: Read) -> tuple[Tensor, Tensor, Any]:
        """One step of the decoder, which reads ``(N, features)``: o (N, embedding), weights (N, S), the state."""
        query, below = self.below.step(read, state.below)
        context, weights = self.attention.step(query, source.memory, state.covered)
        top, above = query, state.above
        if len(self.above):
            top, above = self.above.step(torch.cat([query, context.to(query.dtype)], 1), state.above)
        o = self.join(top, context)
        covered = state.covered + weights
        return o, weights, state._replace(below=below, above=above, covered=covered, fed=o.to(state.fed.dtype))

    def step(self, tokens: Tensor, state: Any, source: Read) -> tuple[Tensor, Any]:
        """One step for search: what was written last ``(N,)``, and the states -> logits (N, kinds), states.

        N = B times k: neighbouring rows belong to one source.
        """
        o, _, state = self.advance(self.fed(self.target_embedding(tokens) * self.scale, state), state, source)
        return self.output(o), state

    def fed(self, vectors: Tensor, state: Any) -> Tensor:
        """What the first layer reads for the vectors ``(N, embedding)`` of what was written last."""
        return vectors


class ParallelNetwork(TranslationNetwork):
    """What attention finds goes up only, so that each layer runs over all steps at once."""

    @staticmethod
    def below_size(config: TranslationNet) -> int:
        return config.embedding

    def write(self, source: Read, tokens: Tensor, lengths: Tensor | None = None) -> Written:
        state = self.begin(source)
        query, _ = self.below(self.embed(self.target_embedding, tokens), state.below, lengths)
        context, weights = self.attention(query, source.memory)
        top = query
        if len(self.above):
            top, _ = self.above(torch.cat([query, context.to(query.dtype)], 2), state.above, lengths)
        return Written(self.last(self.join(top, context))[0], weights)


class FeedingNetwork(TranslationNetwork):
    """Input feeding (Luong et al. 2015): each step also reads o of the step before, so training goes step by step.

    q_t = layer_1([embedding(y_{t-1}), o_{t-1}], q_{t-1})          o_0 = 0
    """

    @staticmethod
    def below_size(config: TranslationNet) -> int:
        return 2 * config.embedding

    def fed(self, vectors: Tensor, state: Any) -> Tensor:
        return torch.cat([vectors, state.fed.to(vectors.dtype)], 1)

    def write(self, source: Read, tokens: Tensor, lengths: Tensor | None = None) -> Written:
        state, outputs, looks = self.begin(source), [], []
        for vectors in self.embed(self.target_embedding, tokens).unbind(1):
            o, weights, state = self.advance(self.fed(vectors, state), state, source)
            outputs.append(o)
            looks.append(weights)
        return Written(self.last(torch.stack(outputs, 1))[0], torch.stack(looks, 1))


class _Start(nn.Module):
    """The first state of a stack from a summary of the source ``(B, H)``: h and c of its cells, tanh(V s + b)."""

    def __init__(self, size: int, stack: Stack) -> None:
        super().__init__()
        empty = stack.initial_state(1, torch.empty(0))
        named = list(zip(tree.names(empty), tree.leaves(empty), strict=True))
        self.sizes = {
            i: leaf.shape[1]
            for i, (name, leaf) in enumerate(named)
            if leaf.dim() == 2 and name.rpartition(".")[2] in ("h", "c")
        }
        self.linear = nn.Linear(size, sum(self.sizes.values())) if self.sizes else None

    def forward(self, empty: Any, summary: Tensor) -> Any:
        if self.linear is None:
            return empty
        leaves, values = tree.leaves(empty), self.linear(summary).tanh().split(list(self.sizes.values()), 1)
        for i, value in zip(self.sizes, values, strict=True):
            leaves[i] = value.to(summary.dtype)
        return tree.unflatten(empty, leaves)


def network_of(kinds: int, config: TranslationNet) -> TranslationNetwork:
    """The network that the configuration describes, for so many kinds of token."""
    return FeedingNetwork(kinds, config) if config.input_feeding else ParallelNetwork(kinds, config)


def _embedding(kinds: int, size: int) -> nn.Embedding:
    made = nn.Embedding(kinds, size)
    nn.init.normal_(made.weight, std=size**-0.5)  # tied to the output: larger values start far from uniform
    return made
