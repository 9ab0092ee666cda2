"""The distribution of a frame of notes: each key for itself, or each key given those before it in the frame."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear, relu

__all__ = ["NADE", "FrameDistribution", "IndependentNotes", "NoteHead"]

MOSTLY_SILENT = -3.0  # where the bias of a key begins: it sounds in one of twenty frames, as with four voices of 88


class NoteHead(nn.Module, ABC):
    """A distribution over frames ``v (..., keys)`` of 0 and 1, given what a network says: ``h (..., hidden)``."""

    keys: int

    @abstractmethod
    def log_prob(self, h: Tensor, frame: Tensor) -> Tensor:
        """``log p(frame | h)`` in nats ``(...)``."""

    @abstractmethod
    def draw(self, h: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """A frame ``(..., keys)``, key by key; temperature 0 takes the likelier value of each key."""


class FrameDistribution:
    """What the next frame may be, for one row: `log_prob` of a frame ``(keys,)``, and `draw` of one."""

    def __init__(self, head: NoteHead, h: Tensor) -> None:
        self.head, self.h = head, h

    @torch.no_grad()
    def log_prob(self, frame: Tensor) -> float:
        """How likely this frame ``(keys,)`` is, in nats."""
        return float(self.head.log_prob(self.h, frame.to(self.h)))

    @torch.no_grad()
    def draw(self, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """A frame ``(keys,)`` of 0 and 1."""
        return self.head.draw(self.h, temperature, generator)


class IndependentNotes(NoteHead):
    """Each key for itself.

    log p(v | h) = sum over i of log p_i^v_i (1 - p_i)^(1 - v_i)        p = sigmoid(B h + b)
    """

    def __init__(self, hidden_size: int, keys: int = 88) -> None:
        super().__init__()
        self.keys = keys
        self.logits = nn.Linear(hidden_size, keys)
        nn.init.constant_(self.logits.bias, MOSTLY_SILENT)

    def log_prob(self, h: Tensor, frame: Tensor) -> Tensor:
        return -_surprise(self.logits(h), frame)

    def draw(self, h: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        return _flip(self.logits(h), temperature, generator)


class NADE(NoteHead):
    """Each key given those above it: a neural autoregressive distribution estimator (Larochelle and Murray 2011).

        log p(v | h) = sum over i of log p(v_i | v_1 .. v_{i-1}, h)          i = 1 is the highest key
        p(v_i = 1 | v_1 .. v_{i-1}, h) = sigmoid(V_i f(a_i) + B_i h + b_i)
        a_i = c + C h + sum over j < i of W_j v_j                            f = relu

    With biases from a recurrent network it is the RNN-NADE (Boulanger-Lewandowski et al. 2012). Two differences to
    the papers: f is relu, not the sigmoid, and the keys go from the melody down.

    a_i changes only after a key that sounds. So a frame with n notes has n + 1 hidden vectors, not one for each
    key: the exact probability of 88 keys with 4 notes costs 5 small products, and all frames go at once.

    hidden_size  of h
    units        of the hidden vector a
    dropout      of f(a), in training
    """

    def __init__(self, hidden_size: int, keys: int = 88, units: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.keys = keys
        self.context = nn.Linear(hidden_size, units)
        self.bias = nn.Linear(hidden_size, keys)
        nn.init.constant_(self.bias.bias, MOSTLY_SILENT)
        self.read = nn.Parameter(torch.randn(keys, units) * units**-0.5)  # W
        self.write = nn.Linear(units, keys, bias=False)  # V
        self.dropout = nn.Dropout(dropout)

    def log_prob(self, h: Tensor, frame: Tensor) -> Tensor:
        v, h = frame.reshape(-1, self.keys).flip(-1), h.reshape(-1, h.shape[-1])
        sounding = v > 0
        before = sounding.cumsum(-1) - sounding.long()  # how many notes come before each key
        given = self.write(self.dropout(relu(self._hidden(h, sounding, before))))
        logits = given.gather(1, before[:, None])[:, 0] + self.bias(h)
        return -_surprise(logits, v).view(frame.shape[:-1])

    def _hidden(self, h: Tensor, sounding: Tensor, before: Tensor) -> Tensor:
        """a ``(N, most notes of a frame + 1, units)``: before any note, after the first, after the second, ..."""
        most = int(sounding.sum(-1).max()) if len(h) else 0
        row, key = sounding.nonzero(as_tuple=True)
        read = h.new_zeros(len(h), most, self.read.shape[1]).index_put(
            (row, before[row, key]), self.read[key].to(h)
        )
        start = self.context(h)[:, None]
        return torch.cat([start, start + read.cumsum(1)], 1)

    def draw(self, h: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        a, bias, drawn = self.context(h), self.bias(h), []
        for i in range(self.keys):
            logit = linear(relu(a), self.write.weight[i : i + 1])[..., 0] + bias[..., i]
            drawn.append(_flip(logit, temperature, generator))
            a = a + drawn[-1][..., None] * self.read[i]
        return torch.stack(drawn, -1).flip(-1)


def _surprise(logits: Tensor, v: Tensor) -> Tensor:
    """``-log p(v)`` summed over the keys, in float32 or better."""
    exact = torch.promote_types(logits.dtype, torch.float32)
    return binary_cross_entropy_with_logits(logits.to(exact), v.to(exact), reduction="none").sum(-1)


def _flip(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """Ones with the probability ``sigmoid(logits / temperature)``."""
    if temperature == 0:
        return (logits > 0).to(logits.dtype)
    p = (logits.float() / temperature).sigmoid()
    return (torch.rand(p.shape, generator=generator, device=p.device) < p).to(logits.dtype)
