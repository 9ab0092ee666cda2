"""The network of a recognizer of actions: one stack of layers over frames or joints, pooled into one answer.

films   pixels -> changes -> a convolutional encoder, frame by frame -> memory -> pooling    (Donahue et al. 2015)
        or maps of the encoder -> a convolutional memory (Shi et al. 2015) -> mean and highest of each map
joints  standardised features -> perhaps a layer, frame by frame -> memory, of both directions or of one -> pooling
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from recurra.heads.pooling import pooling
from recurra.layers import CONVOLUTIONAL, Bidirectional, Dropout, PredRNN, Recurrent, Stack, VariationalDropout
from recurra.tasks.actions_config import ActionConfig, ActionNet
from recurra.tasks.actions_layers import Changes, FrameEncoder, Framewise, Places
from recurra.tasks.classifier import make_layers
from recurra.tasks.classifier_network import ClassifierNetwork

__all__ = ["Pixels", "encoder_of", "film_network", "joint_network", "memories_of"]


class Pixels(nn.Module):
    """Bytes as numbers from -1 to 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 127.5 - 1


def film_network(config: ActionConfig, classes: int, encoder: nn.Module | None = None) -> ClassifierNetwork:
    """A network over frames ``(B, T, C, M, N)`` uint8.

    encoder  reads single frames, (N, C, M, N) from -1 to 1 -> (N, F), or maps for a convolutional memory; a copy of
             it is used. None: a `FrameEncoder`
    """
    model = config.model
    shape: tuple[int, ...] = (3 if config.view.colours == "rgb" else 1, *config.view.size)
    layers: list[Recurrent] = []
    if model.sees != "frames":
        layers.append(Changes(shape, model.sees))
        shape = layers[0].output_shape or shape
    maps = model.layer in CONVOLUTIONAL
    own = FrameEncoder(shape, model.widths, 0 if maps else model.features) if encoder is None else encoder
    layers.append(Framewise(copy.deepcopy(own), shape))
    seen = layers[-1].output_shape or ()
    layers += _maps(model, seen) if maps else list(make_layers(model, *seen))
    return _answering(model, Pixels(), layers, classes)


def joint_network(config: ActionConfig, size: int, classes: int) -> ClassifierNetwork:
    """A network over features of joints ``(B, T, size)``."""
    model, layers = config.model, list[Recurrent]()
    if model.features:
        layers.append(Framewise(nn.Sequential(nn.Linear(size, model.features), nn.ReLU()), (size,)))
    layers += make_layers(model, model.features or size)
    return _answering(model, nn.Identity(), layers, classes)


def _answering(model: ActionNet, embed: nn.Module, layers: list[Recurrent], classes: int) -> ClassifierNetwork:
    stack = Stack(*layers)
    size = (stack.output_shape or (0,))[0]
    pool = pooling(model.pooling, size, size // 2 if model.bidirectional and not _places(stack) else 0)
    return ClassifierNetwork(embed, stack, pool, classes, model.dropout)


def _places(stack: Stack) -> bool:
    return any(isinstance(layer, Places) for layer in stack)


def _maps(model: ActionNet, shape: tuple[int, ...]) -> list[Recurrent]:
    """Convolutional memories over maps of one shape, and their values."""
    channels, *space = shape
    make: Any = CONVOLUTIONAL[model.layer]
    layers: list[Recurrent] = []
    deep = make is PredRNN  # a stack by itself
    for _ in range(1 if deep else model.depth):
        sizes = (channels, model.hidden, model.kernel, tuple(space), *([model.depth] if deep else []))
        one = [make(*sizes) for _ in range(2 if model.bidirectional else 1)]
        layers.append(Bidirectional(one[0], one[1]) if model.bidirectional else one[0])
        channels = model.hidden * len(one)
    return [*layers, Places((channels, *space)), Dropout(model.dropout)]


def encoder_of(network: ClassifierNetwork) -> nn.Module | None:
    """The part that reads single frames, if there is one."""
    layers: Any = network.layers
    return next((layer.module for layer in layers if isinstance(layer, Framewise)), None)


@torch.no_grad()
def memories_of(network: ClassifierNetwork, x: Tensor) -> list[Tensor]:
    """What each memory held over time, of one clip ``(T, ...)``: its outputs ``(T, H)``, maps as their means."""
    vectors, found, layers = network.embed(x[None]), [], network.layers
    assert isinstance(layers, Stack)
    for layer in layers:
        vectors, _ = layer(vectors)
        if not isinstance(layer, Changes | Framewise | Places | Dropout | VariationalDropout):
            held = vectors[0]
            found.append(held.float().flatten(2).mean(2) if held.dim() == 4 else held.float())
    return found
