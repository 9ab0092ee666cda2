"""minGRU as the package minGRU-pytorch computes it: sums of logarithms over all steps."""

import torch
from minGRU_pytorch import minGRU
from torch import nn

from recurra import MinGRU

__all__ = ["twin"]


def twin(layer: MinGRU) -> nn.Module:
    """Its layer with the weights of ours, whose biases are zero."""
    made = minGRU(layer.hidden_size)
    with torch.no_grad():
        z, n = layer.W.chunk(2)
        made.to_hidden_and_gate.weight.copy_(torch.cat([n, z]))
    return made
