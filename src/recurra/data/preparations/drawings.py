"""Data sets that are drawn: moving digits and figures, the same for the same seed.

figures         train/walk/000.mp4 ...     films in a folder for each label, and train.npz: their joints
moving-digits   valid.npz, test.npz        frames (n, T, 1, M, M) uint8; digits.csv: the digits to draw more from
"""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from recurra.data.arrays import write_arrays
from recurra.data.bouncing import of_part, read_digit_table
from recurra.data.figures import RATE, Film, figures
from recurra.data.films import write_video
from recurra.data.joints import Joints, write_joints

__all__ = ["FILMS", "SEQUENCES", "draw_digits", "draw_figures", "prepare_digits", "prepare_figures"]

FILMS = {"train": 60, "valid": 10, "test": 20}  # of each action
SEQUENCES = {"valid": 200, "test": 500}


def prepare_figures(folder: Path, target: Path) -> None:
    """Write the films of seed 0 and their joints."""
    draw_figures(target)


def draw_figures(target: Path, seed: int = 0) -> None:
    """Write films as MP4 into ``target``, and the joints of each part, in the order of the names of the films."""
    for part, each in FILMS.items():
        films = {
            _place(number, film): film for number, film in enumerate(_shown(figures(part, each, seed), part, each))
        }
        sequences = [Joints(film.joints, film.action, name) for name, film in sorted(films.items())]
        for name, film in films.items():
            path = target / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, film.frames, RATE)
        write_joints(target / f"{part}.npz", sequences)


def _place(number: int, film: Film) -> str:
    return f"{film.action}/{number:04}.mp4"


def _shown(films: Iterator[Film], part: str, each: int) -> Iterable[Film]:
    """The films, with a bar on a terminal."""
    console = Console(stderr=True)
    return track(films, f"drawing {part}", 10 * each, console=console, disable=not console.is_terminal)


def prepare_digits(folder: Path, target: Path) -> None:
    """Write the digits, and the sequences of seed 0."""
    (table,) = folder.rglob("digits.csv.gz")
    (target / "digits.csv").write_bytes(gzip.decompress(table.read_bytes()))
    draw_digits(target, read_digit_table(table))


def draw_digits(target: Path, images: Tensor, seed: int = 0) -> None:
    """Write sequences as .npz files into ``target``."""
    for part, count in SEQUENCES.items():
        sequences = torch.stack(list(of_part(images, part, count, seed)))
        write_arrays(target / f"{part}.npz", {"frames": sequences.numpy()})
