"""Tables on a terminal: a line that wraps is better read than a number that is cut off."""

from rich.console import Console
from rich.table import Table

__all__ = ["print_whole"]


def print_whole(table: Table) -> None:
    """Print a table as wide as it is, however narrow the terminal."""
    wide = Console(highlight=False, width=10_000)
    Console(highlight=False, width=max(wide.measure(table).maximum, 40)).print(table)
