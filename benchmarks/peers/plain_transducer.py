"""The transducer's loss as one writes it in plain PyTorch: all logits, then the ways diagonal by diagonal."""

import torch
from torch import Tensor

from recurra.kernels.transducer import TransducerCall

__all__ = ["plain_loss"]

NEVER = -1e30  # logaddexp of two infinities has no gradient


def plain_loss(call: TransducerCall) -> Tensor:
    """``-log p(tokens)`` in nats ``(B,)``, for rows of one frame or more."""
    joined = torch.tanh(call.encoded[:, :, None] + call.predicted[:, None])
    log_probs = torch.log_softmax(joined @ call.weight.T + call.bias, dim=-1)
    (batch, frames, places), rows = log_probs.shape[:3], torch.arange(len(call.tokens))
    blank = log_probs[..., 0]
    index = call.tokens[:, None, :, None].expand(-1, frames, -1, -1)
    token = torch.gather(log_probs[:, :, :-1], 3, index)[..., 0]
    token = torch.cat([token, token.new_full((batch, frames, 1), NEVER)], 2)
    u = torch.arange(places)
    alpha = blank.new_full((batch, places), NEVER)
    alpha[:, 0] = 0
    history = [alpha]
    for d in range(1, frames + places - 1):
        t = (d - 1 - u).clamp(0, frames - 1)
        inside = (d - 1 - u >= 0) & (d - 1 - u < frames)
        stays = torch.where(inside, alpha + blank[:, t, u], NEVER)
        moves = torch.where(inside, alpha + token[:, t, u], NEVER)
        alpha = torch.logaddexp(stays, torch.nn.functional.pad(moves[:, :-1], (1, 0), value=NEVER))
        history.append(alpha)
    ends = call.lengths - 1 + call.token_lengths
    leaving = blank[rows, call.lengths - 1, call.token_lengths]
    return -(torch.stack(history, 1)[rows, ends, call.token_lengths] + leaving)
