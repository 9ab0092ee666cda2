"""Data sets that are drawn, with a seed of one's own: what ``recurra data get`` draws from seed 0."""

from collections.abc import Callable
from pathlib import Path

from recurra.config import suggest
from recurra.data.moving_digits import digit_images
from recurra.data.packages import temporary
from recurra.data.preparations.drawings import draw_digits, draw_figures
from recurra.errors import ConfigError

__all__ = ["DRAWN", "draw"]


def _digits(folder: Path, seed: int) -> None:
    draw_digits(folder, digit_images(), seed)


DRAWN: dict[str, Callable[[Path, int], None]] = {"figures": draw_figures, "moving-digits": _digits}


def draw(name: str, folder: str | Path, seed: int) -> Path:
    """Draw a data set into a new folder, which is there only when it is whole.

    Raises ConfigError for another name, or a folder that is there already.
    """
    folder = Path(folder)
    if name not in DRAWN:
        raise ConfigError(
            f"unknown drawn data set {name!r}{suggest(name, list(DRAWN))}; there are {', '.join(DRAWN)}"
        )
    if folder.exists():
        raise ConfigError(f"{folder} is there already; choose a new folder")
    with temporary(folder.parent) as part:
        made = part / "made"
        made.mkdir()
        DRAWN[name](made, seed)
        made.rename(folder)
    return folder
