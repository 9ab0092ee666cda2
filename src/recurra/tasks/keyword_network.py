"""The network of a keyword spotter: small, causal, and at each step an answer for each keyword.

x_j = frames j s .. j s + s - 1 side by side        s = stack, so there is a step every 10 s milliseconds
h_j = layers(x_j, h_{j-1})        l_j = V h_j + b        p_j = sigmoid(l_j): "it has just been said"
"""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import softplus

from recurra import lengths as ragged
from recurra.layers import LAYERS, Dropout, Readout, Recurrent, Stack
from recurra.tasks.keyword_config import KeywordNet

__all__ = ["KeywordBatch", "KeywordNetwork", "stacked"]

RARE = -4.0  # a new network's answer: keywords are rare


class KeywordBatch(NamedTuple):
    """Strings side by side, padded on the right.

    x        (B, J, s F)  steps
    lengths  (B,)         steps of each string
    places   (P, 7)       a keyword each: its row, number, the step in which it begins, the step from which on it is
                          learned to be noticed, that after the last such step, the step in which it ends, how often
                          it is said there
    """

    x: Tensor
    lengths: Tensor
    places: Tensor


def stacked(frames: Tensor, stack: int) -> Tensor:
    """Frames ``(T, F)`` side by side ``(T // stack, stack F)``; those that fill no step are left."""
    whole = len(frames) // stack
    return frames[: whole * stack].reshape(whole, stack * frames.shape[1])


class KeywordNetwork(nn.Module):
    """The equations above, and the loss of Sun et al. 2016.

        loss = w sum over places of -log max_j p_j + sum over all other steps of -log(1 - p_j)

    Nobody says at which step of its place a keyword should be noticed: it is where the network finds it easiest.
    Called with a `KeywordBatch` it gives the loss, summed, in nats.
    """

    def __init__(self, config: KeywordNet, size: int, keywords: int) -> None:
        super().__init__()
        self.weight = config.weight
        layers: list[Recurrent] = [Dropout(config.dropout)]
        size *= config.stack
        for _ in range(config.depth):
            make: Any = LAYERS[config.layer]
            layers += [make(size, config.hidden), Dropout(config.dropout)]
            size = config.hidden
        readout = Readout(size, keywords)
        nn.init.constant_(readout.linear.bias, RARE)
        self.layers = Stack(*layers, readout)

    def logits(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Steps ``(B, J, s F)`` -> l ``(B, J, K)``, zero in the padding."""
        return self.layers(x, lengths=lengths)[0].float()

    def without_dropout(self) -> Stack:
        """The same layers without what is for training only."""
        return Stack(*(layer for layer in self.layers if not isinstance(layer, Dropout)))

    def forward(self, batch: KeywordBatch) -> Tensor:
        return self.nats(self.logits(batch.x, batch.lengths), batch)

    def nats(self, logits: Tensor, batch: KeywordBatch) -> Tensor:
        """The same of the answers to a batch."""
        others = ragged.mask(batch.lengths, logits.shape[1], logits.device)[..., None].expand_as(logits).clone()
        noticed = logits.new_zeros(())
        for row, keyword, _, begin, end, _, _ in batch.places.tolist():
            others[row, begin:end, keyword] = False
            noticed = noticed + softplus(-logits[row, begin:end, keyword].max())
        return self.weight * noticed + softplus(logits[others]).sum()
