"""Tagging: a conditional random field, alone and on a BiLSTM, against the form that tutorials have."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import peer, plain_crf, plain_tagger
from benchmarks.race import race
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Named, Side
from benchmarks.timing import Effort, Times
from recurra.data.conll import Sentence
from recurra.heads.crf import CRF
from recurra.tasks.tag_config import TagNet
from recurra.tasks.tag_network import TagNetwork
from recurra.tasks.tag_vocabulary import TagBatch, TagRows, TagVocabulary

__all__ = ["run"]

FIELDS = [(40, 32, 13), (100, 32, 7), (40, 32, 50)]  # T, B, K
NETWORKS = {"words": (40, 32, 128), "characters": (100, 32, 128)}  # T, B, H
TYPES = {"words": 6, "characters": 3}  # of entities: 13 and 7 tags in BIO
PLAIN, PADDED, PACKED, THEIRS = "plain", "plain, padded", "plain, packed", "pytorch-crf"
WORDS = 10_000
PLAIN_ERROR = 1e-4  # plain sums of logarithms in float32 are off by so much after 100 steps

ABOUT = """
A conditional random field as tutorials write it in plain PyTorch: a loop over time with `logsumexp` over (B, K, K),
masks by `torch.where`, Viterbi followed back sentence by sentence in Python. First the field alone, with a gradient
of the scores: what its likelihood costs forward and backward, and the best path. Ours also gives the probability of
the best path, which the others do not compute.

Then the whole network, forward and backward or decoding, without an optimizer and without dropout. Words: 100
numbers for each word and 30 from a convolution over its characters, an LSTM of 128 units in each direction, 13
tags, sentences of 18 words on average and 40 at most, as in news and tweets. Characters: no convolution, 7 tags, 50
to 100 characters a sentence. Words and their letters are drawn at random, as frequent and as long as in English.
Recurra is the network of `recurra.Tagger`, which reads each distinct word of a batch once. Plain is the same
network with `nn.LSTM`: packed, or two of them over the padded batch, where one has been reversed within each
sentence; and with the characters of every place of the padded batch. Batches are made beforehand, for all sides.
"""


class Learning:
    """A training step: the mean of nats, backward to all parameters, and to the scores where they are given."""

    def __init__(
        self, module: nn.Module, nats: Callable[[], Tensor], rename: Callable[[Named], Named], scores: Tensor | None
    ) -> None:
        self.nats, self.rename = nats, rename
        self.leaves = dict(module.named_parameters()) | ({} if scores is None else {"scores": scores})

    def __call__(self) -> Tensor:
        for leaf in self.leaves.values():
            leaf.grad = None
        nats = self.nats()
        nats.mean().backward()
        return nats

    def result(self) -> Named:
        """nats and gradients."""
        nats = self().detach()
        found = {
            name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in self.leaves.items()
        }
        return {"nats": nats, **self.rename(found)}


class Decoding:
    """The best tags, as a tensor filled up by -1, or as lists."""

    def __init__(self, decode: Callable[[], Tensor | list[list[int]]]) -> None:
        self.decode = decode

    def __call__(self) -> Tensor | list[list[int]]:
        with torch.inference_mode():
            return self.decode()

    def result(self) -> Named:
        """tags."""
        tags = self()
        if isinstance(tags, Tensor):
            return {"tags": tags}
        longest = max(map(len, tags))
        return {"tags": torch.tensor([row + [-1] * (longest - len(row)) for row in tags])}


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Four tables."""
    fields, kinds = effort.shapes(*FIELDS), list(NETWORKS)
    tables = [
        Table("The field: likelihood and gradients", [_field(shape, True, effort, say) for shape in fields]),
        Table("The field: best path", [_field(shape, False, effort, say) for shape in fields]),
        Table("The network: training", [_network(kind, True, effort, say) for kind in kinds]),
        Table("The network: decoding", [_network(kind, False, effort, say) for kind in kinds]),
    ]
    return Section("tagging", "Tagging", ABOUT, tables)


def _field(shape: tuple[int, int, int], trains: bool, effort: Effort, say: Callable[[str], None]) -> Row:
    time, batch, kinds = shape
    say(f"tagging: crf T{time} B{batch} K{kinds}")
    torch.manual_seed(1)
    crf = CRF(kinds)
    for parameter in crf.parameters():
        nn.init.normal_(parameter)
    scores, tags = torch.randn(batch, time, kinds), torch.randint(kinds, (batch, time))
    sides = _field_sides(crf, scores, tags, _lengths(time, batch), trains)
    label = ("CRF", f"T{time} B{batch} K{kinds}", "")
    return race(label, sides, partial(_values, sides=sides), effort, tolerance=PLAIN_ERROR)


