"""The transducer: how likely a transcript is when any frame may write any number of tokens.

    z_{t,u} = tanh(a_t + p_u)        p_{t,u} = softmax(W z_{t,u} + b)
    p(y) = the sum over all ways through the lattice of nodes (t, u), from (0, 0) until they leave (T - 1, U)
    a step goes from (t, u) to (t + 1, u) with p_{t,u}[0], the blank's, or to (t, u + 1) with p_{t,u}[y_{u+1}]

Graves 2012. Here is the definition, which keeps a number for each of the V tokens at each node. Its variants keep
three, and compute the others when they need them; for the gradient once more, as Li et al. 2019 do by other means.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor
from torch.nn.functional import pad

from recurra import lengths as ragged
from recurra.errors import DtypeError, ShapeError
from recurra.kernels import lattice
from recurra.kernels.dispatch import Op
from recurra.kernels.lattice import Arcs

__all__ = ["TransducerCall", "define", "define_arcs", "masked", "next_tokens", "steps", "transducer"]


@dataclass(frozen=True)
class TransducerCall:
    """One run over a batch; the value that every variant takes. Numbers are of one real type; the blank is token 0.

    Padding may hold anything and is never read. A token that is none makes its row impossible.
    Raises ShapeError or DtypeError if the tensors do not fit each other.
    """

    encoded: Tensor  # (B, T, J): a, from what was heard
    predicted: Tensor  # (B, U + 1, J): p, from what was written; at place 0 nothing
    weight: Tensor  # (V, J)
    bias: Tensor  # (V,)
    tokens: Tensor  # (B, U) of int64, from 1 to V - 1
    lengths: Tensor  # (B,) on the CPU: frames
    token_lengths: Tensor  # (B,) on the CPU

    def __post_init__(self) -> None:
        if self.tokens.dim() != 2 or self.encoded.dim() != 3:
            shapes = f"{tuple(self.encoded.shape)} and {tuple(self.tokens.shape)}"
            raise ShapeError(f"transducer: expected encoded of shape (B, T, J) and tokens (B, U), got {shapes}")
        (batch, longest), joint = self.tokens.shape, self.encoded.shape[2]
        wanted = {
            "encoded": (batch, self.encoded.shape[1], joint),
            "predicted": (batch, longest + 1, joint),
            "weight": (len(self.bias), joint),
            "lengths": (batch,),
            "token_lengths": (batch,),
        }
        for name, want in wanted.items():
            got = tuple(getattr(self, name).shape)
            if got != want:
                raise ShapeError(f"transducer: expected {name} of shape {want}, got {got}")
        if self.tokens.dtype != torch.int64:
            raise DtypeError(
                f"transducer: expected tokens as whole numbers in int64, got {self.tokens.dtype}; use tokens.long()"
            )
        types = {getattr(self, name).dtype for name in ("encoded", "predicted", "weight", "bias")}
        if len(types) > 1 or not self.encoded.is_floating_point():
            raise DtypeError(f"transducer: expected all numbers in one real type, got {sorted(map(str, types))}")

    def __str__(self) -> str:
        (batch, time, joint), longest = self.encoded.shape, self.tokens.shape[1]
        return f"transducer of V={len(self.bias)}, J={joint} on B={batch}, T={time}, U={longest}"


def define(call: TransducerCall) -> Tensor:
    """``-log p(tokens)`` in nats ``(B,)``: +inf where there is no way."""
    return lattice.nats(define_arcs(call))


def define_arcs(call: TransducerCall) -> Arcs:
    """The log probabilities of all steps, from the logits of the whole lattice."""
    encoded = ragged.blank(call.encoded, call.lengths)
    predicted = ragged.blank(call.predicted, call.token_lengths + 1)
    z = (encoded[:, :, None] + predicted[:, None]).tanh()
    log_p = (z @ call.weight.T + call.bias).log_softmax(-1)
    following = next_tokens(call)[:, None, :, None].expand(-1, encoded.shape[1], -1, -1)
    return masked(call, log_p[..., 0], log_p.gather(3, following)[..., 0])


def next_tokens(call: TransducerCall) -> Tensor:
    """The token that each place is followed by ``(B, U + 1)``; 0 after the last, and for what is no token."""
    inside = ragged.mask(call.token_lengths, call.tokens.shape[1], call.tokens.device)
    legal = inside & (call.tokens > 0) & (call.tokens < len(call.bias))
    return pad(call.tokens.masked_fill(~legal, 0), (0, 1))


def masked(call: TransducerCall, blank: Tensor, token: Tensor) -> Arcs:
    """Steps ``(B, T, U + 1)`` with -inf where there is none: the last frame is left only after the last token."""
    (_, frames, places), device = blank.shape, blank.device
    heard, before_last = (ragged.mask(call.lengths - k, frames, device)[:, :, None] for k in (0, 1))
    written, at_last = (ragged.mask(call.token_lengths + 1 - k, places, device)[:, None] for k in (0, 1))
    blank = blank.masked_fill(~(heard & written & (before_last | ~at_last)), -inf)
    token = token.masked_fill(~(heard & (next_tokens(call) > 0)[:, None]), -inf)
    return Arcs(blank, token, call.lengths, call.token_lengths)


def _hopes(call: TransducerCall) -> bool:
    """Some variant takes every call of real numbers in 32 or 64 bits."""
    return call.encoded.dtype in (torch.float32, torch.float64)


transducer: Op[TransducerCall] = Op("transducer", define, _hopes)
steps: Op[TransducerCall] = Op("transducer steps", define_arcs, _hopes)  # the Arcs, for alignments
