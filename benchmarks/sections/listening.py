"""Live listening: how long 100 ms of sound take, with the network of the recipe for live digits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import Row, Section, Table, most
from benchmarks.timing import Effort, compare
from recurra import recipe
from recurra.data.features import FilterBanks
from recurra.data.normalisation import normalised, statistics
from recurra.heads.alignment import Greedy, PrefixBeam
from recurra.tasks.speech_config import SpeechConfig
from recurra.tasks.speech_decoding import CTCSteps, StepDecoder
from recurra.tasks.speech_listener import Listener
from recurra.tasks.speech_network import SpeechNetwork
from recurra.tasks.speech_tokens import SpeechTokens

__all__ = ["run"]

RECIPE = Path(__file__).parents[2] / "recipes" / "speech" / "digits_live.toml"
BLOCKS = (10, 100, 1000)  # milliseconds of sound that are pushed at a time
SECONDS = 4
DIGITS = "zero one two three four five six seven eight nine"

ABOUT = """
Milliseconds on one core for 100 ms of sound at 8 kHz, everything included: features, normalisation, subsampling,
layers, decoding, and the partial transcript after each block. The network is that of
`recipes/speech/digits_live.toml`, with random weights that talk all the time: 25 words a second, and no silence
after which they would become final. 2 ms are a real-time factor of 0.02. Before the timing every block size must
say what the whole says, to the bit.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table: a row for each decoder, a column for each block size."""
    config: SpeechConfig = recipe.read("speech", RECIPE).config
    if effort.largest[2] < config.model.hidden:
        config = replace(config, model=replace(config.model, hidden=effort.largest[2], channels=16))
    sound = _noise(1 if effort.rounds <= 3 else SECONDS, config.features.rate)
    decoders = {"greedy": Greedy(), "prefix beam of 8": PrefixBeam(8)}
    rows = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, decoder in decoders.items():
            say(f"listening: {name}")
            rows.append(_row(name, _listener(config, decoder), sound, effort))
    finally:
        torch.set_num_threads(threads)
    return Section("listening", "Live listening", ABOUT, [Table("", rows)])


def _noise(seconds: int, rate: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    loud = torch.rand(seconds * 10, generator=random).repeat_interleave(rate // 10)
    return 0.3 * loud * torch.randn(seconds * rate, generator=random)


def _listener(config: SpeechConfig, decoder: Any) -> Listener:
    torch.manual_seed(0)
    plain = FilterBanks(config.features.rate, config.features.size)
    typical = statistics([plain(_noise(2, config.features.rate))])
    tokens = SpeechTokens.learn([DIGITS], "words", 0)
    network = SpeechNetwork(config.model, config.features.size, len(tokens)).eval()
    with torch.no_grad():
        assert network.tokens is not None
        network.tokens.weight *= 10
    steps: StepDecoder = CTCSteps(network, decoder)
    return Listener(normalised(plain, "running", typical), network, steps, tokens)


def _row(name: str, listener: Listener, sound: Tensor, effort: Effort) -> Row:
    rate = listener.features.rate
    blocks = {f"blocks of {size} ms": sound.split(rate * size // 1000) for size in BLOCKS}
    whole = listener.whole(sound)
    if not whole or any(_heard(listener, some) != whole for some in blocks.values()):
        return Row(name, "", note="not timed: a stream does not say what the whole says")
    times = compare({what: partial(_heard, listener, some) for what, some in blocks.items()}, effort)
    scale = 100 / (1000 * len(sound) / rate)  # to 100 ms of sound
    values = {}
    for what in blocks:
        value = times.time(what, "ms", most(2) if what == "blocks of 100 ms" and name == "greedy" else None)
        values[what] = replace(value, median=value.median * scale, low=value.low * scale, high=value.high * scale)
    return Row(name, f"H{listener.network.config.hidden}", values, error=0.0)


def _heard(listener: Listener, blocks: tuple[Tensor, ...]) -> list[Any]:
    """What is final in the blocks, each followed by a partial transcript as live."""
    state, said = listener.initial(), []
    for samples in blocks:
        found, state = listener.push(samples, state)
        said += [one for one in found if one.final]
    return said + listener.finish(state)