def _field_sides(crf: CRF, scores: Tensor, tags: Tensor, lengths: Tensor, trains: bool) -> dict[str, Side]:
    plain, theirs = plain_crf.of(crf), peer(THEIRS)
    mask = torch.arange(scores.shape[1]) < lengths[:, None]
    if not trains:
        decoders: dict[str, Any] = {
            "recurra": lambda: crf.decode(scores, lengths)[0],
            PLAIN: lambda: plain.decode(scores, mask),
        }
        if theirs is not None:
            decoders[THEIRS] = partial(theirs.twin(crf).decode, scores, mask)
        return {name: Decoding(decode) for name, decode in decoders.items()}
    scores.requires_grad_()
    same = lambda found: found
    sides: dict[str, Side] = {
        "recurra": Learning(crf, lambda: crf(scores, tags, lengths), same, scores),
        PLAIN: Learning(plain, lambda: plain(scores, tags, mask), same, scores),
    }
    if theirs is not None:
        twin, names = theirs.twin(crf), {"start_transitions": "begins", "end_transitions": "ends"}
        rename = lambda found: {names.get(name, name): value for name, value in found.items()}
        sides[THEIRS] = Learning(twin, lambda: -twin(scores, tags, mask, "none"), rename, scores)
    return sides


def _network(kind: str, trains: bool, effort: Effort, say: Callable[[str], None]) -> Row:
    ((time, batch, hidden),) = effort.shapes(NETWORKS[kind])
    network, rows = _tagger(kind, time, batch, hidden)
    kinds = network.head.tags
    say(f"tagging: network of {kind} T{time} B{batch} K{kinds}")
    sides = _network_sides(network, rows, trains)
    label = (kind, f"T{time} B{batch} H{hidden} K{kinds}", "")
    return race(label, sides, partial(_values, sides=sides, target=3.0), effort)


def _network_sides(network: TagNetwork, batch: TagBatch, trains: bool) -> dict[str, Side]:
    plain = plain_tagger.plain_batch(batch)
    twins = {PADDED: plain_tagger.of(network, False), PACKED: plain_tagger.of(network, True)}
    if trains:
        sides: dict[str, Side] = {"recurra": Learning(network, lambda: network(batch), lambda found: found, None)}
        for name, twin in twins.items():
            sides[name] = Learning(twin, partial(twin, plain), twin.rename, None)
        return sides
    network.eval()
    sides = {"recurra": Decoding(lambda: network.head.decode(network.scores(batch), batch.lengths)[0])}
    for name, twin in twins.items():
        sides[name] = Decoding(lambda twin=twin: twin.head.decode(twin.scores(plain), plain.mask))  # type: ignore[misc]
    return sides


def _values(times: Times, sides: Mapping[str, Side], target: float = 0.0) -> dict[str, Value]:
    found = {f"{name} ms": times.time(name) for name in sides}
    wanted = least(target) if target else None
    return found | {
        f"{name} / recurra": times.ratio(name, "recurra", wanted) for name in sides if name != "recurra"
    }


def _lengths(time: int, batch: int) -> Tensor:
    """As sentences of news and tweets for T = 40, or from half the longest on; one row is T long."""
    generator = torch.Generator().manual_seed(1)
    spread = torch.randn(batch, generator=generator) * 8 + 18
    even = torch.linspace(time / 2, time, batch)[torch.randperm(batch, generator=generator)]
    lengths = (spread if time == 40 else even).round().long().clamp(2, time)
    lengths[0] = time
    return lengths


def _tagger(kind: str, time: int, batch: int, hidden: int) -> tuple[TagNetwork, TagBatch]:
    """A network with random weights, and a batch for it."""
    letters = random.Random(1)
    names = [f"{letter}-{i}" for i in range(TYPES[kind]) for letter in "BI"]
    vocabulary = [_word(i, kind, letters) for i in range(WORDS if kind == "words" else 3000)]
    chances = [1 / (rank + 2.7) for rank in range(len(vocabulary))]  # Zipf's law
    sentences = [
        Sentence(tuple(letters.choices(vocabulary, chances, k=length)), tuple(_tags(names, length, letters)))
        for length in _lengths(time, batch).tolist()
    ]
    sentences[0] = Sentence(sentences[0].tokens, tuple((names * time)[: len(sentences[0].tokens)]))
    known = TagVocabulary.learn(sentences, vocabulary)
    torch.manual_seed(0)
    characters: Any = "cnn" if kind == "words" else "none"
    network = TagNetwork(TagNet(scheme="BIO", characters=characters, hidden=hidden, dropout=0.0), known)
    for parameter in network.head.parameters():
        nn.init.normal_(parameter)
    rows = TagRows(sentences, known, "BIO")
    return network, rows.collate(list(rows), torch.Generator())


def _word(rank: int, kind: str, letters: random.Random) -> str:
    """Frequent words are short; for characters, one of three thousand signs."""
    if kind == "characters":
        return chr(0x4E00 + rank)
    size = min(20, 1 + int(letters.gammavariate(3.0, 0.6 + 0.1 * len(str(rank)) ** 1.5)))
    return "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=size))


def _tags(names: list[str], length: int, letters: random.Random) -> list[str]:
    """Tags by BIO: one of ten tokens begins an entity, half of which go on."""
    tags = ["O"] + [letters.choice(names) if letters.random() < 0.15 else "O" for _ in range(length - 1)]
    for i, (before, tag) in enumerate(pairwise(tags)):
        if tag.startswith("I") and before[1:] != tag[1:]:
            tags[i + 1] = f"B{tag[1:]}"
    return tags
