"""A conditional random field as tutorials write it in plain PyTorch: a loop over time, masks by torch.where."""

import torch
from torch import Tensor, nn

from recurra.heads.crf import CRF

__all__ = ["PlainCRF", "of"]

NEVER = -1e4  # the usual way to forbid: exp(-10000) is 0


class PlainCRF(nn.Module):
    """Transitions, begins and ends as parameters; sentences are padded on the right, and a mask says where."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.begins = nn.Parameter(torch.zeros(tags))
        self.ends = nn.Parameter(torch.zeros(tags))

    def forward(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """``-log p(tags)`` of each sentence ``(B,)``."""
        return self._total(scores, mask) - self._gold(scores, tags, mask)

    def _total(self, scores: Tensor, mask: Tensor) -> Tensor:
        alpha = self.begins + scores[:, 0]
        for t in range(1, scores.shape[1]):
            after = torch.logsumexp(alpha[:, :, None] + self.transitions + scores[:, t, None], 1)
            alpha = torch.where(mask[:, t, None], after, alpha)
        return torch.logsumexp(alpha + self.ends, 1)

    def _gold(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        share = mask.to(scores.dtype)
        emitted = (scores.gather(2, tags[..., None])[..., 0] * share).sum(1)
        moved = (self.transitions[tags[:, :-1], tags[:, 1:]] * share[:, 1:]).sum(1)
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
        return emitted + moved + self.begins[tags[:, 0]] + self.ends[last]

    @torch.no_grad()
    def decode(self, scores: Tensor, mask: Tensor) -> list[list[int]]:
        """The best tags of each sentence by Viterbi, followed back sentence by sentence."""
        best, pointers = self.begins + scores[:, 0], []
        for t in range(1, scores.shape[1]):
            after, pointer = (best[:, :, None] + self.transitions + scores[:, t, None]).max(1)
            best = torch.where(mask[:, t, None], after, best)
            pointers.append(pointer)
        best = best + self.ends
        paths = []
        for row, length in enumerate(mask.sum(1).tolist()):
            path = [int(best[row].argmax())]
            for pointer in reversed(pointers[: length - 1]):
                path.append(int(pointer[row, path[-1]]))
            paths.append(path[::-1])
        return paths


@torch.no_grad()
def of(crf: CRF) -> PlainCRF:
    """The plain form with the weights of ours; what ours forbids becomes very unlikely."""
    made = PlainCRF(crf.tags)
    for name, parameter in made.named_parameters():
        parameter.copy_(getattr(crf, name).masked_fill(~getattr(crf, f"allowed_{name}"), NEVER))
    return made
