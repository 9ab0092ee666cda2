"""From sources to translations: batches of sentences through greedy or beam search."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recurra.heads.search import BeamSearch, Found, coverage_penalty, greedy_search
from recurra.tasks.translation_config import SearchConfig
from recurra.tasks.translation_network import Read, Sentences, TranslationNetwork
from recurra.tasks.translation_text import Row, SentenceTokens, collate

__all__ = ["longest_of", "look_back", "start", "translate"]

Step = Callable[[Tensor, Any, Any], tuple[Tensor, Any]]


def longest_of(source: int, config: SearchConfig) -> int:
    """Tokens that the translation of so many source tokens may have."""
    return int(config.longest * source) + 10


def start(
    network: TranslationNetwork, tokens: SentenceTokens, sources: Sequence[list[int]], copy: bool
) -> tuple[Step, Tensor, Any, Read]:
    """What a search begins with: the step, the logits of the first tokens, states and sources."""
    device = next(network.parameters()).device
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(s, dtype=torch.long) for s in sources], batch_first=True)
    source = network.read(padded.to(device), torch.tensor([len(s) for s in sources]))

    def step(numbers: Tensor, state: Any, source: Read) -> tuple[Tensor, Any]:
        logits, state = network.step(numbers, state, source)
        return tokens.forbid(logits.float(), copy), state

    first = torch.full((len(sources),), tokens.begin, device=device)
    return step, *step(first, network.begin(source), source), source


@torch.no_grad()
def translate(
    network: TranslationNetwork, tokens: SentenceTokens, sources: Sequence[list[int]], config: SearchConfig
) -> list[list[Found]]:
    """For each source, tokens without begin and end, its translations, best first. Answers keep the order.

    Sentences of similar length go side by side; an empty source has the empty translation.
    """
    found: list[list[Found]] = [[Found([], 0.0, 0.0, True)] for _ in sources]
    order = sorted((i for i, source in enumerate(sources) if source), key=lambda i: -len(sources[i]))
    for begin in range(0, len(order), config.batch):
        chosen = order[begin : begin + config.batch]
        batch = [sources[i] for i in chosen]
        for i, best in zip(chosen, _search(network, tokens, batch, config), strict=True):
            found[i] = best
    return found


def _search(
    network: TranslationNetwork, tokens: SentenceTokens, batch: list[list[int]], config: SearchConfig
) -> list[list[Found]]:
    first = start(network, tokens, batch, config.copy)
    longest = torch.tensor([longest_of(len(source), config) for source in batch])
    if config.beam == 1:
        return [[one] for one in greedy_search(*first, longest, tokens.end)]
    bonus = partial(_bonus, config.coverage_penalty) if config.coverage_penalty else None
    return BeamSearch(config.beam, tokens.end, config.n_best, config.length_penalty, bonus)(*first, longest)


def _bonus(weight: float, state: Any, source: Read) -> Tensor:
    return coverage_penalty(weight, state.covered, source.memory.valid)


@torch.no_grad()
def look_back(network: TranslationNetwork, tokens: SentenceTokens, rows: list[Row]) -> list[Tensor]:
    """Where attention looks for each target token and the end: a matrix ``(T + 1, S)`` for each row."""
    batch: Sentences = collate(rows, tokens)
    device = next(network.parameters()).device
    source = network.read(batch.source.to(device), batch.source_lengths)
    weights = network.write(source, batch.before.to(device), batch.target_lengths).weights.float().cpu()
    return [w[: len(row.target) + 1, : len(row.source)] for w, row in zip(weights, rows, strict=True)]
