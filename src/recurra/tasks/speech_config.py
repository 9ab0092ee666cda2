"""What a recognizer's recipe says: data, features, disturbance, network, search, and what live listening does."""

from dataclasses import dataclass
from typing import Literal

from recurra.config import key
from recurra.errors import ConfigError
from recurra.tasks.checks import check_layer, check_least, check_shares, check_split

__all__ = [
    "SpeechAugment",
    "SpeechConfig",
    "SpeechData",
    "SpeechFeatures",
    "SpeechLive",
    "SpeechNet",
    "SpeechSearch",
]


@dataclass(frozen=True)
class SpeechData:
    """What to read; the table [data] of a recipe."""

    path: str = key(
        "", "a folder with train, valid and test.jsonl, spoken digits (zip or folder), or a data set by name"
    )
    train: str = key("", "instead of path: the manifest for training, JSONL or a folder of name.wav and name.txt")
    valid: str = key("", "instead of path: the manifest for validation")
    test: str = key("", "instead of path: the manifest for the test")
    digits: Literal["isolated", "connected"] = key(
        "isolated", "of spoken digits, what valid and test are: single digits, or strings of 3 to 7"
    )
    left_out: str = key("", "of spoken digits: this speaker is the test part and is not trained on; empty: nobody")
    split: tuple[float, ...] = key(
        (0.8, 0.1, 0.1), "shares of a manifest or folder that has no parts, by transcript"
    )
    tokens: Literal["characters", "words", "byte_pairs"] = key("characters", "what the network writes")
    size: int = key(0, "most kinds of token; 0: all, or 4096 byte pairs")
    case: Literal["lower", "keep"] = key("lower", "lower: transcripts in lower case")
    longest: float = key(20.0, "recordings of more seconds are not trained on")
    batch: int = key(4000, "frames of a training batch: recordings times the longest of them")
    pool: int = key(8, "batches among which recordings are sorted by length, for less padding; 1: not sorted")


@dataclass(frozen=True)
class SpeechFeatures:
    """What the network hears; the table [features] of a recipe."""

    rate: int = key(8000, "samples a second; recordings of other rates are resampled")
    kind: Literal["filter_banks", "cepstra"] = key("filter_banks", "log-mel filter banks, or MFCC")
    size: int = key(40, "filters, or coefficients")
    normalisation: Literal["none", "utterance", "running"] = key(
        "running", "mean 0 and variance 1 of each feature: utterance needs the whole recording, running can be live"
    )


@dataclass(frozen=True)
class SpeechAugment:
    """How training recordings are disturbed, anew each time; the table [augment] of a recipe."""

    join: tuple[int, ...] = key((1, 1), "each row is so many recordings, from-to, one after the other")
    gap: float = key(0.2, "most seconds of near silence between joined recordings, and around a row")
    speed: float = key(0.1, "recordings are played up to this share faster or slower")
    loudness: float = key(0.0, "louder or softer by up to so many decibels")
    noise: float = key(0.0, "share of rows that get noise")
    snr: tuple[float, ...] = key((10.0, 40.0), "decibels between speech and noise, from-to")
    bands: int = key(1, "bands of features that are hidden (SpecAugment, Park et al. 2019)")
    band: int = key(8, "features of the widest of them")
    stretches: int = key(1, "stretches of time that are hidden; too much at first keeps CTC from learning at all")
    stretch: int = key(10, "frames of the longest of them")


@dataclass(frozen=True)
class SpeechNet:
    """The network; the table [model] of a recipe."""

    widths: tuple[int, ...] = key((5, 3), "frames that each subsampling convolution reads")
    strides: tuple[int, ...] = key((2, 2), "and by how many it moves: their product of frames becomes one step")
    channels: int = key(128, "features after each convolution")
    layer: str = key("gru", "a recurrent layer by name: lstm, gru, sru, mingru, ...")
    hidden: int = key(128, "units of each layer and direction")
    depth: int = key(2, "layers")
    bidirectional: bool = key(True, "read from both ends, for recordings; false: causal, for live listening too")
    dropout: float = key(0.2, "share of units dropped after each layer in training")
    recurrent_dropout: float = key(0.0, "share of each layer's memory that it does not hear, for a whole recording")
    head: Literal["ctc", "transducer"] = key("ctc", "how steps become tokens (Graves et al. 2006; Graves 2012)")
    embedding: int = key(64, "of the transducer: size of the vector of a token that was written")
    prediction: int = key(128, "of the transducer: units of the network that reads what was written, and joiner")
    auxiliary: float = key(0.3, "of the transducer: weight of a CTC loss on the same encoder, which learns sooner")
    languages: bool = key(False, "a second head says which language it heard; the manifest names it")
    language_weight: float = key(0.3, "of its loss")


