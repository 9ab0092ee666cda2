"""How the next frame comes out of maps: painted anew, as a change of the last one, or moved from it and changed.

Each is a module ``(h (n, H, *places), x (n, C, M, N)) -> x' (n, C, M, N)`` whose frames have values from 0 to 1, or
nearly so. One convolution that sees one place gives all pixels of its patch.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle

from recurra.tasks.frames_config import FramesNet

__all__ = ["OUTPUTS", "Change", "Motion", "Paint"]

STILL = 0.95  # share of a pixel that a new network leaves where it is


class Paint(nn.Module):
    """Paint a frame anew, for frames that are nearly black and white.

    x' = sigmoid(A h)
    """

    def __init__(self, maps: int, channels: int, config: FramesNet) -> None:
        super().__init__()
        self.patch = config.patch
        self.values = nn.Conv2d(maps, channels * config.patch**2, 1)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """The next frame."""
        return torch.sigmoid(pixel_shuffle(self.values(h), self.patch).float())


class Change(nn.Module):
    """Add something to the last frame; a new network adds nothing.

    x' = x + A h
    """

    def __init__(self, maps: int, channels: int, config: FramesNet) -> None:
        super().__init__()
        self.patch = config.patch
        self.values = _nothing(maps, channels * config.patch**2)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """The next frame."""
        return x + pixel_shuffle(self.values(h), self.patch).float()


class Motion(nn.Module):
    """Take each pixel from near it in the last frame, then change it (Finn et al. 2016; Niklaus et al. 2017).

        x'(p) = sum_i sum_j r_i(p) s_j(p) x(p + (i, j)) + (A h)(p)
        r(p)  = softmax((B h)(p))        s(p) = softmax((D h)(p))

    i and j go from -reach to reach: a pixel chooses by how many rows and by how many columns it moves. Beyond the
    sides the frame goes on as at its side. A new network leaves nearly everything where it was.
    """

    def __init__(self, maps: int, channels: int, config: FramesNet) -> None:
        super().__init__()
        self.patch, self.reach = config.patch, config.reach
        self.steps = 2 * config.reach + 1
        self.values = _nothing(maps, channels * config.patch**2)
        self.ways = _nothing(maps, 2 * self.steps * config.patch**2)
        with torch.no_grad():
            bias = self.ways.bias.view(2, self.steps, -1)  # type: ignore[union-attr]
            bias[:, config.reach] = math.log((self.steps - 1) * STILL / (1 - STILL))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """The next frame."""
        moved = _moved(x, *self.weights(h), self.reach)
        return moved + pixel_shuffle(self.values(h), self.patch).float()

    def weights(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """r and s ``(n, 2 reach + 1, M, N)``: from how many rows and columns away each pixel is taken."""
        rows, columns = pixel_shuffle(self.ways(h), self.patch).float().unflatten(1, (2, self.steps)).unbind(1)
        return rows.softmax(1), columns.softmax(1)


def _moved(x: Tensor, rows: Tensor, columns: Tensor, reach: int) -> Tensor:
    """The double sum: a frame ``(n, C, M, N)`` by weights ``(n, K, M, N)``, row by row: that stays in cache."""
    height, width = x.shape[2:]
    wide = pad(x, [reach] * 4, mode="replicate")
    beside = torch.stack([wide[..., j : j + width] for j in range(2 * reach + 1)], 2)  # (n, C, K, M + 2 reach, N)
    taken = [(beside[..., i : i + height, :] * columns[:, None]).sum(2) for i in range(2 * reach + 1)]
    return (torch.stack(taken, 2) * rows[:, None]).sum(2)


def _nothing(maps: int, channels: int) -> nn.Conv2d:
    """A convolution that gives zeros until it has learned something."""
    made = nn.Conv2d(maps, channels, 1)
    nn.init.zeros_(made.weight)
    nn.init.zeros_(made.bias)  # type: ignore[arg-type]
    return made


OUTPUTS: dict[str, type[nn.Module]] = {"paint": Paint, "change": Change, "motion": Motion}
