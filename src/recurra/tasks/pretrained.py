"""Networks that begin as language models, and thaw from the top down: ULMFiT (Howard and Ruder 2018).

A language model has read far more text than anybody labels. Its embedding and its recurrent layers go over to the
classifier; only what pools and decides is new. That part learns first, at the full rate; the layers below join
one after the other, each at a lower rate, so that the first steps do not wash out what the language model knows.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError
from recurra.layers import Bidirectional, Dropout, Recurrent, RecurrentDropout, Stack, VariationalDropout
from recurra.tasks.classifier import ClassifierNet, make_layers
from recurra.tasks.classifier_network import members_of
from recurra.tasks.language_model import LanguageModel

__all__ = ["Features", "copy_weights", "load_encoders", "make_towers", "parts_from_the_top", "sizes_of"]


class Features(Recurrent):
    """A layer that reads some features of its input only.

        y_t, s_t = layer(x_t[first : first + size], s_{t-1})            x (B, T, width)

    layer  reads ``size`` features
    """

    def __init__(self, layer: Recurrent, first: int, width: int) -> None:
        super().__init__()
        (size,) = layer.input_shape or (width,)
        self.layer, self.first, self.size = layer, first, size
        self.input_shape, self.output_shape = (width,), layer.output_shape
        self.causal = layer.causal

    def initial_state(self, batch: int, like: Tensor | None = None) -> Any:
        return self.layer.initial_state(batch, like)

    def renew(self, state: Any) -> Any:
        return self.layer.renew(state)

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.layer.step(self._mine(x), state)

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        return self.layer(self._mine(x), state, lengths)

    def _mine(self, x: Tensor) -> Tensor:
        return x[..., self.first : self.first + self.size].contiguous()


def load_encoders(ahead: str, back: str) -> list[LanguageModel]:
    """The language model that reads ahead, and the one that reads backwards if ``back`` names one.

    Raises ConfigError if they do not fit together, RunError if there is no run.
    """
    first = _load("init_from", ahead, False)
    if not back:
        return [first]
    second = _load("init_from_backwards", back, True)
    if first.learned() != second.learned():
        raise ConfigError(
            f"model.init_from_backwards: {back} knows other tokens than {ahead}; train both on the same text"
        )
    if sizes_of([first]) != sizes_of([second]):
        raise ConfigError(
            f"model.init_from_backwards: expected {sizes_of([first])} as in {ahead}, got {sizes_of([second])}"
        )
    return [first, second]


def _load(key: str, run: str, backwards: bool) -> LanguageModel:
    model = LanguageModel.load(run)
    if model.config.data.backwards != backwards:
        wanted = str(backwards).lower()
        raise ConfigError(f"model.{key}: expected a language model with data.backwards={wanted}; {run} is not")
    return model


def _embedding(model: LanguageModel) -> int:
    return model.config.model.embedding or model.config.model.hidden


def sizes_of(models: list[LanguageModel]) -> dict[str, Any]:
    """What the keys of the table [model] must be for the weights to fit."""
    net = models[0].config.model
    size = _embedding(models[0]) * len(models)
    return {"layer": net.layer, "hidden": net.hidden, "depth": net.depth, "embedding": size}


def make_towers(model: ClassifierNet, width: int) -> Recurrent:
    """One stack of layers for each language model; of two, the second reads its own features from the end."""
    one_way = replace(model, bidirectional=False)
    if not model.bidirectional:
        return make_layers(one_way, width)
    half = width // 2
    ahead, back = (Features(make_layers(one_way, half), first, width) for first in (0, half))
    return Bidirectional(ahead, back)


def _cells(layers: Recurrent) -> list[list[Recurrent]]:
    """The cells of each tower, from the bottom up."""
    towers = [layers.ahead.layer, layers.back.layer] if isinstance(layers, Bidirectional) else [layers]
    return [_cells_of(tower) for tower in towers if isinstance(tower, Stack)]


def _cells_of(stack: Stack) -> list[Recurrent]:
    layers = [layer for layer in stack if not isinstance(layer, Dropout | VariationalDropout)]
    return [layer.layer if isinstance(layer, RecurrentDropout) else layer for layer in layers]


@torch.no_grad()
def copy_weights(network: nn.Module, models: list[LanguageModel]) -> None:
    """Put the embeddings and the cells of the language models into networks made by `make_towers`."""
    trained: list[Any] = [model.ready() for model in models]
    vectors = torch.cat([net.embedding.weight for net in trained], 1)
    for member in members_of(network):
        member.embed.table.weight.copy_(vectors)  # type: ignore[operator, union-attr]
        for cells, net in zip(_cells(member.layers), trained, strict=True):
            for cell, source in zip(cells, _cells_of(net.layers), strict=True):
                cell.load_state_dict(source.state_dict())


def parts_from_the_top(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Groups of parameters, of all members together: what is new, the layers from the last on, the embedding."""
    groups: dict[str, list[nn.Parameter]] = {}
    for member in members_of(network):
        levels = zip(*(reversed(tower) for tower in _cells(member.layers)), strict=True)
        parts: list[list[nn.Module]] = [[member.pool, member.output], *map(list, levels), [member.embed]]
        for number, modules in enumerate(parts):
            groups.setdefault(str(number), []).extend(p for module in modules for p in module.parameters())
    return groups
