"""Twins of torch's layers, for models that exist already.

A twin, `RNN`, `LSTM` or `GRU` of this file, is torch.nn's layer in all that can be seen from outside: constructor,
parameters, state_dict, outputs, packed and unbatched input, projections, errors. Inside, `torch_layer` chooses the
variant that computes the call: a kernel (`recurra.twin_kernels`) where it is faster, else torch's own path. `fuse`
turns the layers of a model into twins, `unfuse` turns them back.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra import twin_kernels
from recurra.errors import ConfigError
from recurra.kernels import dispatch
from recurra.kernels.dispatch import Op
from recurra.twin_kernels import Call, few_steps

__all__ = ["GRU", "LSTM", "RNN", "TORCH_OF", "Call", "Twin", "full_name", "fuse", "torch_layer", "twins", "unfuse"]

M = TypeVar("M", bound=nn.Module)


def _torch_forward(call: Call) -> Any:
    return super(Twin, call.layer).forward(call.input, call.hx)


# Torch's own forward is the definition, and also the last variant: a twin that falls back to it is as fast as ever,
# which is nothing for a PerformanceWarning. Register faster variants above it.
torch_layer: Op[Call] = Op("torch_layer", _torch_forward)
torch_layer.variant("fused", twin_kernels.accepts_fused)(twin_kernels.run_fused)
torch_layer.variant("torch_lstm", twin_kernels.accepts_torch_lstm)(twin_kernels.run_torch_lstm)
torch_layer.variant("torch", lambda call: "")(_torch_forward)


def _captured() -> bool:
    """Whether a compiler, exporter or tracer is watching: it knows torch's operations, not our kernels.

    A function of its own: torch.compile runs a model with torch's layers in pieces, of which this must be one.
    """
    return torch.compiler.is_compiling() or torch._C._is_tracing()


class Twin(nn.RNNBase):
    """What `RNN`, `LSTM` and `GRU` of this file add to torch's: the choice of a variant, and `explain`."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Torch's ``(output, h_n)``, for an LSTM ``(output, (h_n, c_n))``.

        A few steps of a batch are left to torch without asking, so that even a single step of a small layer costs
        no more than torch's; nothing is then recorded, but `explain` says it.
        """
        if _captured() or few_steps(self, input):
            return super().forward(input, hx)
        return torch_layer(Call(self, input, hx))

    def explain(self, input: Tensor | PackedSequence, hx: Any = None) -> str:
        """Run once, without hooks, and say which variant ran and why the others refused."""
        with dispatch.record() as log:
            torch_layer(Call(self, input, hx))
        return "\n".join(map(str, log))

    def __prepare_scriptable__(self) -> nn.Module:
        """Give torch.jit.script torch's own layer with our attributes: it can compile no subclass of it."""
        plain: nn.Module = object.__new__(TORCH_OF[type(self)])
        plain.__dict__ = self.__dict__
        return plain


class RNN(Twin, nn.RNN):
    """Twin of torch.nn.RNN; the equation is that of `recurra.RNN` with b split into b_ih + b_hh."""


class LSTM(Twin, nn.LSTM):
    """Twin of torch.nn.LSTM; the equations are those of `recurra.LSTM` with b split into b_ih + b_hh."""


class GRU(Twin, nn.GRU):
    """Twin of torch.nn.GRU; the equations are those of `recurra.GRU` with b split into b_ih + b_hh."""


_TWIN_OF: dict[type, type] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}
TORCH_OF: dict[type, type] = {twin: plain for plain, twin in _TWIN_OF.items()}


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def fuse(model: M, report: Callable[[str], object] | None = _tell) -> M:
    """Turn every torch.nn.RNN, LSTM and GRU inside ``model`` into its twin, and return the model.

    A layer stays the same object and only changes its class. Parameters, optimizers built before, hooks, the mode
    of training, the device, cuDNN's flat weights and layers used twice are therefore as they were; a model that
    is such a layer is returned as its own twin. Subclasses that others made are left alone.

    report  is given one line that says what changed. By default it goes to standard error, where a person at a
            prompt sees it without setting anything up and where it cannot mix with a program's output; pass
            ``logger.info`` to log it, None to be silent. `twins` names all twins at any time.

    Raises ConfigError if ``model`` is not a torch.nn.Module.
    """
    return _turn(model, _TWIN_OF, "fuse: twins now", report)


def unfuse(model: M, report: Callable[[str], object] | None = _tell) -> M:
    """Turn every twin inside ``model`` back into torch's layer: the exact inverse of `fuse`, same arguments."""
    return _turn(model, TORCH_OF, "unfuse: torch's own again", report)


def twins(model: nn.Module) -> dict[str, str]:
    """Where the twins are: ``{"encoder.rnn": "LSTM"}``; the model itself has the name ``""``, as with torch."""
    return {name: type(m).__name__ for name, m in _check(model, "twins").named_modules() if isinstance(m, Twin)}


def _check(model: M, verb: str) -> M:
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{verb}: expected a torch.nn.Module, got {full_name(model)}; call it on each module")
    return model


def full_name(thing: object) -> str:
    """The class of a thing with its module, for messages."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _turn(model: M, classes: dict[type, type], done: str, report: Callable[[str], object] | None) -> M:
    """Give every layer of a class that is a key the class that is its value; ``done`` is "verb: what became"."""
    verb = done.partition(":")[0]
    found = list(_check(model, verb).named_modules())
    changed = [(name, layer) for name, layer in found if type(layer) in classes]
    derived = [(name, layer) for name, layer in found if _derived(layer, classes)]
    for _, layer in changed:
        layer.__class__ = classes[type(layer)]
    if report is not None:
        line = f"{done}: {_listed(changed)}" if changed else f"{verb}: nothing to change"
        report(f"recurra.{line}" + (f"; left alone as subclasses: {_listed(derived)}" if derived else ""))
    return model


def _derived(layer: nn.Module, classes: dict[type, type]) -> bool:
    known = type(layer) in _TWIN_OF or type(layer) in TORCH_OF
    return not known and isinstance(layer, tuple(classes))


def _listed(found: list[tuple[str, nn.Module]], most: int = 8) -> str:
    names = [f"{name or 'the model itself'} ({type(layer).__name__})" for name, layer in found]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
