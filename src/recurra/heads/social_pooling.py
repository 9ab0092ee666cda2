"""Social pooling: what an agent sees of its neighbours (Social-LSTM, Alahi et al. 2016).

Around each agent lies a grid of cells. Each cell holds the sum of what the neighbours in it remember, and how they
move, so any number of neighbours gives a vector of one size:

    S_i[m, n] = sum over j in cell (m, n) around i of [P h_j, R_i v_j]        e_i = relu(W S_i)

The paper turns the grid nowhere, sums the whole h_j, and knows no v_j. Here each agent looks ahead (R_i turns the
street so that its way goes along x), and remembers its own way in its own direction; how a neighbour's way lies to
it, only the turned velocity R_i v_j can say. P makes h_j small before it is summed.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError

__all__ = ["Neighbours", "SocialPooling", "neighbours"]


class Neighbours(NamedTuple):
    """All ordered pairs of agents in the same scene.

    of   (N,) who sees
    who  (N,) who is seen
    """

    of: Tensor
    who: Tensor

    def repeated(self, times: int) -> "Neighbours":
        """The pairs when each agent stands there several times in a row, and sees others of the same number."""
        numbers = torch.arange(times, device=self.of.device)
        of, who = ((side[:, None] * times + numbers).flatten() for side in self)
        return Neighbours(of, who)


def neighbours(scene: Tensor) -> Neighbours:
    """The pairs of agents whose scene numbers ``(A,)`` are the same, in rising order; none with itself."""
    same = scene[:, None] == scene[None]
    same.fill_diagonal_(False)
    of, who = same.nonzero(as_tuple=True)
    return Neighbours(of, who)


class SocialPooling(nn.Module):
    """The equations above.

    hidden  units of the memory h
    size    of the answer e
    cells   along each side of the grid
    reach   from the agent to the side of the grid, in the units of the positions
    shared  what is kept of each h before the sum

    h (A, H), at (A, 2), velocity (A, 2), turn (A, 2, 2) each agent's R, here (A,) who is there -> e (A, size). An
    agent outside all grids, or not there, is not seen. Raises ConfigError for a grid without cells or reach.
    """

    def __init__(self, hidden: int, size: int, cells: int = 4, reach: float = 4.0, shared: int = 16) -> None:
        super().__init__()
        if cells < 1 or not reach > 0:
            raise ConfigError(f"SocialPooling: expected cells >= 1 and reach > 0, got {cells} and {reach}")
        self.cells, self.reach = cells, reach
        self.keep = nn.Linear(hidden, shared, bias=False)
        self.output = nn.Linear(cells * cells * (shared + 2), size)

    def forward(
        self, h: Tensor, at: Tensor, velocity: Tensor, turn: Tensor, here: Tensor, pairs: Neighbours
    ) -> Tensor:
        seen = here[pairs.of] & here[pairs.who]
        of, who = pairs.of[seen], pairs.who[seen]
        place = torch.einsum("nij,nj->ni", turn[of], at[who] - at[of])
        cell = ((place + self.reach) * (self.cells / (2 * self.reach))).floor().long()
        inside = ((cell >= 0) & (cell < self.cells)).all(-1)
        of, who, cell = of[inside], who[inside], cell[inside]
        turned = torch.einsum("nij,nj->ni", turn[of], velocity[who])
        seen_there = torch.cat([self.keep(h)[who], turned.to(h)], -1)
        grids = h.new_zeros(len(h) * self.cells**2, seen_there.shape[-1])
        index = (of * self.cells + cell[:, 0]) * self.cells + cell[:, 1]
        grids = grids.index_add(0, index, seen_there)
        return torch.relu(self.output(grids.view(len(h), -1)))
