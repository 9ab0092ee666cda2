"""The Jacobian of a layer's last state by an earlier one: its singular values, its growth, and what inputs do.

    J_t = ds_t / ds_{t-1}          ds_T / ds_t = J_T J_{T-1} ... J_{t+1}          one row, s the whole state

The product is pulled back from the end, several directions at a time, as rows of one batch: rows do not see each
other, so one gradient of one step gives all of them. The directions are made orthogonal again on the way by QR, as
for Lyapunov exponents (Benettin et al. 1980): no product is too small or too large for floating point.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra import tree
from recurra.diagnose.passage import Passage, memory
from recurra.layers import Recurrent

__all__ = ["Growth", "grow"]

WHOLE = 256  # states up to this size: the whole Jacobian
SAMPLE = 64  # directions of a larger one
OUTPUTS = 32  # directions of the output, for the influence of inputs
RESOLVED = 1e-10  # singular values smaller than this beside the largest are lost in a product in float64


@dataclass(frozen=True)
class Growth:
    """What becomes of a small change of the state, over growing distances, in one row.

    lags        (P,) distances in steps at which the Jacobian ds_T / ds_{T-lag} was looked at, 0 first
    singular    (P, 3) natural logarithms of its largest, median and smallest singular value
    influence   (T,) natural logarithm of |dy_T / dx_{T-lag}| for every lag; empty if x holds no real numbers
    directions  how many of ``size`` directions were followed
    size        of the state, real numbers
    """

    lags: Tensor
    singular: Tensor
    influence: Tensor
    directions: int
    size: int

    @property
    def exponent(self) -> float:
        """The largest Lyapunov exponent in nats a step: growth of the largest singular value.

        Between a quarter of the way and its end, so that the beginning does not count.
        """
        if len(self.lags) < 2:
            return math.nan
        begin = len(self.lags) // 4
        steps = int(self.lags[-1] - self.lags[begin])
        end = float(self.singular[-1, 0])
        return end if math.isinf(end) else (end - float(self.singular[begin, 0])) / steps


def grow(passage: Passage, row: int, seed: int = 0) -> Growth:
    """Follow directions of the state of one row from its last step to its first.

    The Jacobian goes back to the state after the first step; the one before it, often zero, is unlike all others.
    """
    steps, state = int(passage.lengths[row]), tree.rows(passage.before[0], [row])
    size = sum(_real(leaf).numel() for leaf in memory(state))
    generator = torch.Generator().manual_seed(seed)
    chain = _Chain(_directions(size, WHOLE, SAMPLE, generator).to(_real(memory(state)[0])))
    stride = min(8, math.ceil(steps / 64))
    lags, singular, influence = [0], [torch.zeros(3, dtype=torch.float64)], []
    for lag in range(1, steps + 1):
        x, state = passage.x[row, steps - lag], tree.rows(passage.before[steps - lag], [row])
        first = lag == 1
        felt = chain.begin(passage.layer, x, state, generator) if first else chain.pull(passage.layer, x, state)
        influence += [felt] if felt is not None else []
        if lag < steps and (lag % stride == 0 or lag == steps - 1):
            lags.append(lag)
            singular.append(chain.settle())
    found = torch.tensor(influence, dtype=torch.float64)
    return Growth(torch.tensor(lags), torch.stack(singular), found, chain.count, size)


def _directions(size: int, whole: int, sample: int, generator: torch.Generator) -> Tensor:
    """Orthonormal rows ``(K, size)``: all of them, or some at random."""
    if size <= whole:
        return torch.eye(size, dtype=torch.float64)
    drawn = torch.randn(size, sample, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(drawn).Q.T


class _Chain:
    """Directions on their way back: rows for the state ``(K, N)`` and for the output ``(L, N)``.

    The product of all R of the QR decompositions so far is kept, scaled, so that it neither vanishes nor overflows.
    """

    def __init__(self, rows: Tensor) -> None:
        self.rows, self.count = rows, len(rows)
        self.product = torch.eye(self.count, dtype=torch.float64, device=rows.device)
        self.scale = 0.0  # the logarithm of what the product was divided by
        self.diagonal = torch.zeros(self.count, dtype=torch.float64, device=rows.device)
        self.outputs = rows[:0]
        self.loudness = 0.0  # the logarithm of what the output's rows were divided by

    def begin(self, layer: Recurrent, x: Tensor, state: Any, generator: torch.Generator) -> float | None:
        """The last step, where the output's directions set out too."""
        y, _ = layer.step(x[None], state)
        wanted = _directions(y[0].numel(), OUTPUTS, OUTPUTS, generator) * math.sqrt(max(1, y[0].numel() / OUTPUTS))
        self.rows, _ = _pull(layer, x, state, self.rows, None)
        self.outputs, felt = _pull(layer, x, state, None, wanted.to(self.rows))
        return self._felt(felt)

    def pull(self, layer: Recurrent, x: Tensor, state: Any) -> float | None:
        """One step further back; the logarithm of how much this step's input does to the last output."""
        both, felt = _pull(layer, x, state, torch.cat([self.rows, self.outputs]), None)
        self.rows, self.outputs = both[: self.count], both[self.count :]
        return self._felt(None if felt is None else felt[self.count :])

    def _felt(self, felt: Tensor | None) -> float | None:
        return None if felt is None else _log(felt.norm()) + self.loudness

    def settle(self) -> Tensor:
        """Make the directions orthogonal again; logarithms of the largest, median and smallest singular value."""
        loud = float(self.outputs.norm())
        if 0 < loud < math.inf:
            self.outputs, self.loudness = self.outputs / loud, self.loudness + math.log(loud)
        if not self.rows.isfinite().all():
            return torch.full((3,), math.nan, dtype=torch.float64)
        q, r = torch.linalg.qr(self.rows.T.double())
        self.rows = q.T.to(self.rows.dtype)
        self.product = r @ self.product
        self.diagonal = self.diagonal + r.diagonal().abs().log()
        size = float(self.product.norm())
        if size > 0:
            self.product, self.scale = self.product / size, self.scale + math.log(size)
        return self._singular()

    def _singular(self) -> Tensor:
        """Those lost beside the largest are taken from the diagonals of R, which have the right growth."""
        exact = torch.linalg.svdvals(self.product)
        resolved = exact > RESOLVED * exact[0]
        logs = torch.where(resolved, exact.log() + self.scale, self.diagonal.sort(descending=True).values)
        logs = torch.where(resolved, logs, logs.minimum(math.log(RESOLVED) + exact[0].log() + self.scale))
        if self.count < self.rows.shape[1]:  # of a sample of directions only the largest says something
            return torch.tensor([float(logs[0]), math.nan, math.nan], dtype=torch.float64)
        return torch.stack([logs[0], logs[(self.count - 1) // 2], logs[-1]]).cpu()


def _pull(
    layer: Recurrent, x: Tensor, state: Any, rows: Tensor | None, outputs: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Pull gradients ``(K, N)`` of the state after a step, or of its output, back to the state before and to x."""
    given = rows if rows is not None else outputs
    assert given is not None
    count = len(given)
    state = tree.map(lambda leaf: leaf.expand(count, *leaf.shape[1:]).detach().clone(), state)
    inputs = [leaf.requires_grad_() for leaf in memory(state)]
    x = x.detach().expand(count, *x.shape).clone()
    real = x.is_floating_point() or x.is_complex()
    with torch.enable_grad():
        y, after = layer.step(x.requires_grad_() if real else x, state)
        results = memory(after) if rows is not None else [y]
        pairs = [(r, c) for r, c in zip(results, _split(given, results), strict=True) if r.requires_grad]
        wanted = [*inputs, x] if real else inputs
        found = torch.autograd.grad(
            [r for r, _ in pairs], wanted, [c for _, c in pairs], allow_unused=True, materialize_grads=True
        )
    felt = _real(found[-1]) if real else None
    return torch.cat([_real(gradient) for gradient in found[: len(inputs)]], 1), felt


def _real(tensor: Tensor) -> Tensor:
    """``(B, N)`` real numbers: complex ones count as two."""
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).flatten(1)


def _split(rows: Tensor, like: list[Tensor]) -> list[Tensor]:
    """The inverse of `_real` on several tensors side by side."""
    parts = []
    for piece, leaf in zip(rows.split([_real(leaf).shape[1] for leaf in like], 1), like, strict=True):
        whole = torch.view_as_complex(piece.reshape(*leaf.shape, 2).contiguous()) if leaf.is_complex() else piece
        parts.append(whole.reshape(leaf.shape).to(leaf.dtype))
    return parts


def _log(value: Tensor) -> float:
    number = float(value)
    return math.log(number) if 0 < number < math.inf else -math.inf if number == 0 else math.nan
