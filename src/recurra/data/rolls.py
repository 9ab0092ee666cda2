"""Piano rolls: which of the 88 keys of a piano sound in each frame of a piece, and batches of whole pieces.

The rolls of the usual benchmarks (Boulanger-Lewandowski et al. 2012) are MATLAB files; MIDI files do as well.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.data.batches import RowBatches
from recurra.data.midi import KEYS, read_midi
from recurra.errors import ConfigError, DataError

__all__ = ["PARTS", "Rolls", "read_roll", "read_rolls", "roll_batches"]

PARTS = ("train", "valid", "test")
VARIABLES = ("traindata", "validdata", "testdata")  # in the MATLAB file, in the order of PARTS


class Rolls(NamedTuple):
    """Pieces side by side, padded on the right.

    frames   (B, T, keys)  1 where a key sounds, else 0
    lengths  (B,)          frames of each piece
    """

    frames: Tensor
    lengths: Tensor


def roll_batches(
    rolls: Sequence[Tensor], batch: int, shuffled: bool = False, pool: int = 1, transpose: int = 0
) -> RowBatches:
    """Batches of whole pieces ``(T, keys)``, as `RowBatches` makes them.

    transpose  each piece is moved by up to so many keys, up or down, as far as the keyboard goes
    """
    lengths = [len(roll) for roll in rolls]
    return RowBatches(rolls, lengths, partial(_side_by_side, transpose), batch, shuffled=shuffled, pool=pool)


def _side_by_side(transpose: int, rolls: list[Tensor], random: torch.Generator) -> Rolls:
    shifts = torch.randint(-transpose, transpose + 1, (len(rolls),), generator=random).tolist()
    pieces = [transposed(roll, shift).float() for roll, shift in zip(rolls, shifts, strict=True)]
    frames = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)
    return Rolls(frames, torch.tensor([len(piece) for piece in pieces]))


def transposed(roll: Tensor, shift: int) -> Tensor:
    """``roll (T, keys)`` moved up by ``shift`` keys (down if negative), as far as no note leaves the keyboard."""
    used = roll.any(0).nonzero()[:, 0]
    if not len(used):
        return roll
    return roll.roll(max(-int(used[0]), min(shift, roll.shape[1] - 1 - int(used[-1]))), 1)


def read_rolls(path: str | Path, step: float, split: Sequence[float]) -> list[list[Tensor]]:
    """The pieces ``(T, 88)`` for training, validation and test.

    path   a MATLAB file with the variables traindata, validdata and testdata; or a folder of MIDI files; or a
           folder with the folders train, valid and test of MIDI files
    step   beats a frame, for MIDI files
    split  shares of the three parts, in the order of the names, for one folder of MIDI files

    Raises DataError if something cannot be read, ConfigError if a library for it is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"cannot read {path}: no such file; give a MATLAB file of piano rolls or a folder of MIDI files"
        )
    if path.is_file():
        return [_variable(path, table, name) for table in [_read_matlab(path)] for name in VARIABLES]
    if all((path / part).is_dir() for part in PARTS):
        return [_read_folder(path / part, step) for part in PARTS]
    return _parts(_read_folder(path, step), split, path)


def read_roll(source: str, step: float) -> list[Tensor]:
    """Pieces to measure on: a MIDI file, a folder of them, or the test part of a MATLAB file."""
    path = Path(source)
    if path.suffix.lower() == ".mat":
        return _variable(path, _read_matlab(path), VARIABLES[2])
    return _read_folder(path, step) if path.is_dir() else [read_midi(path, step)]


def _parts(rolls: list[Tensor], split: Sequence[float], path: Path) -> list[list[Tensor]]:
    if len(rolls) < len(PARTS):
        raise DataError(
            f"{path}: expected at least three MIDI files, to train, validate and test, got {len(rolls)}"
        )
    total, inner = sum(split), len(rolls) - 1
    first = max(1, min(inner - 1, round(len(rolls) * split[0] / total)))
    second = max(first + 1, min(inner, round(len(rolls) * (split[0] + split[1]) / total)))
    return [rolls[:first], rolls[first:second], rolls[second:]]


def _read_folder(path: Path, step: float) -> list[Tensor]:
    found = sorted(file for file in path.rglob("*") if re.fullmatch(r"\.midi?", file.suffix.lower()))
    if not found:
        raise DataError(f"{path}: no MIDI files (.mid, .midi) in this folder")
    return [read_midi(file, step) for file in found]


def _read_matlab(path: Path) -> dict[str, Any]:
    try:
        from scipy import io
    except ImportError as error:
        raise ConfigError(
            "MATLAB files need the library scipy; install it with: pip install 'recurra[music]'"
        ) from error
    try:
        return io.loadmat(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes end in errors of many kinds
        raise DataError(
            f"cannot read {path}: not a whole MATLAB file of version 5 ({type(error).__name__}: {error}); expected "
            f"the variables {', '.join(VARIABLES)}, or a folder of MIDI files"
        ) from error


def _variable(path: Path, table: dict[str, Any], name: str) -> list[Tensor]:
    if name not in table:
        raise DataError(f"{path}: expected the variables {', '.join(VARIABLES)}; {name} is missing")
    cells = table[name]
    if cells.dtype != object or not cells.size:
        raise DataError(
            f"{path}: expected {name} to be a row of cells, one a piece, got {cells.dtype} {cells.shape}"
        )
    return [_piece(f"{path}: piece {i} of {name}", cell) for i, cell in enumerate(cells.ravel())]


def _piece(what: str, cell: Any) -> Tensor:
    if cell.ndim != 2 or cell.shape[1] != KEYS or not len(cell) or cell.dtype.kind not in "uifb":
        raise DataError(f"{what}: expected numbers of shape (frames, {KEYS}), got {cell.dtype} {cell.shape}")
    if not ((cell == 0) | (cell == 1)).all():
        raise DataError(f"{what}: expected only 0 and 1, one for each key that sounds")
    return torch.from_numpy(cell.astype("uint8"))
