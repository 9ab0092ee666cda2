"""What a person sees while layers practise: a bar with loss, score, speed and time left, and a line a network."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["MemoryProgress"]


class MemoryProgress:
    """A bar over all cells of a grid on a terminal, plain lines elsewhere, nothing if ``quiet``."""

    def __init__(self, cells: int, quiet: bool = False) -> None:
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False, soft_wrap=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.line = self.bar.add_task("memory", total=float(cells), status="")
        self.done = 0

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def begin(self, index: int, cell: tuple[str, int, int]) -> None:
        """Show which network practises now."""
        self.done = index
        layer, length, width = cell
        self.bar.update(self.line, completed=index, description=f"{layer} {length} x {width}", status="")

    def watch(self, share: float, step: int, loss: float, score: float | None, speed: float) -> None:
        """Move the bar to ``share`` (0 to 1) of this network's practice."""
        measured = "" if score is None else f"  score {score:.3f}"
        status = f"step {step}  loss {loss:.4f}{measured}  {speed:.1f} steps/s"
        self.bar.update(self.line, completed=self.done + share, status=status)

    def say(self, text: str) -> None:
        """Print a line above the bar, such as how a network did."""
        self.console.print(text, markup=False)
