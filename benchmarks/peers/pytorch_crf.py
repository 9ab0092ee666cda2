"""The CRF of the package pytorch-crf."""

import torch
import torchcrf
from torch import nn

from recurra.heads.crf import CRF

__all__ = ["twin"]


@torch.no_grad()
def twin(crf: CRF) -> nn.Module:
    """Its field with the weights of ours, which forbids nothing."""
    made = torchcrf.CRF(crf.tags, batch_first=True)
    made.transitions.copy_(crf.transitions)
    made.start_transitions.copy_(crf.begins)
    made.end_transitions.copy_(crf.ends)
    return made