@dataclass(frozen=True)
class SpeechSearch:
    """How transcripts are found; the table [search] of a recipe."""

    beam: int = key(1, "hypotheses side by side; 1: greedy, the language model is not asked")
    language_model: str = key(
        "none", "none, words or characters (n-grams of the training transcripts), or a run of a language model"
    )
    order: int = key(3, "words or characters of an n-gram")
    text: str = key("", "a text file that the n-grams learn from beside the transcripts, a sentence a line")
    weight: float = key(0.5, "of the language model")
    bonus: float = key(0.5, "for each word of the language model, which else likes few")
    tune: bool = key(False, "choose weight and bonus by the validation part when training ends")
    lexicon: Literal["none", "training"] = key("none", "training: only words of the training transcripts are said")


@dataclass(frozen=True)
class SpeechLive:
    """What live listening does; the table [live] of a recipe."""

    silence: float = key(0.8, "seconds without a token after which what was said is final")


@dataclass(frozen=True)
class SpeechConfig:
    """A recognizer: data, features, disturbance, network, search, live listening."""

    data: SpeechData = key(SpeechData(), "what to read")
    features: SpeechFeatures = key(SpeechFeatures(), "what the network hears")
    augment: SpeechAugment = key(SpeechAugment(), "how training recordings are disturbed")
    model: SpeechNet = key(SpeechNet(), "the network")
    search: SpeechSearch = key(SpeechSearch(), "how transcripts are found")
    live: SpeechLive = key(SpeechLive(), "what live listening does")

    def __post_init__(self) -> None:
        _check_data(self.data, self.features)
        _check_augment(self.augment)
        _check_model(self.model, self.features)
        _check_search(self.search, self.model, self.data)
        if not self.live.silence > 0:
            raise ConfigError(f"live.silence: expected a positive number of seconds, got {self.live.silence}")


def _check_data(data: SpeechData, features: SpeechFeatures) -> None:
    files = [name for name in ("train", "valid", "test") if getattr(data, name)]
    if files and (data.path or len(files) < 3):
        raise ConfigError(
            f"data.{files[0]}: expected data.train, data.valid and data.test together and no data.path, "
            f"got {', '.join(files)}" + (f" and path = {data.path!r}" if data.path else "")
        )
    check_split(data.split)
    check_least("data", data, 1, "batch", "pool")
    if data.size < 0 or data.size == 1:
        raise ConfigError(f"data.size: expected 0 (no limit) or at least 2 kinds of token, got {data.size}")
    if not data.longest > 0:
        raise ConfigError(f"data.longest: expected a positive number of seconds, got {data.longest}")
    check_least("features", features, 1, "size")
    check_least("features", features, 4000, "rate")


def _check_augment(augment: SpeechAugment) -> None:
    for name, least in (("join", 1), ("snr", -100.0)):
        values = getattr(augment, name)
        if len(values) != 2 or not least <= values[0] <= values[1]:
            raise ConfigError(f"augment.{name}: expected two numbers from {least} up, from-to, got {list(values)}")
    check_least("augment", augment, 0, "gap", "bands", "band", "stretches", "stretch", "loudness")
    if not 0 <= augment.speed < 0.5:
        raise ConfigError(f"augment.speed: expected a share from 0 to below 0.5, got {augment.speed}")
    if not 0 <= augment.noise <= 1:
        raise ConfigError(f"augment.noise: expected a share from 0 to 1, got {augment.noise}")


def _check_model(model: SpeechNet, features: SpeechFeatures) -> None:
    check_layer(model.layer, model.recurrent_dropout)
    check_least("model", model, 1, "channels", "hidden", "depth", "embedding", "prediction")
    check_least("model", model, 0, "auxiliary", "language_weight")
    check_shares("model", model, "dropout", "recurrent_dropout")
    pairs = list(zip(model.widths, model.strides, strict=False))
    if len(model.widths) != len(model.strides) or not pairs or any(not 1 <= s <= w for w, s in pairs):
        raise ConfigError(
            "model.widths, model.strides: expected as many of each, every width at least its stride and that at "
            f"least 1, such as [5, 3] and [2, 2], got {list(model.widths)} and {list(model.strides)}"
        )
    if not model.bidirectional and features.normalisation == "utterance":
        raise ConfigError(
            "features.normalisation: utterance needs the whole recording and model.bidirectional = false is to "
            "hear it live; expected running or none"
        )


def _check_search(search: SpeechSearch, model: SpeechNet, data: SpeechData) -> None:
    check_least("search", search, 1, "beam", "order")
    fused = search.language_model != "none" or search.lexicon != "none"
    if search.tune and search.language_model == "none":
        raise ConfigError("search.tune: there is no search.language_model whose weight could be tuned")
    if fused and search.beam == 1:
        raise ConfigError("search.beam: expected more than 1, as a language model or lexicon is asked; such as 8")
    if fused and model.head == "transducer":
        raise ConfigError(
            "search.language_model, search.lexicon: expected none with model.head = 'transducer', whose prediction "
            "network knows the language; use model.head = 'ctc' with a language model"
        )
    if fused and data.tokens == "byte_pairs":
        raise ConfigError("search.language_model, search.lexicon: expected data.tokens 'characters' or 'words'")
    if search.text and search.language_model not in ("words", "characters"):
        raise ConfigError("search.text: expected search.language_model = 'words' or 'characters' to learn from it")
