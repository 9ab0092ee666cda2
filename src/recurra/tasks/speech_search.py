"""How a recognizer finds transcripts: greedily or with a beam, alone or with a language model and a list of words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurra.data.text import read_text
from recurra.errors import RunError
from recurra.heads.alignment import Decoder, Greedy, PrefixBeam
from recurra.heads.fusion import Guide, LanguageModel, Together, TokenFusion, WordFusion
from recurra.heads.lexicon import Lexicon
from recurra.heads.ngrams import NGrams
from recurra.heads.transducer import Transducer
from recurra.heads.transducer_search import BeamSearch, GreedySearch, Search
from recurra.tasks.speech_config import SpeechSearch
from recurra.tasks.speech_tokens import SpeechTokens, plain_text

__all__ = ["Speller"]


class Speller:
    """What knows how words are written: the table [search] of a recipe, and what was learned for it.

    weight, bonus  those of the table, or what `SpeechRecognizer.finish` found to be better
    """

    def __init__(self, config: SpeechSearch) -> None:
        self.config, self.weight, self.bonus = config, config.weight, config.bonus
        self.spellings: list[str] = []
        self.model: LanguageModel[Any] | None = None
        self.words: list[str] = []

    def learn(self, texts: Sequence[str], tokens: SpeechTokens, case: str) -> None:
        """Learn from the training transcripts what the table asks for."""
        self.spellings = tokens.spellings
        if self.config.lexicon == "training":
            self.words = sorted({word for text in texts for word in text.split()})
        if self.config.language_model in ("words", "characters"):
            lines = [*texts, *self._more(case)]
            self.model = NGrams.learn(lines, self.config.order, self.config.language_model)

    def _more(self, case: str) -> list[str]:
        """The lines of ``search.text``."""
        if not self.config.text:
            return []
        return [plain_text(line, case) for line in read_text(Path(self.config.text)).splitlines() if line.strip()]

    def decoder(self) -> Decoder:
        """For the head ctc."""
        return Greedy() if self.config.beam == 1 else PrefixBeam(self.config.beam, self.guide())

    def guide(self) -> Guide[Any] | None:
        """Language model and list of words, if there are any."""
        guides: list[Guide[Any]] = []
        if self.model is not None:
            kind = WordFusion if self._by_words() else TokenFusion
            guides.append(kind(self.model, self.spellings, self.weight, self.bonus))
        if self.words:
            guides.append(Lexicon(self.words, self.spellings))
        return Together(*guides) if len(guides) > 1 else guides[0] if guides else None

    def _by_words(self) -> bool:
        return isinstance(self.model, NGrams) and self.model.units == "words"

    def transducer(self, head: Transducer) -> Search:
        """For the head transducer."""
        return GreedySearch(head) if self.config.beam == 1 else BeamSearch(head, self.config.beam)

    def to_dict(self) -> dict[str, Any]:
        """What was learned, as plain values for JSON."""
        model = self.model.learned() if isinstance(self.model, NGrams) else None
        return {"weight": self.weight, "bonus": self.bonus, "words": self.words, "ngrams": model}

    def restore(self, values: Any, tokens: SpeechTokens) -> None:
        """The inverse of `to_dict`. Raises RunError for what it did not write."""
        self.spellings = tokens.spellings
        try:
            self.weight, self.bonus, self.words = float(values["weight"]), float(values["bonus"]), values["words"]
            self.model = None if values["ngrams"] is None else NGrams.relearn(values["ngrams"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"what the search learned is broken: {error!r}") from error
