"""How a recognizer finds transcripts: greedily or by a beam, alone or with a language model and a list of words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recurra import config as configs
from recurra.data.text import read_text
from recurra.errors import ConfigError, RunError
from recurra.heads.alignment import Decoder, Greedy, PrefixBeam
from recurra.heads.fusion import Guide, Together, TokenFusion, WordFusion
from recurra.heads.lexicon import Lexicon
from recurra.heads.ngrams import NGrams
from recurra.heads.recurrent_model import RecurrentModel
from recurra.heads.transducer import Transducer
from recurra.heads.transducer_search import BeamSearch, GreedySearch, Search
from recurra.heads.word_errors import word_errors
from recurra.tasks.language_model import LanguageModel as TrainedModel
from recurra.tasks.language_model import LanguageModelConfig
from recurra.tasks.speech_config import SpeechSearch
from recurra.tasks.speech_tokens import SpeechTokens, plain_text

__all__ = ["Speller"]

WEIGHTS, BONUSES = (0.2, 0.4, 0.6, 0.8, 1.0), (-0.5, 0.0, 0.5, 1.0, 2.0)  # that `tune` tries


class Speller:
    """What knows how words are written: the table [search] of a recipe, and what was learned for it.

    weight, bonus  those of the table, or what `SpeechRecognizer.finish` found to be better
    """

    def __init__(self, config: SpeechSearch) -> None:
        self.config, self.weight, self.bonus = config, config.weight, config.bonus
        self.spellings: list[str] = []
        self.ngrams: NGrams | None = None
        self.reader: TrainedModel | None = None
        self.words: list[str] = []

    def learn(self, texts: Sequence[str], tokens: SpeechTokens, case: str) -> None:
        """Learn from the training transcripts what the table asks for."""
        self.spellings = tokens.spellings
        if self.config.lexicon == "training":
            self.words = sorted({word for text in texts for word in text.split()})
        kind = self.config.language_model
        if kind in ("words", "characters"):
            self.ngrams = NGrams.learn([*texts, *self._more(case)], self.config.order, kind)
        elif kind != "none":
            self.reader = TrainedModel.load(kind)
            data = self.reader.config.data
            if data.backwards or data.tokens != "characters":
                raise ConfigError(
                    f"search.language_model: expected a run that reads characters from the beginning, {kind} reads "
                    f"{data.tokens}{' from the end' if data.backwards else ''}"
                )

    @property
    def network(self) -> nn.Module | None:
        """The network of a language model's run, if there is one; its weights are kept with the recognizer's."""
        return None if self.reader is None else self.reader.ready().requires_grad_(False)

    def _more(self, case: str) -> list[str]:
        """The lines of ``search.text``."""
        if not self.config.text:
            return []
        return [plain_text(line, case) for line in read_text(Path(self.config.text)).splitlines() if line.strip()]

    def tune(self, heard: Sequence[Tensor], texts: Sequence[str], tokens: SpeechTokens) -> None:
        """Choose weight and bonus so that fewest words are wrong: first the one, then the other.

        heard  log probabilities ``(J, kinds)`` of recordings, of which ``texts`` are the transcripts
        """

        def errors() -> float:
            decoder = self.decoder()
            found = [decoder.result(decoder.push(one, decoder.initial())) for one in heard]
            return word_errors(texts, [tokens.text(one.tokens) for one in found]).wer

        for name, choices in (("weight", WEIGHTS), ("bonus", BONUSES)):
            known = {getattr(self, name): errors()}
            for choice in choices:
                setattr(self, name, choice)
                known.setdefault(choice, errors())
            setattr(self, name, min(known, key=lambda choice: known[choice]))

    def decoder(self) -> Decoder:
        """For the head ctc."""
        return Greedy() if self.config.beam == 1 else PrefixBeam(self.config.beam, self.guide())

    def guide(self) -> Guide[Any] | None:
        """Language model and list of words, if there are any."""
        guides: list[Guide[Any]] = []
        if self.ngrams is not None:
            kind = WordFusion if self.ngrams.units == "words" else TokenFusion
            guides.append(kind(self.ngrams, self.spellings, self.weight, self.bonus))
        if self.reader is not None:
            network: Any = self.reader.ready()
            model = RecurrentModel(network.step, self.reader.tokens.encode)  # type: ignore[union-attr]
            guides.append(TokenFusion(model, self.spellings, self.weight, self.bonus))
        if self.words:
            guides.append(Lexicon(self.words, self.spellings))
        return Together(*guides) if len(guides) > 1 else guides[0] if guides else None

    def transducer(self, head: Transducer) -> Search:
        """For the head transducer."""
        return GreedySearch(head) if self.config.beam == 1 else BeamSearch(head, self.config.beam)

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as plain values for JSON."""
        ngrams = None if self.ngrams is None else self.ngrams.learned()
        reader = None
        if self.reader is not None:
            reader = {"config": configs.to_dict(self.reader.config), "vocabulary": self.reader.learned()}
        found = {"weight": self.weight, "bonus": self.bonus, "words": self.words}
        return found | {"ngrams": ngrams, "reader": reader}

    def restore(self, values: Any, tokens: SpeechTokens) -> None:
        """The inverse of `to_dict`, without weights. Raises RunError for what it did not write."""
        self.spellings = tokens.spellings
        try:
            self.weight, self.bonus, self.words = float(values["weight"]), float(values["bonus"]), values["words"]
            self.ngrams = None if values["ngrams"] is None else NGrams.relearn(values["ngrams"])
            self.reader = None if values["reader"] is None else _reader(values["reader"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"what the search learned is broken: {error!r}") from error


def _reader(values: dict[str, Any]) -> TrainedModel:
    """A language model without its weights."""
    model = TrainedModel(configs.from_dict(LanguageModelConfig, values["config"]))
    model.relearn(values["vocabulary"])
    model.trained = model.network()
    return model
