"""Social pooling against the sums written out, and what it must not see."""

import math

import torch
from torch import Tensor

from recurra.heads.social_pooling import SocialPooling, neighbours


def turned(angles: Tensor) -> Tensor:
    c, s = angles.cos(), angles.sin()
    return torch.stack([c, s, -s, c], -1).view(-1, 2, 2)


def by_hand(pool: SocialPooling, h, at, velocity, turn, here, scene) -> Tensor:
    answers = []
    for i in range(len(h)):
        grid = torch.zeros(pool.cells, pool.cells, pool.keep.out_features + 2)
        for j in range(len(h)):
            if i == j or scene[i] != scene[j] or not (here[i] and here[j]):
                continue
            x, y = (turn[i] @ (at[j] - at[i]) + pool.reach).tolist()
            m, n = (math.floor(v * pool.cells / (2 * pool.reach)) for v in (x, y))
            if 0 <= m < pool.cells and 0 <= n < pool.cells:
                grid[m, n] += torch.cat([pool.keep(h[j]), turn[i] @ velocity[j]])
        answers.append(torch.relu(pool.output(grid.flatten())))
    return torch.stack(answers)


def scene_of(agents: int):
    torch.manual_seed(3)
    h, at, velocity = torch.randn(agents, 5), 3 * torch.randn(agents, 2), torch.randn(agents, 2)
    here = torch.rand(agents) < 0.8
    at[~here], velocity[~here] = torch.nan, torch.nan
    return h, at, velocity, turned(torch.randn(agents)), here, torch.arange(agents) // 6


def test_pooling_is_the_sum_over_cells() -> None:
    pool = SocialPooling(5, 7, cells=3, reach=4.0, shared=4)
    h, at, velocity, turn, here, scene = scene_of(19)
    found = pool(h, at, velocity, turn, here, neighbours(scene))
    torch.testing.assert_close(found, by_hand(pool, h, at, velocity, turn, here, scene))
    alone = pool(h[:1], at[:1], velocity[:1], turn[:1], here[:1], neighbours(scene[:1]))
    torch.testing.assert_close(alone, torch.relu(pool.output.bias)[None])


def test_who_is_not_there_or_far_away_gives_no_gradient() -> None:
    pool = SocialPooling(5, 7, cells=3, reach=4.0)
    h, at, velocity, turn, _, scene = scene_of(6)
    at, velocity = at.nan_to_num(0.5), velocity.nan_to_num(0)
    at[5] = 99.0
    here = torch.tensor([True, True, True, True, False, True])
    h.requires_grad_()
    pool(h, at, velocity, turn, here, neighbours(scene)).sum().backward()
    assert h.grad is not None
    assert h.grad[4].eq(0).all()
    assert h.grad[5].eq(0).all()
    assert h.grad[:4].ne(0).any()


def test_repeated_neighbours_meet_those_of_the_same_number() -> None:
    pairs = neighbours(torch.tensor([0, 0, 1]))
    assert set(zip(*map(Tensor.tolist, pairs.repeated(2)), strict=True)) == {(0, 2), (1, 3), (2, 0), (3, 1)}
