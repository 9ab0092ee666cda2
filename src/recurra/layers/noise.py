"""Random numbers that belong to a row and a time step, so that steps equal forward in training too.

A layer with noise keeps a seed per row in its state, and a counter of steps where the noise changes over time. The
bits are a hash of (seed, step, unit): the same for one step and for a whole sequence, for a row alone and in a
batch, after saving and loading. The hash is the 32-bit mixer of Chris Wellons' "lowbias32" (2018).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from recurra.errors import BuildError, ConfigError
from recurra.kernels import dispatch
from recurra.kernels.cpu import fused, native

__all__ = ["check_rate", "draw_seed", "dropped"]


def check_rate(name: str, p: float) -> float:
    """``p`` as a float in [0, 1), or ConfigError."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
        raise ConfigError(f"{name}: expected a rate 0 <= p < 1, got {p!r}")
    return float(p)


def draw_seed(batch: int, like: Tensor) -> Tensor:
    """New seeds ``(B,)`` from torch's generator, on the device of ``like``."""
    return torch.randint(2**31, (batch,), device=like.device)


def dropped(p: float, seed: Tensor, step: Tensor, shape: Sequence[int]) -> Tensor:
    """``(*step.shape, *shape)`` booleans, each true with probability ``p``.

    seed (B,), step (B,) or (B, T): which numbers to give.
    """
    start = _mix(seed.int().view(-1, *[1] * (step.dim() - 1)) ^ _mix(step.int()))
    units, limit = math.prod(shape), int(p * 2**32) - 2**31
    if start.numel() * units > 4096 and _native(start):
        return _drawn(start, units, limit).view(*step.shape, *shape)
    bits = _mix(start[..., None] ^ _mix(torch.arange(units, dtype=torch.int32, device=seed.device) + 1))
    return (bits < limit).view(*step.shape, *shape)


def _native(start: Tensor) -> bool:
    """Whether the same bits may come from compiled code: whole numbers, so they are the same to the last."""
    plain = start.device.type == "cpu" and type(start) is Tensor and not fused.watched()
    return plain and not dispatch.forced() and _compiles()


@lru_cache(maxsize=1)
def _compiles() -> bool:
    try:
        return native.products("noise") is not None
    except BuildError:
        return False


def _drawn(start: Tensor, units: int, limit: int) -> Tensor:
    out, starts = torch.empty(start.numel(), units, dtype=torch.bool), start.contiguous()
    threads = torch.get_num_threads() if out.numel() > 1 << 18 else 1
    native.products("noise")(rows=len(out), units=units, limit=limit, threads=threads, starts=starts, out=out)
    return out


def _mix(z: Tensor) -> Tensor:
    """A bijection of int32 whose output bits each depend on every input bit; products wrap."""
    z = z ^ ((z >> 16) & 0xFFFF)
    z = z * 0x7FEB352D
    z = z ^ ((z >> 15) & 0x1FFFF)
    z = z * (0x846CA68B - 2**32)
    return z ^ ((z >> 16) & 0xFFFF)
