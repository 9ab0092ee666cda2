"""Translation: many sentences side by side beside one after the other, and a decoder that trains in parallel."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.race import race, shape_of
from benchmarks.results import Row, Section, Table, Value, least
from benchmarks.steps import Side, Training
from benchmarks.timing import Effort, Times
from recurra.data.text import Characters
from recurra.tasks.translation_config import SearchConfig, TranslationNet
from recurra.tasks.translation_network import Sentences, TranslationNetwork, network_of
from recurra.tasks.translation_search import translate
from recurra.tasks.translation_text import SentenceTokens

__all__ = ["run"]

KINDS = 6000
TOGETHER, ONE_BY_ONE = "together", "one by one"
PARALLEL, FEEDING = "parallel", "input feeding"

ABOUT = """
Decoding of sentences of up to T tokens by an LSTM encoder-decoder with attention, untrained, 6,000 kinds of token:
B sentences side by side, and the same sentences one after the other. Then training: the decoder whose attention
goes up only, by the one that feeds it back (Luong et al. 2015), which runs step by step.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Two tables."""
    shapes = effort.shapes((25, 64, 512))
    decoding = [_decoding(beam, shape, effort, say) for shape in shapes for beam in (1, 5)]
    training = [_training(shape, effort, say) for shape in shapes]
    tables = [Table("Decoding", decoding), Table("Training", training)]
    return Section("translation", "Translation", ABOUT, tables)


class Decoding:
    """Sentences through a search; the result is what each translation costs in nats."""

    def __init__(self, network: TranslationNetwork, sources: list[list[int]], config: SearchConfig) -> None:
        self.network, self.sources, self.config = network.eval(), sources, config
        self.tokens = SentenceTokens(Characters([chr(i) for i in range(KINDS - 2)]))

    def __call__(self) -> list[float]:
        found = translate(self.network, self.tokens, self.sources, self.config)
        return [best[0].nats for best in found]

    def result(self) -> Mapping[str, Tensor]:
        """Nats of each translation."""
        return {"nats": torch.tensor(self())}


class OneByOne(Decoding):
    """The same sentences, one after the other."""

    def __call__(self) -> list[float]:
        each = [translate(self.network, self.tokens, [source], self.config) for source in self.sources]
        return [found[0][0].nats for found in each]


def _network(hidden: int, feeding: bool = False) -> TranslationNetwork:
    torch.manual_seed(1)
    config = TranslationNet(embedding=hidden // 2, hidden=hidden, input_feeding=feeding, dropout=0.0)
    return network_of(KINDS, config)


def _decoding(beam: int, shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    time, batch, hidden = shape
    random = torch.Generator().manual_seed(2)
    lengths = torch.randint(time // 3, time + 1, (batch,), generator=random).tolist()
    sources = [torch.randint(1, KINDS - 2, (length,), generator=random).tolist() for length in lengths]
    config, network = SearchConfig(beam=beam, longest=0.5, batch=batch), _network(hidden)
    sides: dict[str, Side] = {
        TOGETHER: Decoding(network, sources, config),
        ONE_BY_ONE: OneByOne(network, sources, config),
    }

    def values(times: Times) -> dict[str, Value]:
        return {
            "together ms": times.time(TOGETHER),
            "one by one ms": times.time(ONE_BY_ONE),
            "one by one / together": times.ratio(ONE_BY_ONE, TOGETHER, least(5.0)),
        }

    say(f"translation: beam {beam} {shape_of(*shape)}")
    return race((f"beam {beam}" if beam > 1 else "greedy", shape_of(*shape), ""), sides, values, effort)


def _training(shape: tuple[int, int, int], effort: Effort, say: Callable[[str], None]) -> Row:
    time, batch, hidden = shape
    random = torch.Generator().manual_seed(3)
    source, before, after = (torch.randint(KINDS, (batch, time), generator=random) for _ in range(3))
    whole = torch.full((batch,), time)
    rows = Sentences(source, whole, before, after, whole)
    networks = {name: _network(hidden, name == FEEDING) for name in (PARALLEL, FEEDING)}
    sides: dict[str, Side] = {
        name: Training(network, lambda network=network: network(rows)[0] / whole.sum())  # type: ignore[misc]
        for name, network in networks.items()
    }

    def values(times: Times) -> dict[str, Value]:
        return {
            "parallel ms": times.time(PARALLEL),
            "input feeding ms": times.time(FEEDING),
            "input feeding / parallel": times.ratio(FEEDING, PARALLEL),
        }

    say(f"translation: training {shape_of(*shape)}")
    return race(("training step", shape_of(*shape), ""), sides, values, effort, pairs=[])
