"""The command ``why``: each line of standard input with the words that moved the answer to it in colour."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recurra.answering import waiting
from recurra.errors import ConfigError
from recurra.runs import load
from recurra.tasks import TextClassifier
from recurra.tasks.heat_map import shown_in_colour

__all__ = ["why"]


def why(
    run: Annotated[Path, typer.Argument(help="A run folder of the task classify.", metavar="RUN")],
    label: Annotated[str | None, typer.Option(help="Explain this label instead of the likeliest.")] = None,
) -> None:
    """Show which words moved the answer to each line: blue for it, orange against it."""
    task = load(run)
    if not isinstance(task, TextClassifier):
        raise ConfigError(f"why needs a classifier of text; {run} holds a {task.name}")
    console = Console(highlight=False, soft_wrap=True)
    for lines in waiting(sys.stdin.buffer):
        for line in lines:
            console.print(shown_in_colour(task.heat_map(line, label)) if line.strip() else "")
