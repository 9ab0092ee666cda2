"""Memory for kernels that is used again.

The system takes large blocks back when they are freed and gives them out page by page anew; touching those pages
for the first time can cost more than the loop that fills them. Blocks whose tensors are gone wait here for the next
call of about the same size.
"""

import math
import weakref
from collections import deque
from threading import Lock

import numpy as np
import torch
from torch import Tensor

__all__ = ["empty", "empty_whole"]

SMALL = 1 << 15  # floats: below, the system has its own way to use memory again
MOST = 1 << 27  # floats that may wait: 512 MiB
HUGE = 1 << 19  # floats in a huge page

_returned: deque[np.ndarray] = deque()  # blocks that came back since the last call
_waiting: list[np.ndarray] = []
_lock = Lock()


def empty(*shape: int) -> Tensor:
    """A float32 tensor of any contents, as torch.empty, for kernels' own use."""
    size = math.prod(shape)
    if size < SMALL:
        return torch.empty(shape)
    return _lent(_take(size), 0, shape)


def empty_whole(*shape: int) -> Tensor:
    """The same in one piece of physical memory where the system can, for weights that are read again and again.

    Small pages lie anywhere, and by bad luck so that a cache cannot hold them together: the same loop, over weights
    of half the cache's size, was seen to take 3.0 or 4.7 ms from one process to the next.
    """
    size = math.prod(shape)
    if size < SMALL:
        return torch.empty(shape)
    block = _take(2 * HUGE + size)  # numpy asks for huge pages from 4 MiB on
    return _lent(block, -(block.ctypes.data // 4) % HUGE, shape)


def _lent(block: np.ndarray, begin: int, shape: tuple[int, ...]) -> Tensor:
    view = block[begin : begin + math.prod(shape)]
    # Torch lets go of the view with the last tensor on it, at any moment, also while this thread holds the lock: to
    # append is all that may be done then.
    weakref.finalize(view, _returned.append, block).atexit = False
    return torch.from_numpy(view).view(shape)


def _take(size: int) -> np.ndarray:
    """The smallest block that waits and fits without much waste, or a new one; the oldest go if too many wait."""
    with _lock:
        while _returned:
            _waiting.append(_returned.popleft())
        while sum(map(len, _waiting)) > MOST:
            _waiting.pop(0)
        fitting = [(len(block), i) for i, block in enumerate(_waiting) if size <= len(block) <= 2 * size]
        if fitting:
            return _waiting.pop(min(fitting)[1])
    grain = max(1, 1 << size.bit_length() - 5)  # a little more, so that the next call of nearly this size fits
    raw = np.empty(-(-size // grain) * grain + 16, np.float32)
    return raw[-(raw.ctypes.data // 4) % 16 :]  # at a multiple of 64 bytes
