"""Language modelling and text generation: the probability of each token given those before it.

    log p(x_1 .. x_T) = sum over t of log p(x_t | h_{t-1})        h_t = layer(embedding(x_t), h_{t-1})

Trained by truncated backpropagation with a carried state (Mikolov et al. 2010), with dropout between the layers
(Zaremba et al. 2014) and input and output embeddings tied (Press and Wolf 2017).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from recurra import tree
from recurra.config import key
from recurra.data.sources import place_of
from recurra.data.text import TOKENS, Tokens, read_text, split_text
from recurra.data.windows import Window, Windows
from recurra.errors import ConfigError, DataError, RunError
from recurra.heads.search import Sampling, beam_search
from recurra.kernels import dispatch
from recurra.layers import LAYERS, Dropout, Recurrent, Stack
from recurra.run import checkpoint
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.checks import check_layer, check_least, restore_tokens
from recurra.tasks.text_stream import TextStream

__all__ = ["LanguageData", "LanguageModel", "LanguageModelConfig", "LanguageNet", "LanguageNetwork"]


@dataclass(frozen=True)
class LanguageData:
    """What to read; the table [data] of a recipe."""

    text: str = key("shakespeare", "a UTF-8 text file, or a data set's name (recurra data list); several: a+b+c")
    tokens: Literal["characters", "words", "byte_pairs"] = key("characters", "what one step reads")
    size: int = key(0, "most kinds of token to know; 0: all characters or words, 4096 byte pairs")
    split: tuple[float, ...] = key((0.9, 0.05, 0.05), "shares for training, validation and test, in order")
    batch: int = key(32, "rows side by side")
    backwards: bool = key(False, "read the text from its end to its beginning")
    window: int = key(128, "time steps between updates (truncated backpropagation)")
    forget: float = key(0.02, "share of rows that begin a training window with an empty memory")


@dataclass(frozen=True)
class LanguageNet:
    """The network; the table [model] of a recipe."""

    layer: str = key("lstm", "a recurrent layer by name: rnn, lstm, gru, peephole_lstm, layer_norm_lstm")
    hidden: int = key(512, "units of each layer")
    depth: int = key(2, "layers")
    embedding: int = key(0, "size of a token's vector; 0: as hidden")
    dropout: float = key(0.4, "share of units dropped between layers in training")
    tied: bool = key(True, "the output layer uses the embedding's weights")
    init_from: str = key("", "a run whose vocabulary and weights training begins with; empty: none")


@dataclass(frozen=True)
class LanguageModelConfig:
    """A language model: data and network."""

    data: LanguageData = key(LanguageData(), "what to read")
    model: LanguageNet = key(LanguageNet(), "the network")

    def __post_init__(self) -> None:
        _check_config(self.data, self.model)


def _check_config(data: LanguageData, model: LanguageNet) -> None:
    check_layer(model.layer)
    check_least("model", model, 1, "hidden", "depth")
    check_least("data", data, 1, "batch", "window")
    if data.size < 0 or data.size == 1:
        raise ConfigError(f"data.size: expected 0 (no limit) or at least 2 kinds of token, got {data.size}")
    if not 0 <= data.forget <= 1:
        raise ConfigError(f"data.forget: expected a share from 0 to 1, got {data.forget}")
    if model.tied and model.embedding not in (0, model.hidden):
        raise ConfigError(
            f"model.embedding: tied weights need an embedding of {model.hidden} as hidden, got {model.embedding}; "
            "set model.tied=false or model.embedding=0"
        )
    if len(data.split) != 3:
        raise ConfigError(f"data.split: expected three shares such as [0.9, 0.05, 0.05], got {list(data.split)}")


class LanguageNetwork(nn.Module):
    """Embedding, a stack of recurrent layers with dropout, and a softmax over tokens.

    tokens (B, T) -> logits (B, T, kinds), state
    """

    def __init__(self, kinds: int, config: LanguageNet) -> None:
        super().__init__()
        size = config.embedding or config.hidden
        self.embedding = nn.Embedding(kinds, size)
        nn.init.normal_(self.embedding.weight, std=0.05)  # tied to the output: larger values start far from uniform
        sizes = [size] + [config.hidden] * config.depth
        layers: list[Recurrent] = [Dropout(config.dropout)]
        for i in range(config.depth):
            make: Any = LAYERS[config.layer]
            layers += [make(sizes[i], sizes[i + 1]), Dropout(config.dropout)]
        self.layers = Stack(*layers)
        self.output = nn.Linear(config.hidden, kinds)
        if config.tied:
            self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, state = self.layers(self.embedding(tokens), state)
        return self.output(y), state

    def step(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step: tokens (B,) -> logits (B, kinds), state."""
        y, state = self.layers.step(self.embedding(tokens), state)
        return linear(y, self.output.weight, self.output.bias), state


