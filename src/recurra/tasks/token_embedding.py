"""Vectors for tokens: of their own, and of the pieces that they are made of."""

import torch
from torch import Tensor, nn

__all__ = ["SubwordEmbedding", "TokenEmbedding"]


class TokenEmbedding(nn.Module):
    """A vector for each kind of token. In training some kinds are zero for a whole batch (Gal and Ghahramani 2016).

    tokens (...) -> vectors (..., size)
    """

    def __init__(self, kinds: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.table, self.dropout = nn.Embedding(kinds, size), dropout
        nn.init.normal_(self.table.weight, std=size**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.table(tokens)
        if not self.training or not self.dropout:
            return vectors
        kept = torch.rand(self.table.num_embeddings, device=tokens.device) >= self.dropout
        return vectors * (kept / (1 - self.dropout))[tokens][..., None]


class SubwordEmbedding(nn.Module):
    """The vector of a token plus the mean of those of its pieces (Bojanowski et al. 2017).

        v = token[n_0] + sum over k of piece[n_k] / (pieces of this token)

    numbers (..., 1 + K): the token, then its pieces, 0 for none -> vectors (..., size)
    """

    def __init__(self, kinds: int, buckets: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = TokenEmbedding(kinds, size, dropout)
        self.pieces = nn.EmbeddingBag(1 + buckets, size, mode="mean", padding_idx=0)
        nn.init.normal_(self.pieces.weight, std=size**-0.5)
        with torch.no_grad():
            self.pieces.weight[0] = 0

    def forward(self, numbers: Tensor) -> Tensor:
        vectors: Tensor = self.tokens(numbers[..., 0])
        return vectors + self.pieces(numbers[..., 1:].flatten(0, -2)).view(vectors.shape)
