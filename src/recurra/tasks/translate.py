"""Machine translation: the probability of a sentence in one language given a sentence in another.

    log p(y_1 .. y_n | x) = sum over t of log p(y_t | y_1 .. y_{t-1}, x)          y_n is the end

An encoder reads the source from both sides, a decoder writes the target and looks back at the source by attention
(Bahdanau et al. 2015, Luong et al. 2015); byte pairs of both languages together leave no word unknown (Sennrich et
al. 2016). Translations are found by beam search (Wu et al. 2016).
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recurra.data.batches import RowBatches
from recurra.data.parallel import Parallel, SentencePair, read_parallel, read_part
from recurra.data.sources import SOURCES, get
from recurra.data.text import TOKENS, Tokens
from recurra.errors import ConfigError, DataError, RunError
from recurra.heads.attention import overlap
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.translation_config import TranslationConfig
from recurra.tasks.translation_network import Sentences, TranslationNetwork, network_of

__all__ = ["Translator"]


class Row(NamedTuple):
    """A sentence pair as tokens."""

    source: list[int]
    target: list[int]
    pair: SentencePair


class Translator(Estimator):
    """Translates sentences; trained on parallel text.

    >>> model = Translator(TranslationConfig(TranslationData(path="tatoeba", target="es")))     # doctest: +SKIP
    >>> model.fit("runs/tatoeba")                                                               # doctest: +SKIP
    >>> model.predict("I have no idea.")["translation"]                                         # doctest: +SKIP
    """

    name = "translate"
    source: ClassVar[str] = "data.path"
    Config = TranslationConfig
    config: TranslationConfig

    def __init__(self, config: TranslationConfig | None = None) -> None:
        super().__init__(config)
        self.tokens: Tokens | None = None

    def data(self) -> Data:
        config = self.config.data
        path = get(config.path) if config.path in SOURCES else config.path
        pairs = read_parallel(path, (config.source, config.target), config.test, config.split)
        if self.tokens is None:
            text = "\n".join(f" {line}" for side in zip(*pairs.train, strict=True) for line in side)
            self.tokens = TOKENS[config.tokens].learn(text, config.size)
        rows = self._rows(pairs.train)
        good = [r for r in rows if r.source and r.target and max(len(r.source), len(r.target)) <= config.longest]
        return Data(self._batches(good, True), self._batches(self._rows(pairs.valid)), self._batches(self._rows(pairs.test)))

    def _rows(self, pairs):
        return [Row(self.encode(p.source), self.encode(p.target), p) for p in pairs]

    def encode(self, text: str) -> list[int]:
        return self.tokens.encode(f" {text}") if text else []

    def decode(self, numbers) -> str:
        return self.tokens.decode(numbers).strip()

    @property
    def begin_number(self):
        return len(self.tokens)

    @property
    def end_number(self):
        return len(self.tokens) + 1

    def _batches(self, rows, training=False):
        lengths = [len(r.source) + len(r.target) + 1 for r in rows]
        return RowBatches(rows, lengths, self._collate, self.config.data.batch, "steps", training, self.config.data.pool)

    def _collate(self, rows, random):
        def pad(x): return pad_sequence([torch.tensor(i, dtype=torch.long) for i in x], batch_first=True)
        return Sentences(pad([r.source for r in rows]), torch.tensor([len(r.source) for r in rows]),
            pad([[self.begin_number, *r.target] for r in rows]), pad([[*r.target, self.end_number] for r in rows]),
            torch.tensor([len(r.target) + 1 for r in rows]))

    def network(self) -> nn.Module:
        return network_of(len(self.tokens) + 2, self.config.model)

    def loss(self, network, batch, carry):
        nats, weights = network(batch, self.config.loss.smoothing if network.training else 0.0)
        return nats, int(batch.target_lengths.sum()), None

    @torch.no_grad()
    def measure(self, network, batches):
        total, count = 0.0, 0
        for batch in batches.epoch(0):
            l, n, _ = self.loss(network, batch, None)
            total += float(l); count += n
        return {"loss": total / count, "perplexity": math.exp(total / count)}

    def read(self, source): ...
    def explain(self): ...
    def predict(self, raw): ...
    def stream(self, raw): ...
    def learned(self): return self.tokens.to_dict()
    def relearn(self, values): self.tokens = TOKENS[values["kind"]].from_dict(values)
