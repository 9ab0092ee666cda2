"""One time step of cells and linear maps as a chain of native calls on memory that stays where it is.

Everything is laid out beforehand: weights packed, results at fixed places, the arguments of every call filled in. A
step is then one call from Python that reads x, moves the states on and leaves y.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra.kernels.cpu import loops, native, packing
from recurra.kernels.cpu.loops import Given, Kernel, Task
from recurra.kernels.cpu.packing import order_of
from recurra.kernels.recurrence import Weights

__all__ = ["Chain"]


class Chain:
    """Steps of B rows: add cells and linear maps from the bottom up, then call it with x ``(B, F)``.

    ``states`` holds a tensor ``(S, B, H)`` for each cell, which every call moves on; use them between calls.
    The result ``y (B, G)`` is the same memory at every call.
    """

    def __init__(self, batch: int, features: int) -> None:
        self.batch, self.x, self.y = batch, torch.zeros(batch, features), torch.zeros(batch, features)
        self.states: list[Tensor] = []
        self._calls: list[tuple[native.Function, ctypes.Array[ctypes.c_int64]]] = []
        self._alive: list[Any] = [self.x]  # structures hold addresses only

    def add_cell(self, kernel: Kernel, weights: Weights) -> None:
        """A cell that reads what was added before it."""
        hidden, below = weights.U.shape[1], self._below()
        state, y = torch.zeros(len(kernel.equation.state), self.batch, hidden), torch.zeros(self.batch, hidden)
        none = torch.empty(0)
        vectors = torch.stack(weights.vectors) if weights.vectors else none.view(0, hidden)
        gains = torch.cat(weights.gains) if weights.gains else none
        tensors = (below.unsqueeze(1), weights.W, weights.b, weights.U, vectors, gains, state, none, none)
        given = Given(*(tensor.detach().contiguous() for tensor in tensors))
        task = Task(kernel, order_of(self.batch, 1, None, False), given)
        projected = self._add_product(below, packing.columns(given.W, hidden), *_bias(kernel, given))
        if kernel.normalized:
            self._add_normal(task, projected)
        values = loops.step_values(task)
        self._add(kernel.forward, **values, x=projected, first=state, y=y, last=state)
        self.states.append(state)
        self.y = y

    def add_linear(self, weight: Tensor, bias: Tensor) -> None:
        """``y = weight y + bias`` of what was added before it."""
        packed = packing.columns(weight.detach().contiguous(), len(weight))
        wide = packing.padded(bias.detach(), len(bias))
        self.y = self._add_product(self._below(), packed, wide, len(weight))

    def __call__(self, x: Tensor) -> Tensor:
        """One step: x ``(B, F)``, float32 and contiguous, in; y out. There are no checks here."""
        self._first[self._place] = x.data_ptr()
        self._run(self._links, self._count)
        return self.y

    def seal(self) -> None:
        """All is added: the calls become one."""
        self._links, self._count, self._run = native.links(self._calls), len(self._calls), native.chain()
        self._first: Any = self._calls[0][1]
        self._place = self._calls[0][0].place("a")

    def _below(self) -> Tensor:
        return self.y if self._calls else self.x

    def _add(self, function: native.Function, **values: Any) -> None:
        self._alive.append(values)
        self._calls.append((function, function.fill(**values)))

    def _add_product(self, a: Tensor, packed: Tensor, bias: Tensor | None, columns: int) -> Tensor:
        out = torch.zeros(self.batch, columns)
        self._add(
            native.products("times"),
            rows=self.batch,
            depth=a.shape[1],
            columns=columns,
            threads=1,
            a_stride=a.shape[1],
            out_stride=columns,
            a=a,
            packed=packed,
            bias=None if bias is None else pad(bias, (0, -len(bias) % 32)),
            out=out,
        )
        return out

    def _add_normal(self, task: Task, projected: Tensor) -> None:
        gates = len(task.kernel.equation.x_gates)
        self._add(
            native.products("normalize"),
            rows=self.batch,
            gates=gates,
            hidden=task.given.U.shape[1],
            threads=1,
            values=projected,
            deviations=torch.zeros(self.batch, gates),
        )


def _bias(kernel: Kernel, given: Given) -> tuple[Tensor | None, int]:
    """What is added to W x, and how many columns it has."""
    bias = packing.blocked(given.b, given.U.shape[1])
    return (None if kernel.normalized else bias), len(bias)
