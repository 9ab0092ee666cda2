"""Polyphonic music: the probability of each frame of notes given the frames before it, and composition.

    log p(x_1 .. x_T) = sum over t of log p(x_t | h_t)        h_t = layers(x_{t-1}, h_{t-1}),  x_0 = silence

x_t are the 88 keys of a piano, the notes of one beat for chorales (Boulanger-Lewandowski et al. 2012).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from recurra import lengths as ragged
from recurra.config import key
from recurra.data.midi import KEYS, LOWEST, note_name, read_midi
from recurra.data.rolls import Rolls, read_roll, read_rolls, roll_batches
from recurra.errors import ConfigError, RunError
from recurra.heads.notes import NADE, IndependentNotes, NoteHead
from recurra.kernels import dispatch
from recurra.layers import LAYERS, Dropout, Recurrent, RecurrentDropout, Stack
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.checks import check_layer, check_least, check_shares, check_split
from recurra.tasks.music_stream import MusicStream

__all__ = ["MusicConfig", "MusicData", "MusicModel", "MusicNet", "MusicNetwork"]


@dataclass(frozen=True)
class MusicData:
    """What to read; the table [data] of a recipe."""

    path: str = key("JSB_Chorales.mat", "a MATLAB file of piano rolls, or a folder of MIDI files")
    step: float = key(1.0, "beats a frame; for MIDI files")
    split: tuple[float, ...] = key((0.6, 0.2, 0.2), "shares of a folder for training, validation and test")
    batch: int = key(16, "pieces side by side")
    pool: int = key(1, "batches among which pieces are sorted by length, for less padding; 1: not sorted")
    transpose: int = key(0, "in training each piece is moved by up to so many semitones, up or down")


@dataclass(frozen=True)
class MusicNet:
    """The network; the table [model] of a recipe."""

    layer: str = key("lstm", "a recurrent layer by name: rnn, lstm, gru, peephole_lstm, layer_norm_lstm")
    hidden: int = key(256, "units of each layer")
    depth: int = key(1, "layers")
    notes: Literal["independent", "nade"] = key("independent", "the notes of a frame: each alone, or in turn")
    units: int = key(256, "hidden units of nade")
    dropout: float = key(0.5, "share of units dropped after each layer in training")
    recurrent_dropout: float = key(0.0, "share of each layer's memory that it does not hear, for a whole piece")
    note_dropout: float = key(0.0, "share of the hidden units of nade dropped in training")


@dataclass(frozen=True)
class MusicConfig:
    """A model of music: data and network."""

    data: MusicData = key(MusicData(), "what to read")
    model: MusicNet = key(MusicNet(), "the network")

    def __post_init__(self) -> None:
        _check_config(self.data, self.model)


def _check_config(data: MusicData, model: MusicNet) -> None:
    check_layer(model.layer, model.recurrent_dropout)
    check_least("model", model, 1, "hidden", "depth", "units")
    check_least("data", data, 1, "batch", "pool")
    check_shares("model", model, "dropout", "recurrent_dropout", "note_dropout")
    check_split(data.split)
    if not 0 <= data.transpose < KEYS:
        raise ConfigError(f"data.transpose: expected 0 to {KEYS - 1} semitones, got {data.transpose}")
    if not data.step > 0:
        raise ConfigError(f"data.step: expected a positive number of beats, got {data.step}")


class MusicNetwork(nn.Module):
    """A stack of recurrent layers with dropout, and a distribution over frames of notes.

    frames (B, T, keys), lengths (B,) -> nats of every frame, row after row without the padding; state
    """

    def __init__(self, config: MusicNet, keys: int = KEYS) -> None:
        super().__init__()
        self.keys = keys
        sizes = [keys] + [config.hidden] * config.depth
        layers: list[Recurrent] = []
        for i in range(config.depth):
            make: Any = LAYERS[config.layer]
            layer = make(sizes[i], sizes[i + 1])
            layers.append(RecurrentDropout(layer, config.recurrent_dropout) if config.recurrent_dropout else layer)
            layers.append(Dropout(config.dropout))
        self.layers = Stack(*layers)
        self.head: NoteHead
        if config.notes == "nade":
            self.head = NADE(config.hidden, keys, config.units, config.note_dropout)
        else:
            self.head = IndependentNotes(config.hidden, keys)

    def forward(self, frames: Tensor, lengths: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        h, state = self.hear(frames, lengths, state)
        if lengths is None:
            return -self.head.log_prob(h, frames).flatten(), state
        valid = ragged.mask(lengths, frames.shape[1], h.device)
        return -self.head.log_prob(h[valid], frames[valid]), state

    def hear(self, frames: Tensor, lengths: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """h (B, T, hidden), what ``head`` needs for frame t, which knows the frames before t; and the state."""
        heard = torch.cat([torch.zeros_like(frames[:, :1]), frames[:, :-1]], 1)
        return self.layers(heard, state, lengths)

    def step(self, frame: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One frame heard ``(B, keys)`` -> h (B, hidden) for the next one, state."""
        return self.layers.step(frame, state)


