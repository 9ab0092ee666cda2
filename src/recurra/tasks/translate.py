"""Machine translation: the probability of a sentence in one language given a sentence in another.

    log p(y_1 .. y_n | x) = sum over t of log p(y_t | y_1 .. y_{t-1}, x)          y_n is the end

An encoder reads the source from both sides, a decoder writes the target and looks back at the source by attention
(Bahdanau et al. 2015, Luong et al. 2015); byte pairs of both languages together leave no word unknown (Sennrich et
al. 2016). Translations are found by beam search (Wu et al. 2016).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recurra.data.batches import RowBatches
from recurra.data.parallel import SentencePair, read_parallel, read_part
from recurra.data.sources import SOURCES, get
from recurra.data.text import TOKENS
from recurra.errors import DataError, RunError
from recurra.heads.attention import overlap
from recurra.heads.search import Found
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.attention_picture import draw_attention
from recurra.tasks.checks import restore_tokens
from recurra.tasks.translation_config import SearchConfig, TranslationConfig
from recurra.tasks.translation_network import Sentences, TranslationNetwork, network_of
from recurra.tasks.translation_score import score, signatures
from recurra.tasks.translation_search import look_back, translate
from recurra.tasks.translation_stream import TranslationStream
from recurra.tasks.translation_text import Row, SentenceTokens, collate, join_pieces, pieces_of

__all__ = ["Translator"]


class Translator(Estimator):
    """A model that is trained on parallel text and translates sentences.

    >>> model = Translator(TranslationConfig(TranslationData(path="tatoeba-en-es")))     # doctest: +SKIP
    >>> model.fit("runs/tatoeba")                                                               # doctest: +SKIP
    >>> print(model.predict("I have no idea.")["translation"])                                  # doctest: +SKIP

    ``notes`` says what was read and what was left out of training, after `data`.
    """

    name = "translate"
    source: ClassVar[str] = "data.path"
    Config = TranslationConfig
    config: TranslationConfig

    def __init__(self, config: TranslationConfig | None = None) -> None:
        super().__init__(config)
        self.tokens: SentenceTokens | None = None
        self.notes: dict[str, str] = {}

    def data(self) -> Data:
        """The sentence pairs in three parts; tokens are learned from the first one, of both languages together."""
        config = self.config.data
        path = get(config.path) if config.path in SOURCES else config.path
        parts = read_parallel(path, (config.source, config.target), config.test, config.split)
        if self.tokens is None:
            text = "\n".join(f" {line}" for side in zip(*parts.train, strict=True) for line in side)
            self.tokens = SentenceTokens(TOKENS[config.tokens].learn(text, config.size))
        self.notes = {f"the {part} part is": name for part, name in parts.files.items()}
        train = self._batches(self._trainable(parts.train), shuffled=True)
        self.say(*(f"{what}: {value}" for what, value in self.notes.items()))
        return Data(train, self._batches(self._rows(parts.valid)), self._batches(self._rows(parts.test)))

    def _trainable(self, pairs: list[SentencePair]) -> list[Row]:
        """Rows that can be learned from; the others are counted in ``notes``."""
        whole = self._rows([pair for pair in pairs if pair.source and pair.target])
        longest = self.config.data.longest
        rows = [row for row in whole if max(len(row.source), len(row.target)) <= longest]
        self.notes["pairs to train on"] = f"{len(rows):,} of {len(pairs):,}"
        if len(whole) < len(pairs):
            self.notes["left out, a side is empty"] = f"{len(pairs) - len(whole):,}"
        if len(rows) < len(whole):
            self.notes[f"left out, more than data.longest={longest} tokens"] = f"{len(whole) - len(rows):,}"
        if not rows:
            raise DataError(
                f"{self.config.data.path}: no pair to train on among {len(pairs)}; "
                + ", ".join(f"{what}: {count}" for what, count in self.notes.items())
            )
        return rows

    def _rows(self, pairs: list[SentencePair]) -> list[Row]:
        tokens = self._tokens()
        return [Row(pair, tokens.encode(pair.source), tokens.encode(pair.target)) for pair in pairs]

    def _batches(self, rows: list[Row], shuffled: bool = False) -> RowBatches:
        lengths, tokens = [len(row.source) + len(row.target) + 1 for row in rows], self._tokens()
        config = self.config.data
        make = partial(_collate, tokens)
        return RowBatches(rows, lengths, make, config.batch, "steps", shuffled, config.pool)

    def network(self) -> nn.Module:
        return network_of(len(self._tokens()), self.config.model)

    def loss(self, network: nn.Module, batch: Sentences, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the nats over all target tokens, ends among them, and their number; nothing is carried."""
        config, count = self.config.loss, int(batch.target_lengths.sum())
        nats, weights = network(batch, config.smoothing if network.training else 0.0)
        if network.training and config.coverage:
            nats = nats + config.coverage * overlap(weights).sum()
        return nats, count, None

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Nats and perplexity a target token; with ``score.greedy`` also BLEU and chrF of greedy translations."""
        total, count, device = 0.0, 0, next(network.parameters()).device
        for batch in batches.epoch(0):
            nats, tokens, _ = self.loss(network, Sentences(*(part.to(device) for part in batch)), None)
            total, count = total + float(nats), count + tokens
        found = {"loss": total / max(1, count), "perplexity": math.exp(min(total / max(1, count), 700.0))}
        return found | (self._score(network, batches, beam=1) if self.config.score.greedy else {})

    def evaluate(self, part: str = "test", source: str | None = None) -> dict[str, float]:
        """Nats and perplexity a target token, and BLEU and chrF of the translations that the beam finds."""
        batches = self.held_out(part, source)
        measured = self.measure(self.ready(), batches)
        return measured | self._score(self.ready(), batches, self.config.search.beam)

    def _score(self, network: nn.Module, batches: Batches, beam: int) -> dict[str, float]:
        rows: Sequence[Row] = batches.rows  # type: ignore[attr-defined]
        search = replace(self.config.search, beam=beam, n_best=1)
        answers = self._answers(network, [row.pair.source for row in rows], search)
        references = [row.pair.target for row in rows]
        return score([answer["translation"] for answer in answers], references, self.config.score.tokenize)

    def signatures(self) -> dict[str, str]:
        """How sacrebleu computes BLEU and chrF."""
        return signatures(self.config.score.tokenize)

    def predict(self, raw: str) -> dict[str, Any]:
        """The translation of one text; see `predict_many`."""
        return self.predict_many([raw])[0]

    @torch.no_grad()
    def predict_many(self, raws: Sequence[str]) -> list[dict[str, Any]]:
        """Translations in the order of the texts, found for many of similar length side by side.

        An answer has the ``translation``, its ``nats_per_token``, with ``search.n_best`` > 1 all translations as
        ``n_best``, and ``pieces`` if the text was too long to be translated as a whole.
        """
        network = self.ready()
        wrong = [raw for raw in raws if not isinstance(raw, str)]
        if wrong:
            raise DataError(f"predict: expected sentences as str, got {type(wrong[0]).__name__}")
        return self._answers(network, raws, self.config.search)

    def _answers(self, network: Any, raws: Sequence[str], search: SearchConfig) -> list[dict[str, Any]]:
        """Answers to all texts: their pieces are translated together, and put together again."""
        tokens = self._tokens()
        pieces = [pieces_of(raw, tokens, self.config.data.longest) for raw in raws]
        flat = [piece for parts in pieces for piece in parts]
        sources = [tokens.encode(piece) for piece in flat]
        found = translate(network, tokens, sources, search)
        texts, best = iter(self._texts(network, flat, sources, found)), iter(found)
        return [
            _answer(raw, [next(texts) for _ in parts], [next(best) for _ in parts], search.n_best)
            for raw, parts in zip(raws, pieces, strict=True)
        ]

    def _texts(
        self, network: TranslationNetwork, flat: list[str], sources: list[list[int]], found: list[list[Found]]
    ) -> list[list[str]]:
        """The text of each sequence found, best first; unknown tokens are copied from where attention looked."""
        tokens = self._tokens()
        texts = [[tokens.decode(one.tokens) for one in best] for best in found]
        for i, best in enumerate(found):
            for k, one in enumerate(best):
                if tokens.unknown in one.tokens:
                    row = Row(SentencePair(flat[i], ""), sources[i], one.tokens)
                    (weights,) = look_back(network, tokens, [row])
                    texts[i][k] = tokens.decode_copied(one.tokens, weights[:-1].argmax(1).tolist(), flat[i])
        return texts

    def stream(self, raw: str) -> TranslationStream:
        """A `TranslationStream`: the translation of ``raw`` as it is written, token by token."""
        network: Any = self.ready()
        return TranslationStream(network, self._tokens(), self.config, raw)

    def draw_answer(self, raw: str, folder: Path, name: str) -> list[Path]:
        """Where attention looked while ``raw`` was translated, a picture for each piece of it."""
        tokens, network = self._tokens(), self.ready()
        drawn = []
        pieces = [piece for piece in pieces_of(raw, tokens, self.config.data.longest) if tokens.encode(piece)]
        for i, piece in enumerate(pieces):
            source = tokens.encode(piece)
            best = translate(network, tokens, [source], self.config.search)[0][0]  # type: ignore[arg-type]
            (weights,) = look_back(network, tokens, [Row(SentencePair(piece, ""), source, best.tokens)])  # type: ignore[arg-type]
            drawn.append(folder / (f"{name}-{i + 1}.png" if len(pieces) > 1 else f"{name}.png"))
            written = [*tokens.pieces(best.tokens), "■"]
            draw_attention(weights, tokens.cut(piece), written, drawn[-1])
        return drawn

    def read(self, source: str) -> Batches:
        """Pairs of a TSV file, or of two files by their prefix, to measure on."""
        return self._batches(self._rows(read_part(source, (self.config.data.source, self.config.data.target))))

    def explain(self) -> str:
        """Which kernel runs for a training batch; translation goes step by step through the equations."""
        length, network = 32, self.ready()
        rows = max(1, self.config.data.batch // (2 * length))
        row = Row(SentencePair("", ""), [0] * length, [0] * (length - 1))
        with dispatch.record() as log:
            network(collate([row] * rows, self._tokens()))
        return "\n".join(str(decision) for decision in log)

    def learned(self) -> dict[str, Any]:
        return self._tokens().tokens.to_dict()

    def relearn(self, values: dict[str, Any]) -> None:
        self.tokens = SentenceTokens(restore_tokens(values, TOKENS))

    def _tokens(self) -> SentenceTokens:
        if self.tokens is None:
            raise RunError("Translator has no vocabulary yet; call fit(...) or load(folder)")
        return self.tokens


def _collate(tokens: SentenceTokens, rows: list[Row], random: torch.Generator) -> Sentences:
    return collate(rows, tokens)


def _answer(raw: str, texts: list[list[str]], found: list[list[Found]], n_best: int) -> dict[str, Any]:
    """The answer to a text from the translations of its pieces, each a list with the best one first."""
    nats = sum(best[0].nats for best in found)
    count = sum(len(best[0].tokens) + best[0].ended for best in found)
    whole = join_pieces([text[0] for text in texts])
    answer = {"text": raw, "translation": whole, "nats_per_token": (0.0 - nats) / max(1, count), "shown": whole}
    if n_best > 1:
        many = [join_pieces([text[min(k, len(text) - 1)] for text in texts]) for k in range(max(map(len, texts)))]
        answer |= {"n_best": many, "shown": "\t".join(many)}
    return answer | ({"pieces": len(texts)} if len(texts) > 1 else {})
