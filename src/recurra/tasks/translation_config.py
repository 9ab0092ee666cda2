"""What a translator's recipe says: data, network, what is learned, and how translations are searched."""

from dataclasses import dataclass
from typing import Literal

from recurra.config import key, suggest
from recurra.errors import ConfigError
from recurra.heads.attention import ATTENTIONS
from recurra.tasks.checks import check_layer, check_least, check_shares, check_split

__all__ = ["Loss", "Score", "SearchConfig", "TranslationConfig", "TranslationData", "TranslationNet"]


@dataclass(frozen=True)
class TranslationData:
    """What to read; the table [data] of a recipe."""

    path: str = key("tatoeba-en-es", "a folder or prefix of parallel files, a TSV file, or the name of a data set")
    source: str = key("en", "the language to translate from: the suffix of its files")
    target: str = key("es", "the language to translate into: the suffix of its files")
    test: str = key("", "which test part, where there are several, such as test_2016_flickr")
    split: tuple[float, ...] = key(
        (0.9, 0.05, 0.05), "shares of the parts where data comes as one, by source sentence"
    )
    tokens: Literal["byte_pairs", "words", "characters"] = key("byte_pairs", "what one step reads and writes")
    size: int = key(8000, "most kinds of token, of both languages together; 0: all, or 4096 byte pairs")
    batch: int = key(4096, "steps of a training batch: pairs times the longest of them, both languages and padding")
    pool: int = key(40, "batches among which pairs are sorted by length, for less padding")
    longest: int = key(200, "pairs with more tokens than this on a side are not trained on; translation cuts there")


@dataclass(frozen=True)
class TranslationNet:
    """The network; the table [model] of a recipe."""

    layer: str = key("lstm", "a recurrent layer by name, such as lstm, gru, sru")
    embedding: int = key(512, "size of a token's vector, and of what the output layer reads")
    hidden: int = key(512, "units of each layer; of a bidirectional one both directions together")
    encoder_depth: int = key(1, "bidirectional layers that read the source")
    decoder_depth: int = key(1, "layers that write; attention stands on the first one")
    attention: Literal["scaled_general", "scaled_dot", "general", "dot", "additive"] = key(
        "scaled_general", "how a query is compared with the source"
    )
    coverage: bool = key(False, "attention knows where it has looked before; slower, as it goes step by step")
    input_feeding: bool = key(
        False, "each step reads what the last attention found; slower, as all is step by step"
    )
    tied: Literal["all", "target", "none"] = key(
        "all", "embeddings that are one: source, target, output; or the last 2"
    )
    dropout: float = key(0.3, "share of units dropped between layers in training")
    word_dropout: float = key(0.0, "share of tokens whose vectors are dropped in training")
    recurrent_dropout: float = key(0.0, "share of each layer's memory that it does not hear, for a whole sentence")


@dataclass(frozen=True)
class Loss:
    """What is learned; the table [loss] of a recipe."""

    smoothing: float = key(0.1, "probability that is spread over all tokens (Szegedy et al. 2016)")
    coverage: float = key(0.0, "weight of looking again at the same places (See et al. 2017); 0: not counted")


@dataclass(frozen=True)
class SearchConfig:
    """How translations are found; the table [search] of a recipe."""

    beam: int = key(5, "hypotheses side by side; 1: greedy")
    n_best: int = key(1, "translations to give, best first")
    length_penalty: float = key(1.0, "0: short ones are favoured; 1: close to the mean over the tokens")
    coverage_penalty: float = key(0.0, "how much it counts when source tokens were not looked at (Wu et al. 2016)")
    longest: float = key(2.0, "a translation ends at so many times the tokens of its source, and ten more")
    batch: int = key(64, "sentences side by side")
    copy: bool = key(True, "an unknown word is written as the source word that attention looks at")


@dataclass(frozen=True)
class Score:
    """How translations are measured; the table [score] of a recipe."""

    tokenize: Literal["13a", "char", "zh", "ja-mecab", "intl", "none"] = key(
        "13a", "tokens of BLEU, as sacrebleu's"
    )
    greedy: bool = key(False, "each validation in training also translates greedily and gives BLEU: takes time")


@dataclass(frozen=True)
class TranslationConfig:
    """A translator: data, network, loss, search, measure."""

    data: TranslationData = key(TranslationData(), "what to read")
    model: TranslationNet = key(TranslationNet(), "the network")
    loss: Loss = key(Loss(), "what is learned")
    search: SearchConfig = key(SearchConfig(), "how translations are found")
    score: Score = key(Score(), "how translations are measured")

    def __post_init__(self) -> None:
        _check_data(self.data)
        _check_model(self.model)
        _check_search(self.search)
        check_shares("loss", self.loss, "smoothing")
        check_least("loss", self.loss, 0, "coverage")


def _check_data(data: TranslationData) -> None:
    if not data.source or not data.target or data.source == data.target:
        raise ConfigError(
            "data.source, data.target: expected two different languages such as 'en' and 'de', got "
            f"{data.source!r} and {data.target!r}"
        )
    check_split(data.split)
    if data.size < 0 or data.size == 1:
        raise ConfigError(f"data.size: expected 0 (no limit) or at least 2 kinds of token, got {data.size}")
    check_least("data", data, 1, "batch", "pool", "longest")


def _check_model(model: TranslationNet) -> None:
    check_layer(model.layer, model.recurrent_dropout)
    check_least("model", model, 1, "embedding", "hidden", "encoder_depth", "decoder_depth")
    if model.hidden % 2:
        raise ConfigError(f"model.hidden: expected an even number, half for each direction, got {model.hidden}")
    check_shares("model", model, "dropout", "word_dropout", "recurrent_dropout")
    if model.attention not in ATTENTIONS:
        raise ConfigError(
            f"model.attention: unknown kind {model.attention!r}{suggest(model.attention, list(ATTENTIONS))}"
        )


def _check_search(search: SearchConfig) -> None:
    check_least("search", search, 1, "beam", "n_best", "batch")
    check_least("search", search, 0, "length_penalty", "coverage_penalty", "longest")
    if search.n_best > search.beam:
        raise ConfigError(f"search.n_best: expected at most search.beam = {search.beam}, got {search.n_best}")