class MusicModel(Estimator):
    """A model of polyphonic music that is trained on piano rolls, scores music, and composes.

    >>> model = MusicModel(MusicConfig(data=MusicData(path="JSB_Chorales.mat")))     # doctest: +SKIP
    >>> model.fit("runs/jsb")                                                        # doctest: +SKIP
    >>> write_midi(model.compose(64, seed=3), "chorale.mid")                         # doctest: +SKIP
    """

    name = "music"
    source: ClassVar[str] = "data.path"
    Config = MusicConfig
    config: MusicConfig

    def data(self) -> Data:
        """The pieces in three parts; only those for training are moved to other keys."""
        config = self.config.data
        train, valid, test = read_rolls(config.path, config.step, config.split)
        batches = roll_batches(train, config.batch, True, config.pool, config.transpose)
        return Data(batches, roll_batches(valid, config.batch), roll_batches(test, config.batch))

    def network(self) -> nn.Module:
        return MusicNetwork(self.config.model)

    def loss(self, network: nn.Module, batch: Rolls, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the nats over all frames, and their number; pieces are whole, so nothing is carried."""
        nats, _ = network(*batch)
        return nats.sum(), len(nats), None

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Nats a frame: over all frames, and without the first frame of each piece, as some papers count."""
        total, first, frames, pieces = 0.0, 0.0, 0, 0
        device = next(network.parameters()).device
        for batch in batches.epoch(0):
            batch = Rolls(batch.frames.to(device), batch.lengths)
            nats, _ = network(*batch)
            begins = nats[torch.cat([batch.lengths.new_zeros(1), batch.lengths.cumsum(0)[:-1]]).to(device)]
            total, first = total + float(nats.sum()), first + float(begins.sum())
            frames, pieces = frames + len(nats), pieces + len(batch.lengths)
        return {"loss": total / frames, "loss_after_first": (total - first) / max(1, frames - pieces)}

    @torch.no_grad()
    def predict(self, raw: str) -> dict[str, Any]:
        """How likely the music of a MIDI file is, in nats a frame, and the likeliest keys after it."""
        roll = read_midi(raw.strip(), self.config.data.step)
        batch = Rolls(roll[None].float(), torch.tensor([len(roll)]))
        stream = self.stream(roll)
        following = [note_name(number) for number in stream.next.draw(0.0).nonzero()[:, 0].tolist()]
        nats = float(self.ready()(*batch)[0].mean())
        return {"text": raw, "frames": len(roll), "nats_per_frame": nats, "next": following}

    def stream(self, raw: Tensor | None = None) -> MusicStream:
        """A `MusicStream` that has heard the roll ``raw (T, 88)``: push a frame, and it knows what may come."""
        stream = MusicStream(self.ready(), KEYS)
        for frame in () if raw is None else raw:
            stream.push(frame)
        return stream

    def compose(self, length: int, prompt: Tensor | None = None, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """A roll ``(length, 88)`` that begins with ``prompt (T, 88)`` and goes on as the model finds likely."""
        if not temperature >= 0 or length < 1:
            raise ConfigError(f"compose: expected temperature >= 0 and length >= 1, got {temperature} and {length}")
        stream, random = self.stream(prompt), torch.Generator().manual_seed(seed)
        frames = [] if prompt is None else list(prompt.float()[:length])
        while len(frames) < length:
            frames.append(stream.next.draw(temperature, random))
            stream.push(frames[-1])
        return torch.stack(frames).to(torch.uint8)

    def read(self, source: str) -> Batches:
        """A MIDI file, a folder of them, or the test part of a MATLAB file."""
        return roll_batches(read_roll(source, self.config.data.step), self.config.data.batch)

    def explain(self) -> str:
        """Which kernel runs for a training batch; composition goes step by step through the equations."""
        network = self.ready()
        with dispatch.record() as log:
            network(torch.zeros(self.config.data.batch, 64, KEYS))
        return "\n".join(str(decision) for decision in log)

    def learned(self) -> dict[str, Any]:
        return {"keys": KEYS, "lowest": LOWEST}

    def relearn(self, values: dict[str, Any]) -> None:
        if values != self.learned():
            raise RunError(f"this network knows other keys, {values}; expected {self.learned()}")
