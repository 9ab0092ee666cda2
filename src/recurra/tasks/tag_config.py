"""The configuration of tagging: what to read, and the network."""

from dataclasses import dataclass
from typing import Literal

from recurra.config import key
from recurra.errors import ConfigError
from recurra.tasks.checks import check_layer, check_least, check_shares, check_split

__all__ = ["TagConfig", "TagData", "TagNet"]


@dataclass(frozen=True)
class TagData:
    """What to read; the table [data] of a recipe."""

    path: str = key("", "a folder with train, valid and test.conll, a column file, or the name of a data set")
    train: str = key("", "instead of path: the column file for training")
    valid: str = key("", "instead of path: the column file for validation")
    test: str = key("", "instead of path: the column file for the test")
    split: tuple[float, ...] = key((0.8, 0.1, 0.1), "shares of a single file, in order")
    held_out: Literal["valid", "tenth"] = key(
        "valid", "to validate on: the validation part; or each tenth sentence of it and the training part together"
    )
    units: Literal["words", "characters"] = key("words", "what a token is; characters for Chinese")
    word: int = key(0, "the column of the token, from 0")
    tag: int = key(-1, "the column of the tag, from 0; -1: the last")
    illegal: Literal["repair", "error"] = key(
        "repair", "an I- that goes on with nothing: begins an entity, or error"
    )
    comments: bool = key(False, "lines before a sentence that begin with # are comments (CoNLL-U)")
    vectors: str = key("", "a text file of word vectors by GloVe or word2vec to begin with")
    vectors_keep: int = key(0, "so many words from the top of that file are known beside those of the data")
    batch: int = key(32, "sentences side by side; with unit steps: steps, sentences times the longest")
    unit: Literal["rows", "steps"] = key("rows", "what batch counts")
    pool: int = key(8, "batches among which sentences are sorted by length, for less padding; 1: not sorted")
    unknown: float = key(
        1.0, "a word or pair seen n times is unknown with chance u / (u + n) in training; 0: never"
    )


@dataclass(frozen=True)
class TagNet:
    """The network; the table [model] of a recipe."""

    words: int = key(100, "size of a word's vector; 0: none")
    shapes: int = key(0, "size of the vector of a word's shape, such as Xx for Paris; 0: none")
    characters: Literal["none", "cnn", "lstm"] = key("cnn", "how the characters of a word are read")
    character_size: int = key(30, "size of a character's vector")
    character_features: int = key(30, "filters of the cnn, or units of each direction of the lstm")
    pairs: int = key(0, "size of the vector of a token with its neighbour (bigram), for Chinese; 0: none")
    layer: str = key("lstm", "a recurrent layer by name: rnn, lstm, gru, peephole_lstm, layer_norm_lstm")
    hidden: int = key(128, "units of each layer and direction")
    depth: int = key(1, "layers")
    bidirectional: bool = key(True, "read from both ends; false: causal, so that tags can be streamed")
    head: Literal["crf", "softmax"] = key("crf", "tags that depend on their neighbours, or each for itself")
    boldness: Literal["learned", "tuned"] = key(
        "tuned", "how soon an entity is said: tuned to the best F1 of validation"
    )
    scheme: Literal["BIO", "BIOES"] = key("BIOES", "the tags that the network learns, whatever the file has")
    dropout: float = key(0.5, "share of inputs and outputs of the layers dropped for a whole sentence")
    recurrent_dropout: float = key(0.0, "share of each layer's memory that it does not hear, for a whole sentence")
    members: int = key(1, "networks that learn side by side and answer by the mean of their scores")
    language_models: tuple[str, ...] = key((), "runs of character language models whose states are features")
    language_layers: Literal["last", "mix"] = key("last", "their last layer, or a learned mix of all (ELMo)")
    projection: int = key(0, "their states are projected to so many features; 0: as they are")


@dataclass(frozen=True)
class TagConfig:
    """A tagger: data and network."""

    data: TagData = key(TagData(), "what to read")
    model: TagNet = key(TagNet(), "the network")

    def __post_init__(self) -> None:
        _check_data(self.data)
        _check_model(self.model)


def _check_data(data: TagData) -> None:
    check_least("data", data, 1, "batch", "pool")
    check_least("data", data, 0, "word", "vectors_keep", "unknown")
    check_split(data.split)
    files = [name for name in ("train", "valid", "test") if getattr(data, name)]
    if files and (data.path or len(files) < 3):
        raise ConfigError(
            f"data.{files[0]}: expected data.train, data.valid and data.test together and no data.path, "
            f"got {', '.join(files)}" + (f" and path = {data.path!r}" if data.path else "")
        )
    if data.tag < -1:
        raise ConfigError(f"data.tag: expected a column from 0, or -1 for the last, got {data.tag}")
    if data.vectors_keep and not data.vectors:
        raise ConfigError("data.vectors_keep: expected a file in data.vectors to keep words of")


def _check_model(model: TagNet) -> None:
    check_layer(model.layer, model.recurrent_dropout)
    check_least("model", model, 1, "hidden", "depth", "character_size", "character_features", "members")
    for name in ("words", "shapes", "pairs", "projection"):
        if getattr(model, name) < 0:
            raise ConfigError(f"model.{name}: expected a size, or 0 for none, got {getattr(model, name)}")
    check_shares("model", model, "dropout", "recurrent_dropout")
    if not (model.words or model.shapes or model.pairs or model.language_models) and model.characters == "none":
        raise ConfigError("model: a token has no features; set model.words, model.characters or another of them")
    if (model.projection or model.language_layers == "mix") and not model.language_models:
        raise ConfigError("model.projection, model.language_layers: expected model.language_models to be given")
