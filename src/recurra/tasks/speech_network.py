"""The network of a recognizer: frames become fewer steps, layers read them, heads say tokens and language.

e    = subsampling(x)                                   T frames -> T / stride steps
h_j  = layers(e)_j
p(k | j) = softmax(V h_j + b)_k                         CTC: a token or blank at each step (Graves et al. 2006)
p(k | j, u) = joiner(h_j, prediction(y_1 .. y_u))_k     transducer (Graves 2012)
p(language) = softmax(U mean_j h_j + c)                 the second head
"""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from recurra.heads.alignment import ctc_loss, feasible
from recurra.heads.transducer import Transducer
from recurra.layers import LAYERS, Bidirectional, Dropout, Recurrent, RecurrentDropout, Stack
from recurra.tasks.speech_batches import SpeechBatch
from recurra.tasks.speech_config import SpeechNet
from recurra.tasks.subsampling import Subsampling

__all__ = ["Encoded", "SpeechNetwork"]


class Encoded(NamedTuple):
    """What the layers make of recordings: h ``(B, J, H)``, zero in the padding, and the steps of each ``(B,)``."""

    h: Tensor
    lengths: Tensor


class SpeechNetwork(nn.Module):
    """The equations above.

    size       features of a frame
    kinds      kinds of token, blank (number 0) among them
    languages  how many there are to tell apart; 0: no second head
    reader     the network of a language model that the search asks, here only to be saved with the rest

    Called with a `SpeechBatch` it gives the nats that training makes small, summed over the tokens. `encode` takes
    frames x ``(B, T, size)`` with lengths ``(B,)``.
    """

    def __init__(
        self, config: SpeechNet, size: int, kinds: int, languages: int = 0, reader: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.config, self.reader = config, reader
        self.subsampling = Subsampling(size, config.channels, config.widths, config.strides)
        self.layers = _layers(config)
        width = self.width = (self.layers.output_shape or (config.channels,))[0]
        self.tokens = nn.Linear(width, kinds) if config.head == "ctc" or config.auxiliary else None
        self.transducer: Transducer | None = None
        if config.head == "transducer":
            make: Any = LAYERS[config.layer]
            self.transducer = Transducer(width, kinds, config.embedding, config.prediction, make, config.prediction)
        self.languages = nn.Linear(width, languages) if languages else None

    @property
    def causal(self) -> bool:
        """Whether it can listen live."""
        return self.layers.causal

    def encode(self, x: Tensor, lengths: Tensor) -> Encoded:
        """Frames x ``(B, T, size)``, lengths ``(B,)`` -> what the heads read."""
        e, lengths = self.subsampling(x, lengths.cpu())
        h, _ = self.layers(e, None, lengths)
        return Encoded(h, lengths)

    def forward(self, batch: SpeechBatch) -> Tensor:
        """The sum of the nats of all transcripts that the recordings are long enough for, and of the languages."""
        return self.nats(self.encode(batch.frames, batch.lengths), batch)

    def nats(self, encoded: Encoded, batch: SpeechBatch) -> Tensor:
        """The same of what the layers made of the batch."""
        can = self.learnable(batch)
        h, lengths = encoded.h[can], encoded.lengths[can]
        tokens, sizes = batch.tokens[can], batch.token_lengths.cpu()[can]
        nats = h.sum() * 0.0  # rows without any token still give a gradient
        if self.transducer is not None:
            nats = nats + self.transducer(h, lengths, tokens, sizes).sum()
        if self.tokens is not None:
            share = self.config.auxiliary if self.transducer is not None else 1.0
            nats = nats + share * ctc_loss(self.log_probs(h), lengths, tokens, sizes)
        if self.languages is not None:
            each = cross_entropy(
                self.language(*encoded), batch.languages, ignore_index=-1, reduction="none", label_smoothing=0.1
            )
            # A recording counts as much as its tokens do.
            nats = nats + self.config.language_weight * (each * batch.token_lengths.to(each)).sum()
        return nats

    def learnable(self, batch: SpeechBatch) -> Tensor:
        """Rows ``(B,)`` whose recording has steps enough for its transcript; from others nothing can be learned."""
        steps = self.subsampling.steps(batch.lengths.cpu())
        if self.tokens is None:
            return steps > 0
        return (steps > 0) & feasible(batch.tokens, batch.token_lengths, steps)

    def log_probs(self, h: Tensor) -> Tensor:
        """Of blank and tokens at each step: h ``(..., H)`` -> ``(..., kinds)``."""
        assert self.tokens is not None
        return self.tokens(h).float().log_softmax(-1)

    def language(self, h: Tensor, lengths: Tensor) -> Tensor:
        """Logits of the languages ``(B, languages)`` from all steps of each recording."""
        assert self.languages is not None
        mean = h.float().sum(1) / lengths.to(h.device).clamp(min=1)[:, None]
        return self.languages(mean.to(h.dtype)).float()

    def without_dropout(self) -> Stack:
        """The same layers, for streaming: all that remains may run as one native call."""
        return Stack(*(layer for layer in self.layers if not isinstance(layer, Dropout)))


def _layers(config: SpeechNet) -> Stack:
    layers: list[Recurrent] = [Dropout(config.dropout)]
    size = config.channels
    for _ in range(config.depth):
        one = [_cell(config, size) for _ in range(2 if config.bidirectional else 1)]
        layers += [Bidirectional(one[0], one[1]) if config.bidirectional else one[0], Dropout(config.dropout)]
        size = config.hidden * len(one)
    return Stack(*layers)


def _cell(config: SpeechNet, size: int) -> Any:
    make: Any = LAYERS[config.layer]
    cell = make(size, config.hidden)
    return RecurrentDropout(cell, config.recurrent_dropout) if config.recurrent_dropout else cell
