"""Classification of text: sentiment, topics, languages, spam. Words, characters or byte pairs go in.

The network is that of `recurra.tasks.classifier` over embedded tokens. With ``model.init_from`` the embedding and
the layers begin as those of a language model of this library, and thaw from the top down (Howard and Ruder 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra import files
from recurra.config import key, suggest
from recurra.data.labelled import FORMATS, Example, Layout, read_labelled, read_parts
from recurra.data.sources import place_of
from recurra.data.splits import Parts
from recurra.data.subwords import Subwords
from recurra.data.text import TOKENS, BytePairs, Listed, Tokens
from recurra.data.words import PlainWords, unspaced
from recurra.errors import ConfigError, DataError, RunError
from recurra.heads.pooling import pooling
from recurra.layers import Recurrent
from recurra.tasks.checks import check_least, check_shares, check_split, restore_tokens
from recurra.tasks.classifier import Classifier, ClassifierNet, check_net, make_layers
from recurra.tasks.classifier_network import ClassifierNetwork, make_network
from recurra.tasks.heat_map import HeatMap, html_page
from recurra.tasks.language_model import LanguageModel
from recurra.tasks.pretrained import copy_weights, load_encoders, make_towers, parts_from_the_top, sizes_of
from recurra.tasks.token_embedding import SubwordEmbedding, TokenEmbedding

__all__ = ["TextClassifier", "TextClassifierConfig", "TextData", "TextNet"]

KINDS: dict[str, type[Tokens]] = {**TOKENS, PlainWords.kind: PlainWords}


@dataclass(frozen=True)
class TextData:
    """What to read; the table [data] of a recipe."""

    path: str = key("reviews.csv", "labelled texts: a file, a folder with train, valid and test, or a data set")
    valid: str = key("", "another file to validate on; empty: that of the folder, or a share of the training rows")
    test: str = key("", "another file to test on, in the same way")
    format: str = key("auto", "csv, tsv, jsonl, label_text, fasttext; auto: by the first line and the ending")
    text: str = key("", "the column of the text, by name or number; empty: found by its name")
    label: str = key("", "the column of the label, by name or number; empty: found by its name")
    split: tuple[float, ...] = key(
        (0.8, 0.1, 0.1), "shares of training, validation and test where a part is missing"
    )
    seed: int = key(0, "of that split")
    tokens: Literal["words", "characters", "byte_pairs"] = key("words", "what one step reads")
    size: int = key(0, "most kinds of token to know; 0: all words or characters, 4096 byte pairs")
    least: int = key(2, "words that occur less often are unknown; for words")
    lower: bool = key(True, "read Good as good; for words")
    longest: int = key(0, "tokens after so many are not read; 0: all are")
    word_dropout: float = key(
        0.1, "share of training tokens read as unknown; byte pairs know all text and have none"
    )
    batch: int = key(32, "rows in a batch")


@dataclass(frozen=True)
class TextNet(ClassifierNet):
    """The network; the table [model] of a recipe."""

    embedding: int = key(128, "size of a token's vector")
    subwords: int = key(0, "vectors for pieces of words, so that unknown words are heard too; 0: none; for words")
    embedding_dropout: float = key(0.0, "share of kinds of token whose vector is zero in a training batch")
    init_from: str = key(
        "", "a run of language_model whose tokens, embedding and layers to begin with; empty: none"
    )
    init_from_backwards: str = key("", "another one with data.backwards=true, to read from the end")
    thaw: float = key(0.5, "pretrained layers join the training from the top down during this share of it")
    slower: float = key(2.6, "each pretrained layer learns so many times slower than the one above it")


@dataclass(frozen=True)
class TextClassifierConfig:
    """A classifier of text: data and network."""

    data: TextData = key(TextData(), "what to read")
    model: TextNet = key(TextNet(), "the network")

    def __post_init__(self) -> None:
        check_net(self.model)
        _check_data(self.data)
        _check_model(self.model)
        if self.model.subwords and self.data.tokens != "words":
            raise ConfigError(f"model.subwords: only words have pieces, not {self.data.tokens}; expected 0")


def _check_data(data: TextData) -> None:
    if data.format not in FORMATS:
        raise ConfigError(f"data.format: expected one of {', '.join(FORMATS)}, got {data.format!r}")
    check_split(data.split)
    check_least("data", data, 1, "batch", "least")
    check_least("data", data, 0, "longest", "size")
    if data.size == 1:
        raise ConfigError("data.size: expected 0 (no limit) or at least 2 kinds of token, got 1")
    check_shares("data", data, "word_dropout")


def _check_model(model: TextNet) -> None:
    check_least("model", model, 1, "embedding", "slower")
    if model.subwords < 0:
        raise ConfigError(f"model.subwords: expected 0 (none) or a number of vectors, got {model.subwords}")
    check_shares("model", model, "embedding_dropout")
    if not 0 <= model.thaw <= 1:
        raise ConfigError(f"model.thaw: expected a share from 0 to 1, got {model.thaw}")
    if model.init_from_backwards and not model.init_from:
        raise ConfigError("model.init_from_backwards: expected model.init_from too, the one that reads ahead")
    if model.init_from and model.bidirectional != bool(model.init_from_backwards):
        raise ConfigError(
            "model.bidirectional: one language model reads from the beginning only; set model.bidirectional=false, "
            "or model.init_from_backwards to a second one that reads from the end"
        )
    if model.init_from and model.subwords:
        raise ConfigError(
            "model.subwords: a language model knows no pieces of words; expected 0 with model.init_from"
        )


class TextClassifier(Classifier):
    """A classifier that is trained on labelled texts and gives each text a label with its probability.

    >>> model = TextClassifier(TextClassifierConfig(data=TextData(path="reviews.csv")))     # doctest: +SKIP
    >>> model.fit("runs/reviews")                                                           # doctest: +SKIP
    >>> model.predict("I could not stop reading.")["label"]                                 # doctest: +SKIP
    """

    name = "classify"
    Config = TextClassifierConfig
    config: TextClassifierConfig

    def __init__(self, config: TextClassifierConfig | None = None) -> None:
        super().__init__(config)
        self.tokens: Tokens | None = None
        self.subwords = Subwords(self.config.model.subwords) if self.config.model.subwords else None

    def _layout(self) -> Layout:
        data = self.config.data
        return Layout(data.format, data.text, data.label)

    def rows(self) -> Parts:
        data = self.config.data
        return read_parts(place_of(data.path), data.valid, data.test, self._layout(), data.split, data.seed)

    def rows_of(self, source: str) -> tuple[list[Example], str]:
        reading = read_labelled(source, self._layout())
        return reading.examples, reading.note

    def learn(self, examples: list[Example]) -> None:
        data, texts = self.config.data, [example.text for example in examples]
        if self.config.model.init_from:
            self._adopt(load_encoders(self.config.model.init_from, self.config.model.init_from_backwards))
        elif data.tokens == "words":
            if unspaced(texts[:1000]):
                self.say("warning: these texts have no spaces between words; read them by data.tokens = characters")
            self.tokens = PlainWords.learn_from(texts, data.size, data.least, data.lower)
        else:
            self.tokens = TOKENS[data.tokens].learn("\n".join(texts), data.size)

    def _adopt(self, models: list[LanguageModel]) -> None:
        """Take over the tokens of the language models, and the sizes of their layers."""
        sizes, tokens = sizes_of(models), models[0].config.data.tokens
        self.tokens = models[0].tokens
        model, data = replace(self.config.model, **sizes), replace(self.config.data, tokens=tokens)
        self.config = replace(self.config, data=data, model=model)
        named = ", ".join(f"{name} {value}" for name, value in sizes.items())
        self.say(f"as in {model.init_from}: {tokens}, {named}")

    def begin(self, network: nn.Module) -> None:
        """Put the weights of the language models in."""
        model = self.config.model
        if model.init_from:
            copy_weights(network, load_encoders(model.init_from, model.init_from_backwards))

    def parts(self, network: nn.Module) -> dict[str, list[nn.Parameter]]:
        """With pretrained weights: what is new, then each layer from the top down, then the embedding."""
        if not self.config.model.init_from:
            return super().parts(network)
        return parts_from_the_top(network)

    def pace(self, part: str, share: float) -> float:
        """Frozen until its turn, then slower than the part above it (Howard and Ruder 2018)."""
        model = self.config.model
        if not model.init_from:
            return super().pace(part, share)
        turn = model.thaw * int(part) / (model.depth + 1)
        return model.slower ** -int(part) if share >= turn else 0.0

    def encode(self, examples: Sequence[Example]) -> list[Tensor]:
        longest = self.config.data.longest
        numbers = [self.pieces(example.text) for example in examples]
        cut = sum(len(row) > longest for row in numbers) if longest else 0
        if cut:
            self.say(f"{cut} of {len(numbers)} texts are longer than data.longest = {longest} tokens and were cut")
        return [row[: longest or None] for row in numbers]

    def raw(self, raw: Any) -> Example:
        if not isinstance(raw, str):
            raise DataError(f"predict: expected a text, got {type(raw).__name__}")
        return Example(raw, "", "")

    def pieces(self, raw: str) -> Tensor:
        """The numbers ``(T,)`` of the tokens of a text, or ``(T, 1 + K)`` with those of the pieces of words."""
        tokens = self._tokens()
        numbers = torch.tensor(tokens.encode(raw), dtype=torch.long)
        if not self.subwords or not isinstance(tokens, PlainWords):
            return numbers
        pieces = [self.subwords(word) for word in tokens.split(raw)]
        return torch.cat([numbers[:, None], torch.tensor(pieces, dtype=torch.long).view(-1, self.subwords.most)], 1)

    def some(self, steps: int) -> Tensor:
        return self.pieces("a " * steps)

    def disturb(self, x: Tensor, random: torch.Generator) -> Tensor:
        share, unknown = self.config.data.word_dropout, self._tokens().unknown_number
        if not share or unknown < 0:
            return x
        dropped = torch.rand(x.shape[:2], generator=random) < share
        if x.dim() == 2:
            return x.masked_fill(dropped, unknown)
        return torch.cat([x[..., :1].masked_fill(dropped[..., None], unknown), x[..., 1:]], 2)

    def network(self) -> nn.Module:
        return make_network(self.config.model.members, self._member)

    def _member(self) -> ClassifierNetwork:
        model = self.config.model
        kinds, size, dropout = len(self._tokens()), model.embedding, model.embedding_dropout
        embed: nn.Module = TokenEmbedding(kinds, size, dropout)
        if model.subwords:
            embed = SubwordEmbedding(kinds, model.subwords, size, dropout)
        layers: Recurrent = make_towers(model, size) if model.init_from else make_layers(model, size)
        ways = 2 if model.bidirectional else 1
        pool = pooling(model.pooling, model.hidden * ways, model.hidden * (ways - 1))
        return ClassifierNetwork(embed, layers, pool, len(self.labels), model.dropout)

    def heat_map(self, raw: str, label: str | None = None) -> HeatMap:
        """What each token of a text did to the answer, or to another ``label``: integrated gradients."""
        chances = self.predict(raw)["probabilities"]
        if label is not None and label not in chances:
            raise ConfigError(f"label: unknown label {label!r}{suggest(label, self.labels)}")
        chosen = max(chances, key=chances.__getitem__) if label is None else label
        x = self.encode([self.raw(raw)])[0]
        found = self.shares(x, chosen)
        pieces = surface(self._tokens(), raw)[: len(x)]
        return HeatMap(
            raw, pieces, found.values.tolist(), chosen, chances[chosen], found.score, found.base, found.gap
        )

    def draw_answer(self, raw: str, folder: Path, name: str) -> list[Path]:
        """A page with the words that moved the answer in colour."""
        path = folder / f"{name}.html"
        files.write_text(path, html_page(self.heat_map(raw)))
        return [path]

    def learned(self) -> dict[str, Any]:
        return super().learned() | {"tokens": self._tokens().to_dict()}

    def relearn(self, values: dict[str, Any]) -> None:
        super().relearn(values)
        self.tokens = restore_tokens(values.get("tokens"), KINDS)

    def _tokens(self) -> Tokens:
        if self.tokens is None:
            raise RunError("TextClassifier has no vocabulary yet; call fit(...) or load(folder)")
        return self.tokens


def surface(tokens: Tokens, text: str) -> list[str]:
    """The tokens as they stand in the text, one for each number of ``tokens.encode(text)``."""
    if isinstance(tokens, BytePairs):
        return [text[begin:end] for begin, end in tokens.tokenizer.encode(text).offsets]
    if isinstance(tokens, PlainWords):
        return PlainWords([], lower=False).split(text)
    return tokens.pattern.findall(text) if isinstance(tokens, Listed) else []