class LanguageModel(Estimator):
    """A model of text that is trained on a file, scores text, and writes more of it.

    >>> model = LanguageModel(LanguageModelConfig(data=LanguageData(text="my.txt")))     # doctest: +SKIP
    >>> model.fit("runs/mine")                                                           # doctest: +SKIP
    >>> print(model.generate("Once upon a time", length=200))                            # doctest: +SKIP
    """

    name = "language_model"
    Config = LanguageModelConfig
    config: LanguageModelConfig

    def __init__(self, config: LanguageModelConfig | None = None) -> None:
        super().__init__(config)
        self.tokens: Tokens | None = None

    def data(self) -> Data:
        """The text in three parts, in order; tokens are learned from the first one, once."""
        config = self.config.data
        parts = _parts(config)
        if self.tokens is None and self.config.model.init_from:
            self.tokens = self._earlier().tokens
        if self.tokens is None:
            self.tokens = TOKENS[config.tokens].learn(parts[0], config.size)
        numbers = torch.tensor(self.numbers(parts[0]), dtype=torch.long)
        train = Windows(numbers, config.batch, config.window, shifted=True)
        return Data(train, self._held_out(parts[1], "validation"), self._held_out(parts[2], "test"))

    def network(self) -> nn.Module:
        return LanguageNetwork(len(self._tokens()), self.config.model)

    def begin(self, network: nn.Module) -> None:
        if self.config.model.init_from:
            checkpoint.load_weights(
                network, self._earlier().ready().state_dict(), Path(self.config.model.init_from)
            )

    def _earlier(self) -> "LanguageModel":
        """The model to begin with, which must be one of the same kind."""
        earlier = LanguageModel.load(self.config.model.init_from)
        for name in ("tokens", "backwards"):
            theirs, ours = getattr(earlier.config.data, name), getattr(self.config.data, name)
            if theirs != ours:
                raise ConfigError(
                    f"model.init_from: {self.config.model.init_from} has data.{name}={theirs}, this recipe {ours}; "
                    f"set data.{name} as it is there"
                )
        return earlier

    def numbers(self, text: str) -> list[int]:
        """The token numbers of a text, in the order in which the network reads them."""
        numbers = self._tokens().encode(text)
        return numbers[::-1] if self.config.data.backwards else numbers

    def loss(self, network: nn.Module, batch: Window, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the nats over the window, the number of its tokens, and the state for the next window."""
        if network.training and carry is not None and self.config.data.forget:
            carry = _forget(carry, self.config.data.forget)
        logits, state = network(batch.x, carry)
        total = cross_entropy(logits.flatten(0, 1).float(), batch.y.flatten(), reduction="sum")
        return total, int((batch.y != -100).sum()), tree.detach(state)

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Nats and perplexity a token, bits a character of the text, over a whole part read with carried state.

        ``share_unknown`` is there if some tokens are unknown: the other numbers then say little about the text.
        """
        total, count, unknown, state = 0.0, 0, 0, None
        device, nothing = next(network.parameters()).device, self._tokens().unknown_number
        for x, y in batches.epoch(0):
            loss, tokens, state = self.loss(network, Window(x.to(device), y.to(device)), state)
            total, count, unknown = total + float(loss), count + tokens, unknown + int((y == nothing).sum())
        nats = total / max(1, count)
        found = {"loss": nats, "perplexity": math.exp(min(nats, 700.0))}
        characters = getattr(batches, "characters", 0)
        found |= {"bits_per_character": total / math.log(2) / characters} if characters else {}
        return found | ({"share_unknown": unknown / count} if unknown else {})

    @torch.no_grad()
    def predict(self, raw: str) -> dict[str, Any]:
        """How likely a text is (nats and perplexity a token), and the five likeliest tokens to be read next."""
        tokens = self._tokens()
        numbers = torch.tensor([self.numbers(raw)], dtype=torch.long)
        if numbers.shape[1] < 1:
            raise DataError("predict: expected a text of at least one token, got an empty one")
        logits, _ = self.ready()(numbers)
        scored = numbers.shape[1] > 1  # the first token has nothing before it
        nats = float(cross_entropy(logits[0, :-1], numbers[0, 1:])) if scored else None
        chances, following = tokens.known(logits[0, -1]).softmax(-1).topk(min(5, len(tokens)))
        likely = {tokens.decode([n]): p for n, p in zip(following.tolist(), chances.tolist(), strict=True)}
        perplexity = None if nats is None else math.exp(min(nats, 700.0))
        return {"text": raw, "nats_per_token": nats, "perplexity": perplexity, "next": likely}

    def stream(self, raw: str = "", sampling: Sampling | None = None, seed: int = 0) -> TextStream:
        """A `TextStream`: tokens of text as they come, after the prompt ``raw``; its state can be saved."""
        if self.config.data.backwards:
            raise ConfigError("this model reads from the end of a text, so it cannot go on with one as it comes")
        return TextStream(self.ready(), self._tokens(), raw, sampling or Sampling(), seed)

    def generate(
        self, prompt: str = "", length: int = 500, sampling: Sampling | None = None, seed: int = 0, beam: int = 0
    ) -> str:
        """``length`` tokens of text after the prompt: drawn by ``sampling``, or the likeliest found by ``beam``."""
        stream = self.stream(prompt, sampling, seed)
        if beam:
            best, _ = beam_search(stream.step, stream.tokens.known(stream.logits), stream.state, length, beam)
            return self._tokens().decode(best[0].tolist())
        return "".join(stream.take(length))

    def read(self, source: str) -> Batches:
        """The tokens of a text file, each to be predicted once."""
        return self._held_out(read_text(source), source)

    def explain(self) -> str:
        """Which kernel runs for a training batch; generation goes step by step through the equations themselves."""
        data, network = self.config.data, self.ready()
        with dispatch.record() as log:
            network(torch.zeros(data.batch, data.window, dtype=torch.long))
        return "\n".join(str(decision) for decision in log)

    @torch.no_grad()
    def hidden_states(self, text: str) -> Tensor:
        """The outputs ``(T, H)`` of the last layer while the network reads a text of T tokens."""
        network = self.ready()
        numbers = torch.tensor([self.numbers(text)])
        return network.layers(network.embedding(numbers))[0][0]  # type: ignore[operator]

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text, as text."""
        tokens = self._tokens()
        return [tokens.decode([number]) for number in self.numbers(text)]

    def learned(self) -> dict[str, Any]:
        return self._tokens().to_dict()

    def relearn(self, values: dict[str, Any]) -> None:
        self.tokens = restore_tokens(values, TOKENS)

    def _held_out(self, text: str, name: str) -> Windows:
        """Every token of a held-out text once, in few rows so that little context is lost at their beginnings."""
        numbers, window = self.numbers(text), self.config.data.window
        if len(numbers) < 2:
            raise DataError(
                f"the {name} text has {len(numbers)} tokens, too short to predict one; "
                "give more text, or change data.split"
            )
        rows = max(1, min(16, len(numbers) // (2 * window)))
        characters = len(text) - len(self._tokens().decode(numbers[:1]))
        return Windows(torch.tensor(numbers), rows, window, characters=characters)

    def _tokens(self) -> Tokens:
        if self.tokens is None:
            raise RunError("LanguageModel has no vocabulary yet; call fit(...) or load(folder)")
        return self.tokens


def _forget(state: Any, share: float) -> Any:
    """Some rows with an empty memory, at random.

    A state that is carried for a whole epoch drifts to where no text begins, and the network unlearns to start.
    """
    chosen = torch.rand(len(tree.leaves(state)[0])) < share
    empty = tree.map(lambda leaf: torch.zeros_like(leaf) if leaf.is_floating_point() else leaf, state)
    return tree.where(chosen.to(tree.leaves(state)[0].device), empty, state)


def _parts(config: LanguageData) -> list[str]:
    """Training, validation and test text, each of all that ``data.text`` names, one after the other."""
    names = [config.text] if Path(config.text).exists() else config.text.split("+")
    found = [_parts_of(name.strip(), config) for name in names]
    return ["\n".join(texts) for texts in zip(*found, strict=True)]


def _parts_of(name: str, config: LanguageData) -> list[str]:
    """Three parts of a text: a file cut in order, or the parts that a data set comes in."""
    path = place_of(name, "data.text")
    if not path.is_dir():
        return split_text(read_text(path), config.split)
    whole = path / "text.txt"
    if whole.exists():
        return split_text(read_text(whole), config.split)
    if not (path / "train.txt").exists():
        raise DataError(
            f"{path} is a folder without text.txt, or train.txt, valid.txt and test.txt; give a text file"
        )
    return [read_text(path / f"{part}.txt") for part in ("train", "valid", "test")]
