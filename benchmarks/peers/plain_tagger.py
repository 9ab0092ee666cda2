"""The network of `recurra.Tagger` as it is usually written in plain PyTorch.

Words and a convolution over the characters of each word, nn.LSTM from both ends, a linear layer, `PlainCRF`. The
characters of all places of the padded batch go through the convolution, as (B * T, C).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recurra
from benchmarks.peers import plain_crf, torch_layers
from benchmarks.steps import Named
from recurra.tasks.tag_features import CharacterCNN
from recurra.tasks.tag_network import TagNetwork
from recurra.tasks.tag_vocabulary import TagBatch

__all__ = ["PlainBatch", "PlainTagger", "of", "plain_batch"]


class PlainBatch(NamedTuple):
    """Sentences side by side: words (B, T), characters (B, T, C) of which so many are there (B, T), tags (B, T)."""

    words: Tensor
    characters: Tensor
    spelled: Tensor
    tags: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """``(B, T)``."""
        return torch.arange(self.words.shape[1]) < self.lengths[:, None]


class CharacterConvolution(nn.Module):
    """characters (N, C), so many of them (N,) -> (N, features)."""

    def __init__(self, kinds: int, size: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(kinds, size)
        self.filters = nn.Conv1d(size, features, 3, padding=1)

    def forward(self, characters: Tensor, spelled: Tensor) -> Tensor:
        there = torch.arange(characters.shape[1]) < spelled[:, None]
        e = (self.embedding(characters) * there[..., None]).transpose(1, 2)
        y = torch.tanh(self.filters(e)).masked_fill(~there[:, None], -2.0)  # below any tanh
        return y.amax(2)


class PlainTagger(nn.Module):
    """`PlainBatch` -> -log p(tags) (B,)."""

    def __init__(self, network: TagNetwork, packed: bool) -> None:
        super().__init__()
        (member,) = network.members
        assert member.words is not None
        self.words = nn.Embedding.from_pretrained(member.words.weight.detach().clone(), freeze=False)
        self.characters = None if member.characters is None else _convolution(member.characters)
        layer = recurra.to_torch(member.layers[1])
        self.lstm = layer if packed else None
        self.directions = nn.ModuleList([] if packed else [_one(layer, ""), _one(layer, "_reverse")])
        self.output = nn.Linear(member.output.in_features, member.output.out_features)
        self.output.load_state_dict(member.output.state_dict())
        self.head = plain_crf.of(network.head)

    def forward(self, batch: PlainBatch) -> Tensor:
        found: Tensor = self.head(self.scores(batch), batch.tags, batch.mask)
        return found

    def scores(self, batch: PlainBatch) -> Tensor:
        """``(B, T, K)``."""
        x = self.words(batch.words)
        if self.characters is not None:
            rows, steps, longest = batch.characters.shape
            read = self.characters(batch.characters.view(-1, longest), batch.spelled.flatten())
            x = torch.cat([x, read.view(rows, steps, -1)], 2)
        y = self._packed(x, batch.lengths) if self.lstm is not None else self._padded(x, batch)
        scores: Tensor = self.output(y)
        return scores

    def _packed(self, x: Tensor, lengths: Tensor) -> Tensor:
        assert self.lstm is not None
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y: Tensor = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        return y

    def _padded(self, x: Tensor, batch: PlainBatch) -> Tensor:
        """Both directions over the padded batch; the second one reads each sentence from its own end."""
        rows, time, _ = x.shape
        steps = torch.arange(time)
        turned = torch.where(batch.mask, batch.lengths[:, None] - 1 - steps, steps)
        places = (torch.arange(rows)[:, None] * time + turned).flatten()
        ahead, back = self.directions
        z = back(x.flatten(0, 1).index_select(0, places).view_as(x))[0]
        turned_back = z.flatten(0, 1).index_select(0, places).view_as(z)
        return torch.cat([ahead(x)[0], turned_back], 2)

    def rename(self, found: Named) -> Named:
        """Gradients by the names that ours has."""
        return {name if name.startswith("head") else f"all.0.{name}": g for name, g in self._named(found).items()}

    def _named(self, found: Named) -> Named:
        ours = {name: value for name, value in found.items() if name.startswith(("words", "output", "head"))}
        if self.characters is not None:
            weight = found["characters.filters.weight"]
            ours["characters.filters.weight"] = weight.transpose(1, 2).flatten(1)
            for name in ("characters.filters.bias", "characters.embedding.weight"):
                ours[name] = found[name]
        places = {"layers.layers.1.ahead": "", "layers.layers.1.back": "_reverse"}
        if self.lstm is not None:
            suffixes = {ahead: f"_l0{suffix}" for ahead, suffix in places.items()}
            return ours | torch_layers.names_of("LSTM", **suffixes)(_below(found, "lstm."))
        for i, name in enumerate(places):
            ours |= torch_layers.names_of("LSTM", **{name: "_l0"})(_below(found, f"directions.{i}."))
        return ours


def _below(found: Named, prefix: str) -> Named:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def _one(layer: nn.RNNBase, suffix: str) -> nn.LSTM:
    """One direction of a bidirectional layer."""
    made = nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True)
    made.load_state_dict({name: layer.state_dict()[name + suffix] for name in made.state_dict()})
    return made


@torch.no_grad()
def _convolution(characters: nn.Module) -> CharacterConvolution:
    assert isinstance(characters, CharacterCNN)
    (kinds, size), features = characters.embedding.weight.shape, characters.output_size
    made = CharacterConvolution(kinds, size, features)
    made.embedding.load_state_dict(characters.embedding.state_dict())
    made.filters.weight.copy_(characters.filters.weight.view(features, 3, size).transpose(1, 2))
    made.filters.bias.copy_(characters.filters.bias)  # type: ignore[union-attr]
    return made


def of(network: TagNetwork, packed: bool) -> PlainTagger:
    """The plain network with the weights of ours."""
    return PlainTagger(network, packed)


def plain_batch(batch: TagBatch) -> PlainBatch:
    """The same sentences, as a plain data loader pads them."""
    valid = torch.arange(batch.place.shape[1]) < batch.lengths[:, None]
    characters, spelled = batch.characters[batch.place], batch.spelled[batch.place] * valid
    return PlainBatch(batch.words[batch.place], characters, spelled, batch.tags, batch.lengths)
