"""Features of a token: its characters, the states of language models, and tables of vectors."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, pad

from recurra import lengths as ragged
from recurra.layers import LSTM, Bidirectional

__all__ = ["CharacterCNN", "CharacterLSTM", "LayerMix", "Projection", "table"]


class CharacterCNN(nn.Module):
    """A word by its trigrams of characters: a convolution and its largest values (Ma and Hovy 2016).

        y_f = max over i of tanh(W_f [e(c_{i-1}), e(c_i), e(c_{i+1})] + b_f)

    characters (U, C), lengths (U,) -> (U, features)
    """

    def __init__(self, kinds: int, size: int, features: int) -> None:
        super().__init__()
        self.embedding = table(kinds, size)
        self.filters = nn.Linear(3 * size, features)
        self.output_size = features

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        longest = characters.shape[1]
        if not longest:
            return self.filters.weight.new_zeros(len(characters), self.output_size)
        # Only characters that are there, one product over all windows: on processors far faster than a convolution.
        e, ends = self.embedding(characters[ragged.mask(lengths, longest, characters.device)]), lengths.cumsum(0)
        y = pad(self.filters(_windows(e, ends, lengths)), (0, 0, 0, 1), value=-torch.inf)
        steps = torch.arange(longest, device=characters.device)
        place = (ends - lengths)[:, None] + torch.minimum(
            steps, lengths[:, None] - 1
        )  # past the end its last again
        return embedding(place.where(lengths[:, None] > 0, len(e)), y).amax(1).tanh()


def _windows(e: Tensor, ends: Tensor, lengths: Tensor) -> Tensor:
    """Each character with its neighbours in the word, words one after another: e (N, E) -> (N, 3 E)."""
    here, none = torch.arange(len(e), device=e.device), len(e)
    there = lengths > 0
    left = (here - 1).index_fill(0, (ends - lengths)[there], none)
    right = (here + 1).index_fill(0, ends[there] - 1, none)
    return embedding(torch.stack([left, here, right], 1), pad(e, (0, 0, 0, 1))).flatten(1)


class CharacterLSTM(nn.Module):
    """A word by what two LSTMs know after reading it, one from each end (Lample et al. 2016).

    y = [h_C of the one ahead, h_1 of the one back]

    characters (U, C), lengths (U,) -> (U, 2 * features)
    """

    def __init__(self, kinds: int, size: int, features: int) -> None:
        super().__init__()
        self.embedding = table(kinds, size)
        self.layer = Bidirectional(LSTM(size, features), LSTM(size, features))
        self.output_size = 2 * features

    def forward(self, characters: Tensor, lengths: Tensor) -> Tensor:
        _, (ahead, back) = self.layer(self.embedding(characters), lengths=lengths)
        return torch.cat([ahead.h, back.h], 1)


class LayerMix(nn.Module):
    """The layers of a language model, mixed as the task likes (ELMo; Peters et al. 2018).

    y = g * sum over l of softmax(w)_l x_l               x (B, T, L, D) -> y (B, T, D)
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * torch.einsum("btld,l->btd", x, self.weights.softmax(0))


class Projection(nn.Module):
    """Fewer features of many inputs, at the pace of Adam.

        y = W x / sqrt(D) + b               W ~ N(0, 1)            x (..., D) -> y (..., features)

    A step of Adam moves every weight by the learning rate, so that without the root y would move D times as far.
    With rates that suit small tables of vectors, the states of a language model, D = 1024, would not settle.
    """

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, size))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x * x.shape[-1] ** -0.5, self.weight, self.bias)


def table(kinds: int, size: int) -> nn.Embedding:
    """Vectors of length 1 or so (Lample et al. 2016): of larger ones Adam would unlearn the noise for long."""
    made = nn.Embedding(kinds, size)
    nn.init.uniform_(made.weight, -((3 / size) ** 0.5), (3 / size) ** 0.5)
    return made
