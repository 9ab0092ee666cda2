"""The network that predicts paths: an encoder reads steps, a decoder writes them, several futures side by side.

    u_t   = R (p_t - p_{t-1}) / s                             steps, seen from the agent: ahead is x
    h     = encoder(relu(W u_t), social pooling)              of all observed steps
    m_k   = relu(M [h, code_k])                               future k = 1 .. K
    y_kt  = decoder(m_k, social pooling)                      t = 1 .. Q
    p_kt  = p_k,t-1 + v + s R' V y_kt                         v: the last observed step
    p(k)  = softmax(C h)_k

s is a stride, the median way of a step in training: the network knows neither metres nor pixels. Untrained, it
predicts that everybody walks on as before (constant velocity). Nothing depends on where on the
street an agent is and which way it goes. With social pooling (Alahi et al. 2016) all agents of a scene go step by
step side by side; future k of one meets future k of the others.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recurra import lengths as ragged
from recurra import tree
from recurra.data.scenes import PathBatch
from recurra.heads.social_pooling import Neighbours, SocialPooling, neighbours
from recurra.layers import LAYERS, Dropout, Recurrent, Stack
from recurra.tasks.trajectory_config import TrajectoryNet

__all__ = ["Futures", "PathNetwork", "View"]


class Futures(NamedTuple):
    """What may come.

    paths   (A, K, Q, 2) positions
    logits  (A, K) of the probabilities
    """

    paths: Tensor
    logits: Tensor

    @property
    def expected(self) -> Tensor:
        """``(A, Q, 2)``, the one path to name if only one may be named: the first, which learns from everybody."""
        return self.paths[:, 0]


class View(NamedTuple):
    """How each agent sees the street: from its last position ``origin (A, 2)``, turned by ``turn (A, 2, 2)``."""

    origin: Tensor
    turn: Tensor

    @classmethod
    def of(cls, past: Tensor, error: Tensor | None = None) -> "View":
        """The view of agents with ``past (A, P, 2)``, whose way since they came goes along x.

        error  (A,) radians that are added to that direction
        """
        here = ~past.isnan().any(-1)
        first = here.int().argmax(1)
        origin = past[:, -1]
        way = origin - past[torch.arange(len(past), device=past.device), first]
        angle = torch.atan2(way[:, 1], way[:, 0]) + (0 if error is None else error)
        # Who has just come looks nowhere: turned by nothing, every step of his is 0, and he is expected to stay.
        known = (here.sum(1) > 1).to(angle)
        cosine, sine = known * angle.cos(), known * angle.sin()
        return cls(origin, torch.stack([cosine, sine, -sine, cosine], -1).view(-1, 2, 2))

    def inward(self, steps: Tensor) -> Tensor:
        """Differences of positions ``(A, ..., 2)`` as the agent sees them."""
        return torch.einsum("aij,a...j->a...i", self.turn, steps)

    def outward(self, steps: Tensor) -> Tensor:
        """The inverse of `inward`."""
        return torch.einsum("aji,a...j->a...i", self.turn, steps)


class PathNetwork(nn.Module):
    """The equations above; ``future`` is Q, ``stride`` is s in the units of positions.

    Called with a `PathBatch` it gives what training makes small, as a sum over the whole agents, and their number:

        d_k  = mean over t of |p_kt - p_t| / s + end |p_kQ - p_Q| / s   k* = the k with the least d_k
        loss = d_k* + expected d_1 + others (mean over k of d_k) - choice log p(k*)
    """

    stride: Tensor

    def __init__(self, config: TrajectoryNet, future: int, stride: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("stride", torch.tensor(stride))
        self.config, self.future = config, future
        social = config.embedding if config.social == "grid" else 0
        self.embed = nn.Linear(2, config.embedding)
        self.encoder = _stack(config, config.embedding + social)
        self.code = nn.Embedding(config.futures, config.code)
        self.middle = nn.Linear(config.hidden + config.code, config.hidden)
        self.decoder = _stack(config, config.hidden + social)
        self.step = nn.Linear(config.hidden, 2)
        self.choice = nn.Linear(config.hidden, config.futures)
        self.seen = SocialPooling(config.hidden, social, config.cells, config.reach) if social else None
        nn.init.normal_(self.step.weight, std=0.02 if config.futures > 1 else 1e-4)
        nn.init.zeros_(self.step.bias)

    def forward(self, batch: PathBatch) -> tuple[Tensor, int]:
        config, whole = self.config, batch.whole
        found = self.futures(batch.past, batch.scene, batch.error)
        off = distances(found.paths[whole], batch.future[whole]) / self.stride
        cost = off.mean(-1) + config.end * off[..., -1]
        least, best = cost.min(1)
        total = least.sum()
        if config.futures > 1:
            total = total + config.expected * cost[:, 0].sum() + config.others * cost.mean(1).sum()
            total = total + config.choice * cross_entropy(found.logits[whole], best, reduction="sum")
        return total, int(whole.sum())

    def futures(self, past: Tensor, scene: Tensor, error: Tensor | None = None) -> Futures:
        """What may come for agents with ``past (A, P, 2)``, NaN before they came, in scenes numbered ``(A,)``.

        error  (A,) radians by which an agent errs about its direction
        """
        past = past / self.stride
        view = View.of(past, error)
        pairs = neighbours(scene) if self.seen is not None else None
        steps = past[:, 1:] - past[:, :-1]
        there = ~steps.isnan().any(-1)
        steps = steps.masked_fill(~there[..., None], 0)
        h = self._encode(past, view, steps, there, pairs)
        middle = torch.relu(self.middle(self._with_codes(h)))
        u = self._decode(middle, steps[:, -1], view, pairs)
        return Futures((view.origin[:, None, None] + u.cumsum(2)) * self.stride, self.choice(h))

    def _encode(self, past: Tensor, view: View, steps: Tensor, there: Tensor, pairs: Neighbours | None) -> Tensor:
        """h (A, H) of the observed steps ``(A, P - 1, 2)`` that are there."""
        x = torch.relu(self.embed(view.inward(steps)))
        if pairs is None:
            count = there.sum(1)
            late = torch.arange(x.shape[1], device=x.device) + (x.shape[1] - count)[:, None]
            x = x.gather(1, late.clamp(max=x.shape[1] - 1)[..., None].expand_as(x))
            y, _ = self.encoder(x, None, count.cpu())
            return ragged.last(y, count.cpu(), y.new_zeros(len(y), y.shape[-1]))
        h, state = x.new_zeros(len(x), self.config.hidden), self.encoder.initial_state(len(x), x)
        for t in range(x.shape[1]):
            e = self._see(h, past[:, t + 1], steps[:, t], view.turn, there[:, t], pairs)
            y, after = self.encoder.step(torch.cat([x[:, t], e], -1), state)
            h, state = torch.where(there[:, t, None], y, h), tree.where(there[:, t], after, state)
        return h

    def _see(self, h: Tensor, at: Tensor, step: Tensor, turn: Tensor, here: Tensor, pairs: Neighbours) -> Tensor:
        assert self.seen is not None
        seen: Tensor = self.seen(h, at, step, turn, here, pairs)
        return seen

    def _with_codes(self, h: Tensor) -> Tensor:
        """``(A K, H + code)``: each memory beside each future's code."""
        futures = len(self.code.weight)
        codes = self.code.weight.expand(len(h), -1, -1)
        return torch.cat([h[:, None].expand(-1, futures, -1), codes], -1).flatten(0, 1)

    def _decode(self, middle: Tensor, last: Tensor, view: View, pairs: Neighbours | None) -> Tensor:
        """Steps on the street ``(A, K, Q, 2)``."""
        futures, agents = len(self.code.weight), len(last)
        if pairs is None:
            y, _ = self.decoder(middle[:, None].expand(-1, self.future, -1).contiguous())
            return last[:, None, None] + view.outward(self.step(y).view(agents, futures, self.future, 2))
        turn, at = (part.repeat_interleave(futures, 0) for part in (view.turn, view.origin))
        last, pairs = last.repeat_interleave(futures, 0), pairs.repeated(futures)
        moved, state, y = last, self.decoder.initial_state(len(middle), middle), torch.zeros_like(middle)
        here, found = torch.ones(len(middle), dtype=torch.bool, device=middle.device), []
        for _ in range(self.future):
            e = self._see(y, at, moved, turn, here, pairs)
            y, state = self.decoder.step(torch.cat([middle, e], -1), state)
            moved = last + torch.einsum("aji,aj->ai", turn, self.step(y))
            at = at + moved
            found.append(moved)
        return torch.stack(found, 1).view(agents, futures, self.future, 2)


def distances(paths: Tensor, future: Tensor) -> Tensor:
    """``(A, K, Q)`` distances of predicted paths ``(A, K, Q, 2)`` from what came ``(A, Q, 2)``.

    The gradient of a distance 0 is 0, not NaN.
    """
    squares = (paths - future[:, None]).square().sum(-1)
    return torch.sqrt(squares + 1e-12)


def _stack(config: TrajectoryNet, size: int) -> Stack:
    make: Any = LAYERS[config.layer]
    layers: list[Recurrent] = []
    for i in range(config.depth):
        layers += [make(size if i == 0 else config.hidden, config.hidden), Dropout(config.dropout)]
    return Stack(*layers)
