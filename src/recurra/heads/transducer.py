"""A transducer on top of an encoder: speech becomes text while it is heard.

Graves 2012; with a joiner as in Graves, Mohamed and Hinton 2013.
"""

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from recurra import lengths as ragged
from recurra.errors import ConfigError, DataError, ShapeError
from recurra.kernels import dispatch, lattice
from recurra.kernels.transducer import TransducerCall, steps, transducer
from recurra.layers.base import Recurrent
from recurra.layers.gru import GRU

__all__ = ["Heard", "Transducer"]


class Heard(NamedTuple):
    """Tokens that were heard.

    tokens       numbers, without blanks
    frames       at which frame of the encoder each was written, from 0
    confidences  the probability of each token there, given those before it, from 0 to 1
    nats         minus the log probability of what was found, as the method that found it counts
    """

    tokens: list[int]
    frames: list[int]
    confidences: list[float]
    nats: float


class Transducer(nn.Module):
    """The probability of a transcript, given what an encoder heard, frame by frame.

        p_u     = layer(embedding of y_1 .. y_u)                      what was written, the prediction network
        z_{t,u} = tanh(A e_t + c + P p_u)                             the joiner
        p(k | t, u) = softmax(W z_{t,u} + b)[k]                       k = 0 is the blank: nothing more at this frame
        p(y | e) = the sum over all ways to write y_1 .. y_U while going through the frames

    Any frame may write any number of tokens. So there may be more tokens than frames, and what was written matters
    to what is written next. All methods take encoded frames ``e (B, T, F)``, padded on the right, and lengths
    ``(B,)`` as every layer does, or None. Padding is never read. Half precision is computed in float32.

    encoder_size  F
    tokens        V, the kinds of token, the blank among them as token 0
    embedding     numbers for each token, where the prediction network reads
    hidden        units of the prediction network
    layer         makes it: layer(embedding, hidden) is any causal recurrent layer, such as a class, or a `Stack`
    joint         units of the joiner

    All methods raise ShapeError, DtypeError or LengthsError where the tensors do not fit.
    """

    def __init__(
        self,
        encoder_size: int,
        tokens: int,
        embedding: int = 64,
        hidden: int = 128,
        layer: Callable[[int, int], Recurrent] = GRU,
        joint: int = 128,
    ) -> None:
        super().__init__()
        if tokens < 2:
            raise ConfigError(f"Transducer: expected the blank and at least one token, got {tokens} in all")
        self.tokens = tokens
        self.embedding = nn.Embedding(tokens, embedding)  # that of the blank stands before the first token
        self.layer = layer(embedding, hidden)
        if not self.layer.causal:
            raise ConfigError(
                "Transducer: the prediction network cannot know what will be written; take a causal layer"
            )
        self.from_encoder = nn.Linear(encoder_size, joint)
        self.from_written = nn.Linear((self.layer.output_shape or (hidden,))[0], joint, bias=False)
        self.output = nn.Linear(joint, tokens)

    def forward(
        self, encoded: Tensor, lengths: Tensor | list[int] | None, tokens: Tensor, token_lengths: Tensor | list[int]
    ) -> Tensor:
        """``-log p(tokens)`` in nats ``(B,)``, what training makes small; its gradients are exact.

        tokens (B, U) of int64, padded on the right, with token_lengths (B,)

        Raises DataError, naming row and place, for a number that is no token, and for tokens without any frame.
        """
        found = transducer(self._call(encoded, lengths, tokens, token_lengths))
        if not torch.compiler.is_compiling() and bool((found == inf).any()):
            row = int((found == inf).nonzero()[0])
            raise DataError(f"Transducer: row {row} has tokens but no frame; leave such rows out")
        return found

    loss = forward

    @torch.no_grad()
    def align(
        self, encoded: Tensor, lengths: Tensor | list[int] | None, tokens: Tensor, token_lengths: Tensor | list[int]
    ) -> list[Heard]:
        """The likeliest way to write the tokens of each row: at which frame each of them is written.

        ``nats`` are those of this way alone, and so no less than the loss.
        """
        call = self._call(encoded, lengths, tokens, token_lengths)
        arcs = steps(call)
        frames, costs = lattice.best_way(arcs)
        places = torch.arange(frames.shape[1], device=frames.device)
        rows = torch.arange(len(frames), device=frames.device)[:, None]
        shares = arcs.token[rows, frames.clamp(min=0), places].exp() if arcs.token.numel() else frames.double()
        sizes = call.token_lengths.tolist()
        return [
            Heard(written[:size].tolist(), at[:size].tolist(), sure[:size].tolist(), float(cost))
            for written, at, sure, cost, size in zip(call.tokens, frames, shares, costs, sizes, strict=True)
        ]

    @torch.no_grad()
    def passages(
        self, encoded: Tensor, lengths: Tensor | list[int] | None, tokens: Tensor, token_lengths: Tensor | list[int]
    ) -> Tensor:
        """The probability ``(B, T, U + 1)`` that, when frame t is heard, u tokens have been written.

        Given that the row's tokens are right; zero in the padding. A row's frames sum to 1.
        """
        return lattice.posterior(steps(self._call(encoded, lengths, tokens, token_lengths))).blank

    def explain(
        self, encoded: Tensor, lengths: Tensor | list[int] | None, tokens: Tensor, token_lengths: Tensor | list[int]
    ) -> str:
        """Run the loss once, and say which variant of each operation ran and why the others refused."""
        with dispatch.record() as log:
            self(encoded, lengths, tokens, token_lengths)
        return "\n".join(map(str, log))

    # What a search needs: one frame, one token.

    def listen(self, encoded: Tensor) -> Tensor:
        """Encoded frames ``(N, F)`` in the joint space ``(N, J)``."""
        return self._wide(self.from_encoder(encoded))

    def write(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The prediction network after one more token ``(N,)``: p in the joint space ``(N, J)``, and its state.

        Without a state the token is that before the first, 0.
        """
        if state is None:
            state = self.layer.initial_state(len(tokens), self.embedding.weight)
        y, state = self.layer.step(self.embedding(tokens), state)
        return self._wide(self.from_written(y)), state

    def join(self, heard: Tensor, written: Tensor) -> Tensor:
        """``log p(k | t, u)`` ``(N, V)`` from the two sides, either of which may be a single row."""
        z = (heard + written).tanh()
        return linear(z, self.output.weight.to(z), self.output.bias.to(z)).log_softmax(-1)

    @staticmethod
    def _wide(x: Tensor) -> Tensor:
        return x.to(torch.promote_types(x.dtype, torch.float32))

    def _call(
        self, encoded: Tensor, lengths: Any, tokens: Tensor, token_lengths: Tensor | list[int]
    ) -> TransducerCall:
        """The operation's call, of checked input."""
        size = self.from_encoder.in_features
        if encoded.dim() != 3 or encoded.shape[2] != size:
            raise ShapeError(f"Transducer: expected encoded of shape (B, T, {size}), got {tuple(encoded.shape)}")
        batch, time, _ = encoded.shape
        if tokens.dim() != 2 or len(tokens) != batch:
            raise ShapeError(f"Transducer: expected tokens of shape ({batch}, U), got {tuple(tokens.shape)}")
        lengths = ragged.check([time] * batch if lengths is None else lengths, batch, time)
        sizes = ragged.check(token_lengths, batch, tokens.shape[1])
        before = self._checked(tokens, sizes)
        y, _ = self.layer(self.embedding(pad(before, (1, 0))), lengths=sizes + 1)
        predicted, heard = self._wide(self.from_written(y)), self._wide(self.from_encoder(encoded))
        weights = (self.output.weight.to(heard), self.output.bias.to(heard))
        return TransducerCall(heard, predicted, *weights, tokens, lengths, sizes)

    def _checked(self, tokens: Tensor, sizes: Tensor) -> Tensor:
        """Tokens with 0 in the padding. Raises DataError for a number that is no token."""
        inside = ragged.mask(sizes, tokens.shape[1], tokens.device)
        wrong = inside & ((tokens < 1) | (tokens >= self.tokens))
        if not torch.compiler.is_compiling() and bool(wrong.any()):
            row, place = wrong.nonzero()[0].tolist()
            raise DataError(
                f"Transducer: row {row}, place {place}: expected a token of 1 to {self.tokens - 1}, for 0 is the "
                f"blank; got {int(tokens[row, place])}"
            )
        return tokens.masked_fill(~inside, 0)
