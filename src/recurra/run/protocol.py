"""What training knows of a task: its data, its network, its loss and its measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor, nn

__all__ = ["Batches", "Data", "Trainable"]


class Batches(Protocol):
    """Training batches: the same for the same epoch number, so that a resumed run sees what it would have seen."""

    def epoch(self, number: int) -> Sequence[Any]:
        """All batches of one pass, made when they are asked for."""

    def shard(self, rank: int, world: int) -> Self:
        """The part of every batch that process ``rank`` of ``world`` trains on."""


@dataclass(frozen=True)
class Data:
    """The three parts of a data set. Training reads ``train``, chooses by ``valid`` and never touches ``test``."""

    train: Batches
    valid: Batches
    test: Batches


class Trainable(Protocol):
    """The task protocol: one small trainer carries truncated language models and bidirectional taggers alike.

    A task must write the first four methods; the others have answers that most tasks keep.
    """

    maximize: ClassVar[bool] = False  # whether the watched number is better when it is higher, as an accuracy
    unit: ClassVar[str] = "tokens"  # what `loss` counts, for the speed that people see

    def data(self) -> Data:
        """Read the data, and learn from the training part what the task must know (a vocabulary, scales)."""

    def network(self) -> nn.Module:
        """A new network for the data."""

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the losses, what it counts, and the carry for the next batch: a detached state, or None."""

    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Named numbers, the watched one first; lower is better, or higher with ``maximize``."""

    def begin(self, network: nn.Module) -> None:
        """Put pretrained weights into a new network; called before the first step, not after a checkpoint."""
        return

    def parts(self, network: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Groups of parameters by name, each parameter in one; `pace` is asked for each."""
        return {"all": list(network.parameters())}

    def pace(self, part: str, share: float) -> float:
        """Factor of a part's learning rate when ``share`` (0 to 1) of the training is done; 0 freezes the part."""
        return 1.0
