"""Moving digits by name: sequences of a part, made when they are asked for."""

import importlib.util
from pathlib import Path

from torch import Tensor

from recurra.data import sources
from recurra.data.bouncing import MovingDigits, of_part, read_digit_table

__all__ = ["MovingDigits", "digit_images", "moving_digits"]


def moving_digits(part: str, count: int, seed: int = 0, frames: int = 20, size: int = 64) -> MovingDigits:
    """Sequences ``(T, 1, M, M)`` uint8 of a part: train, valid or test; no digit of one is in another.

    Raises ConfigError for another part, DataError if the digits are not here and cannot be fetched.
    """
    return of_part(digit_images(), part, count, seed, frames, size)


def digit_images() -> Tensor:
    """The images ``(1797, 8, 8)`` uint8, 0 to 16: of scikit-learn where it is installed, else the data set's."""
    installed = importlib.util.find_spec("sklearn")
    if installed is not None:
        table = Path(str(installed.origin)).parent / "datasets" / "data" / "digits.csv.gz"
        if table.is_file():
            return read_digit_table(table)
    return read_digit_table(sources.get("moving-digits") / "digits.csv")
