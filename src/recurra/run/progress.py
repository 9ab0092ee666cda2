"""What a person sees while training runs: a bar on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ProgressBar"]


class ProgressBar:
    """A bar with loss, speed and time left. Nothing is shown if ``quiet``, or in processes other than the first."""

    def __init__(self, quiet: bool = False, unit: str = "tokens") -> None:
        self.unit = unit
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[status]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.line = self.bar.add_task("training", total=1.0, status="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, share: float, step: int, loss: float, speed: float) -> None:
        """Move the bar to ``share`` (0 to 1) of the whole."""
        status = f"step {step}  loss {loss:.3f}  {speed:,.0f} {self.unit}/s"
        self.bar.update(self.line, completed=share, status=status)

    def say(self, values: dict[str, Any]) -> None:
        """Print a line above the bar, such as the result of a validation."""
        self.console.print("  ".join(f"{name} {_short(value)}" for name, value in values.items()))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
