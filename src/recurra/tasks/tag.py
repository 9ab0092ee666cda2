"""Named entities: who, where and what a sentence names, by a tag for each token.

    p(tags | tokens) = CRF(W y_t + b)          y = layers(features of the tokens)

Bidirectional recurrent layers under a CRF (Huang et al. 2015) over words and their characters (Lample et al. 2016;
Ma and Hovy 2016), with the states of character language models if there are any (Akbik et al. 2018).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recurra.data.batches import RowBatches
from recurra.data.conll import Sentence, read_conll
from recurra.data.pieces import Piece
from recurra.data.spans import spans
from recurra.data.vectors import WordVectors, read_vectors
from recurra.errors import ConfigError, DataError, NotCausalError, RunError
from recurra.heads.crf import CRF
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.contextual import ContextualWords
from recurra.tasks.entity_scores import EntityScores
from recurra.tasks.tag_answers import answer, confidences, cut, joiner
from recurra.tasks.tag_config import TagConfig, TagData, TagNet
from recurra.tasks.tag_files import columns_of, read_parts
from recurra.tasks.tag_network import TagNetwork
from recurra.tasks.tag_pictures import draw_scores, to_html
from recurra.tasks.tag_stream import TagStream
from recurra.tasks.tag_vocabulary import TagBatch, TagRows, TagVocabulary, plain

__all__ = ["TagConfig", "TagData", "TagNet", "Tagger"]

BOLDNESS = tuple(step / 2 for step in range(-2, 11))  # what is tried in the end
COARSE = (0.0, 1.0, 2.0, 3.0, 4.0)  # and in each validation
STEPS = 8192  # tokens, with padding, that are answered at once


class Tagger(Estimator):
    """A model that finds entities in sentences, trained on column files.

    >>> tagger = Tagger(TagConfig(data=TagData(path="my_folder")))       # doctest: +SKIP
    >>> tagger.fit("runs/names")                                         # doctest: +SKIP
    >>> tagger.predict("Angela Merkel visited Paris.")["entities"]       # doctest: +SKIP
    """

    name = "tag"
    source: ClassVar[str] = "data.path"
    maximize: ClassVar[bool] = True
    Config = TagConfig
    config: TagConfig

    def __init__(self, config: TagConfig | None = None) -> None:
        super().__init__(config)
        self.vocabulary: TagVocabulary | None = None
        self.vectors: WordVectors | None = None
        self.contextual: ContextualWords | None = None
        self.boldness = 0.0  # see `finish`

    def data(self) -> Data:
        """The sentences in three parts; words are learned from the first one, once."""
        parts, config = read_parts(self.config.data), self.config.data
        if not any(span for sentence in parts[0] for span in spans(sentence.tags)):
            raise DataError("the training part has no entity; is data.tag the right column?")
        if self.vocabulary is None:
            more = self._read_vectors(parts)
            self.vocabulary = TagVocabulary.learn(parts[0], more, pairs=self.config.model.pairs > 0)
        if self.contextual is None and self.config.model.language_models:
            net = self.config.model
            self.contextual = ContextualWords.load(net.language_models, joiner(config.units), net.language_layers)
        self._check_causal()
        train = self._rows(parts[0], config.unknown).batches(config.batch, config.unit, True, config.pool)
        return Data(train, self._held_out(parts[1]), self._held_out(parts[2]))

    def network(self) -> nn.Module:
        contextual = self.contextual
        if contextual is None:
            return TagNetwork(self.config.model, self._vocabulary())
        network = TagNetwork(self.config.model, self._vocabulary(), contextual.shape, contextual.networks)
        return network.cpu()  # an earlier training may have left the language models on its device

    @torch.no_grad()
    def begin(self, network: nn.Module) -> None:
        """Put the word vectors of ``data.vectors`` in, scaled to the size of those that are drawn."""
        self.trained = None
        if self.vectors is None:
            return
        assert isinstance(network, TagNetwork)
        numbers = self._vocabulary().numbers["words"]
        if self.config.model.words != self.vectors.values.shape[1]:
            raise ConfigError(
                f"model.words: expected {self.vectors.values.shape[1]} as the vectors of {self.config.data.vectors}"
                f", got {self.config.model.words}"
            )
        found = [(numbers[w], i) for i, w in enumerate(self.vectors.words) if w in numbers]
        places, rows = torch.tensor(found).T
        for table in [member.words for member in network.members if member.words is not None]:
            scale = table.weight.std() / self.vectors.values.std()
            table.weight[places] = self.vectors.values[rows] * scale

    def loss(self, network: nn.Module, batch: TagBatch, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the nats of all sentences, and the number of their tokens; nothing is carried."""
        return network(batch).sum(), int(batch.lengths.sum()), None

    @torch.no_grad()
    def finish(self, data: Data) -> None:
        """Choose what is added to each tag that begins an entity, so that F1 of the validation part is best.

        Likelihood alone is careful: of new names it says far fewer than there are. F1 wants about as many.
        """
        self._tune(self._network(), data.valid, BOLDNESS)

    def _tune(self, network: TagNetwork, batches: Batches, choices: Sequence[float]) -> None:
        if self.config.model.boldness == "learned":
            return
        on = [_on(batch, next(network.parameters()).device) for batch in batches.epoch(0)]
        known = [(network.scores(batch), batch) for batch in on]

        def f1(boldness: float) -> tuple[float, float]:
            counts = EntityScores()
            for scores, batch in known:
                self._count(counts, network.head, scores + boldness * self._begins(scores), batch)
            return counts.total.f1, -abs(boldness)

        self.boldness = max(choices, key=f1)

    def _begins(self, like: Tensor) -> Tensor:
        """1 for each tag that begins an entity ``(K,)``, else 0."""
        return torch.tensor([tag[0] in "BS" for tag in self._names]).to(like)

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """F1, precision and recall of entities as conlleval counts them, from 0 to 1; share of right tags; nats.

        Entities of a type that was never seen in training count as missed, and are told as ``unknown_entities``;
        for the nats and the share of right tags they are O. While training, each validation tunes the boldness.
        """
        assert isinstance(network, TagNetwork)
        if self.trained is None:
            self._tune(network, batches, COARSE)
        scores, nats, right, tokens, missed = self._scores(network, batches)
        f1 = scores.total
        found = {"f1": f1.f1, "precision": f1.precision, "recall": f1.recall}
        found |= {"accuracy": right / max(1, tokens), "loss": nats / max(1, tokens)}
        return found | ({"unknown_entities": float(missed)} if missed else {})

    def _scores(self, network: TagNetwork, batches: Batches) -> tuple[EntityScores, float, int, int, int]:
        scores, nats, right, tokens, missed = EntityScores(), 0.0, 0, 0, 0
        for batch in batches.epoch(0):
            batch = _on(batch, next(network.parameters()).device)
            given = network.scores(batch)
            found = self._count(scores, network.head, self._bold(given), batch)
            nats += float(network.nats(given, batch).sum())
            right += int((found == batch.tags).sum())
            tokens, missed = tokens + int(batch.lengths.sum()), missed + int(batch.missed.sum())
        if missed:
            scores.there["(never seen)"] += missed
        return scores, nats, right, tokens, missed

    def _bold(self, scores: Tensor) -> Tensor:
        return scores + self.boldness * self._begins(scores)

    def _count(self, counts: EntityScores, head: CRF, scores: Tensor, batch: TagBatch) -> Tensor:
        """Add the sentences of a batch to ``counts``; returns the likeliest tags (B, T)."""
        names, (found, _) = self._names, head.decode(scores, batch.lengths)
        sentences = zip(batch.tags.tolist(), found.tolist(), batch.lengths.tolist(), strict=True)
        for right, told, length in sentences:
            there, said = ([names[tag] for tag in tags[:length]] for tags in (right, told))
            counts.add(spans(there), spans(said))
        return found

    def predict(self, raw: str | Sequence[str]) -> dict[str, Any]:
        """The entities of one line of text, or of a sentence that is already a list of tokens.

            {"text", "entities": [{"type", "text", "begin", "end", "confidence"}], "tokens", "tags", "shown"}

        ``text[begin:end]`` is the entity. Its confidence is the probability, given by the model, that exactly these
        tokens are an entity of this type. Tags are BIO.
        """
        return self.predict_many([raw])[0]

    @torch.no_grad()
    def predict_many(self, raws: Sequence[str | Sequence[str]]) -> list[dict[str, Any]]:
        """The answers of `predict` for many inputs, in their order."""
        network, names, inputs = self._network(), self._names, [cut(raw, self.config.data.units) for raw in raws]
        answers: list[dict[str, Any]] = [answer(text, [], [], []) for text, _ in inputs]
        for chosen, batch in self._batches(inputs):
            scores = self._bold(network.scores(batch))
            tags, _ = network.head.decode(scores, batch.lengths)
            found = [spans([names[tag] for tag in row if tag >= 0]) for row in tags.tolist()]
            shares = confidences(network.head, scores, batch.lengths, names, found)
            for index, entities, share in zip(chosen, found, shares, strict=True):
                answers[index] = answer(*inputs[index], entities, share)
        return answers

    @torch.no_grad()
    def best(self, raw: str | Sequence[str], n: int = 5) -> list[dict[str, Any]]:
        """The n likeliest ways to tag one input, the likeliest first: ``entities``, ``tags`` and ``probability``.

        There are fewer if the sentence is so short that it has fewer.
        """
        if n < 1:
            raise ConfigError(f"best: expected n of at least 1, got {n}")
        network, given = self._network(), cut(raw, self.config.data.units)
        if not given[1]:
            return [{"entities": [], "tags": [], "probability": 1.0}]
        ((_, batch),) = self._batches([given])
        scores = self._bold(network.scores(batch))
        names, (tags, nats) = self._names, network.head.best(scores, batch.lengths, n)
        answers = []
        for row, log in zip(tags[0].tolist(), nats[0].tolist(), strict=True):
            if log == -torch.inf or min(row) < 0:
                break
            found = spans([names[tag] for tag in row])
            told = answer(*given, found, confidences(network.head, scores, batch.lengths, names, [found])[0])
            answers.append({"entities": told["entities"], "tags": told["tags"], "probability": math.exp(log)})
        return answers

    def stream(self, raw: str | Sequence[str] = "") -> TagStream:
        """A `TagStream` that has read ``raw``: push a token, and it tells its tag.

        Raises NotCausalError if the network reads from both ends.
        """
        if self.config.model.bidirectional:
            raise NotCausalError(
                "this tagger reads each sentence from both ends and has no single step; train one with "
                "model.bidirectional = false to stream tags"
            )
        vocabulary = self._vocabulary()
        stream = TagStream(self._network(), vocabulary, self.config.model.scheme, self.contextual, self._bold)
        for piece in cut(raw, self.config.data.units)[1]:
            stream.push(piece.text)
        return stream

    def read(self, source: str) -> Batches:
        """The sentences of a column file."""
        return self._held_out(read_conll(source, columns_of(self.config.data)))

    def explain(self) -> str:
        """Which kernel runs for a batch of sentences."""
        network, rows = self._network(), [Sentence(("a",) * 32, ("O",) * 32)] * self._sentences()
        (batch,) = self._rows(rows).batches(len(rows), "rows").epoch(0)
        with dispatch.record() as log:
            network(batch)
        return "\n".join(dict.fromkeys(str(decision) for decision in log))

    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """F1 by type, and which types are taken for which, as ``entities.png``."""
        with torch.no_grad():
            scores, *_ = self._scores(self._network(), batches)
        draw_scores(scores, folder / "entities.png")
        return [folder / "entities.png"]

    def draw_answer(self, raw: str, folder: Path, name: str) -> list[Path]:
        """The text with its entities marked, as HTML."""
        path = folder / f"{name}.html"
        to_html(self.predict(raw), path)
        return [path]

    def learned(self) -> dict[str, Any]:
        models = [] if self.contextual is None else self.contextual.to_dict()
        return {**self._vocabulary().to_dict(), "language_models": models, "boldness": self.boldness}

    def relearn(self, values: dict[str, Any]) -> None:
        self.vocabulary = TagVocabulary.from_dict(values)
        models, self.boldness = values.get("language_models", []), float(values.get("boldness", 0.0))
        units, layers = self.config.data.units, self.config.model.language_layers
        self.contextual = ContextualWords.from_dict(models, joiner(units), layers) if models else None

    @property
    def _names(self) -> list[str]:
        """The tags by their numbers."""
        return self._vocabulary().tags(self.config.model.scheme)

    def _batches(self, inputs: list[tuple[str, list[Piece]]]) -> list[tuple[list[int], TagBatch]]:
        """The inputs that have tokens in batches, each with the places of its inputs."""
        places = [place for place, (_, pieces) in enumerate(inputs) if pieces]
        tokens = [tuple(piece.text for piece in inputs[place][1]) for place in places]
        rows = self._rows([Sentence(t, ("O",) * len(t)) for t in tokens])
        order = RowBatches(range(len(places)), list(map(len, tokens)), lambda rows, _: rows, STEPS, "steps")
        random, device = torch.Generator(), self._device()
        return [
            ([places[row] for row in group], _on(rows.collate([rows[row] for row in group], random), device))
            for group in order.epoch(0)
        ]

    def _rows(self, sentences: Sequence[Sentence], unknown: float = 0.0) -> TagRows:
        return TagRows(sentences, self._vocabulary(), self.config.model.scheme, self.contextual, unknown)

    def _held_out(self, sentences: list[Sentence]) -> Batches:
        config = self.config.data
        return self._rows(sentences).batches(config.batch, config.unit)

    def _read_vectors(self, parts: list[list[Sentence]]) -> Sequence[str]:
        """The words that are known by their vectors alone: of all parts, and from the top of the file."""
        config = self.config.data
        if not config.vectors:
            return ()
        needed = {plain(token) for part in parts for sentence in part for token in sentence.tokens}
        self.vectors = read_vectors(config.vectors, needed, self.config.model.words, config.vectors_keep)
        told = f"{config.vectors}: {self.vectors.share:.1%} of {len(needed)} kinds of word have a vector"
        self.say(told)
        return [word for word in self.vectors.words if word == plain(word)]

    def _check_causal(self) -> None:
        if self.contextual and not self.contextual.causal and not self.config.model.bidirectional:
            raise ConfigError(
                "model.language_models: one of them reads backwards, which a tagger with model.bidirectional = "
                "false cannot; leave it out"
            )

    def _sentences(self) -> int:
        data = self.config.data
        return data.batch if data.unit == "rows" else max(1, data.batch // 32)

    def _device(self) -> torch.device:
        return next(self.ready().parameters()).device

    def _network(self) -> TagNetwork:
        network = self.ready()
        assert isinstance(network, TagNetwork)
        return network

    def _vocabulary(self) -> TagVocabulary:
        if self.vocabulary is None:
            raise RunError("Tagger has no vocabulary yet; call fit(...) or load(folder)")
        return self.vocabulary


def _on(batch: TagBatch, device: torch.device) -> TagBatch:
    moved = [
        value if value is None or name == "lengths" else value.to(device) for name, value in batch._asdict().items()
    ]
    return TagBatch(*moved)
