"""Contextual string embeddings: words by the states of character language models (Akbik et al. 2018, "Flair").

    text      a \\n, then the tokens joined by a space            for Chinese joined by nothing
    forward   x_w = h after the last character of w               knows w and all before it
    backward  x_w = h after the first character of w, the text read from its end: knows w and all after it

The models are frozen, so the states of a sentence are computed once and kept in half precision.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recurra import config as configs
from recurra.data.batches import RowBatches
from recurra.data.text import Tokens
from recurra.errors import ConfigError, RunError
from recurra.layers import Dropout
from recurra.tasks.language_model import LanguageModel, LanguageModelConfig, LanguageNetwork

__all__ = ["ContextualWords", "WordReader"]

BEGIN = "\n"  # what stands before a sentence, as at the beginning of a line
STEPS = 16384  # characters, with padding, that are read at once


class WordReader:
    """One frozen language model that reads words.

    size, layers  of its states: a word gives (layers, size)
    """

    def __init__(self, model: LanguageModel, joiner: str) -> None:
        self.model, self.joiner = model, joiner
        self.backwards = model.config.data.backwards
        self.layers, self.size = model.config.model.depth, model.config.model.hidden

    @property
    def network(self) -> LanguageNetwork:
        """The network of the language model."""
        network = self.model.ready()
        assert isinstance(network, LanguageNetwork)
        return network

    @property
    def tokens(self) -> Tokens:
        """The characters that it knows."""
        if self.model.tokens is None:
            raise RunError("a language model has no vocabulary; train or load it first")
        return self.model.tokens

    @torch.no_grad()
    def read(self, sentences: Sequence[Sequence[str]]) -> list[Tensor]:
        """The states (T, layers, size) of the words of each sentence, in half precision on the CPU."""
        texts = [self._text(sentence) for sentence in sentences]
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        order = RowBatches(range(len(texts)), [len(t[0]) for t in texts], lambda rows, _: rows, STEPS, "steps")
        for rows in order.epoch(0):
            for row, states in zip(rows, self._read([texts[row] for row in rows]), strict=True):
                found[row] = states
        return found

    def _text(self, sentence: Sequence[str]) -> tuple[list[int], Tensor]:
        """The characters in the order of reading, and the place of the last one read of each word."""
        ends, at = [], len(BEGIN)
        pieces = list(reversed(sentence)) if self.backwards else list(sentence)
        for piece in pieces:
            at += len(piece)
            ends.append(at - 1)
            at += len(self.joiner)
        text = self.joiner.join(pieces if not self.backwards else [piece[::-1] for piece in pieces])
        return self.tokens.encode(BEGIN + text), torch.tensor(ends[::-1] if self.backwards else ends).long()

    def _read(self, texts: list[tuple[list[int], Tensor]]) -> list[Tensor]:
        network = self.network
        device = network.embedding.weight.device
        numbers = pad_sequence([torch.tensor(text) for text, _ in texts], batch_first=True).to(device)
        lengths = torch.tensor([len(text) for text, _ in texts])
        places = pad_sequence([ends for _, ends in texts], batch_first=True).to(device)
        x, layers = network.embedding(numbers), []
        for layer in network.layers:
            x, _ = layer(x, None, lengths)
            if not isinstance(layer, Dropout):
                layers.append(x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2])).half().cpu())
        states = torch.stack(layers, 2)
        return [row[: len(ends)].clone() for row, (_, ends) in zip(states, texts, strict=True)]

    @torch.no_grad()
    def step(self, word: str, state: Any) -> tuple[Tensor, Any]:
        """One more word for a model that reads forwards: its states (layers, size), and the state to go on from."""
        text = self.joiner + word if state is not None else BEGIN + word
        network, after, layers = self.network, [], []
        x = network.embedding(torch.tensor([self.tokens.encode(text)]))
        state = network.layers.initial_state(1, x) if state is None else state
        for layer, branch in zip(network.layers, state, strict=True):
            x, branch = layer(x, branch)
            after.append(branch)
            if not isinstance(layer, Dropout):
                layers.append(x[0, -1])
        return torch.stack(layers).half(), tuple(after)


class ContextualWords:
    """Several language models side by side: sentences -> (T, L, D) of each, where D is the sum of their sizes.

    Raises ConfigError if a model does not read characters, or if their numbers of layers differ.
    """

    def __init__(self, models: Sequence[LanguageModel], joiner: str = " ") -> None:
        self.models = list(models)
        for model in self.models:
            if model.config.data.tokens != "characters":
                raise ConfigError(
                    "model.language_models: expected language models of characters, got one of "
                    f"{model.config.data.tokens}"
                )
        self.readers = [WordReader(model, joiner) for model in self.models]
        depths = {reader.layers for reader in self.readers}
        if len(depths) > 1:
            raise ConfigError(f"model.language_models: expected models of the same depth, got {sorted(depths)}")
        self.shape = (depths.pop() if depths else 0, sum(reader.size for reader in self.readers))

    @classmethod
    def load(cls, runs: Sequence[str], joiner: str) -> "ContextualWords":
        """From the run folders of language models."""
        return cls([LanguageModel.load(Path(run)) for run in runs], joiner)

    @classmethod
    def from_dict(cls, values: list[dict[str, Any]], joiner: str) -> "ContextualWords":
        """The inverse of `to_dict`; the weights come with those of the tagger."""
        models = []
        for value in values:
            model = LanguageModel(configs.from_dict(LanguageModelConfig, value["config"]))
            model.relearn(value["vocabulary"])
            model.trained = model.network()
            models.append(model)
        return cls(models, joiner)

    def to_dict(self) -> list[dict[str, Any]]:
        """What the models are besides their weights, as plain values."""
        return [{"config": configs.to_dict(m.config), "vocabulary": m.learned()} for m in self.models]

    @property
    def networks(self) -> list[nn.Module]:
        """The networks of the models."""
        return [reader.network for reader in self.readers]

    @property
    def causal(self) -> bool:
        """Whether every model reads forwards, so that words can come one by one."""
        return not any(reader.backwards for reader in self.readers)

    def __call__(self, sentences: list[tuple[str, ...]]) -> list[Tensor]:
        read = [reader.read(sentences) for reader in self.readers]
        return [torch.cat(states, 2) for states in zip(*read, strict=True)]

    def step(self, word: str, state: Any) -> tuple[Tensor, Any]:
        """One more word: (L, D), and the state of all models. Only if they are `causal`."""
        branches = (None,) * len(self.readers) if state is None else state
        stepped = [reader.step(word, branch) for reader, branch in zip(self.readers, branches, strict=True)]
        return torch.cat([states for states, _ in stepped], 1), tuple(branch for _, branch in stepped)

    def initial_state(self) -> Any:
        """The state before the first word, in the structure that `step` returns."""
        return tuple(r.network.layers.initial_state(1, r.network.embedding.weight) for r in self.readers)
