"""A piano roll as a picture: time in beats, keys by name, each held note one bar."""

from pathlib import Path

import matplotlib
from torch import Tensor

from recurra import files
from recurra.data.midi import LOWEST, note_name, notes
from recurra.errors import ShapeError

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_piano_roll"]

BLACK = (1, 3, 6, 8, 10)  # the black keys, counted from C
GIVEN, WRITTEN = "tab:gray", "tab:blue"


def draw_piano_roll(
    roll: Tensor, path: str | Path, title: str = "", prompt: int = 0, step: float = 1.0, transpose: int = 0
) -> None:
    """Draw a roll ``(T, 88)`` as a PNG.

    prompt     so many frames at the beginning were given; they have another colour
    step       beats a frame
    transpose  semitones that the note names are moved by, as `write_midi` moves the notes
    """
    played = notes(roll)
    if not played:
        raise ShapeError(f"draw_piano_roll: expected a roll with notes, got silence of shape {tuple(roll.shape)}")
    low, high = (pick(note.key for note in played) + transpose for pick in (min, max))
    width = max(7.0, 0.11 * len(roll) + 1.5)
    figure = Figure(figsize=(width, 0.125 * (high - low) + 1.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    _keyboard(axes, low, high)
    _bars(axes, roll[:prompt], GIVEN, "given", 0, (step, transpose))
    _bars(axes, roll[prompt:], WRITTEN, "composed", prompt, (step, transpose))
    _time(axes, len(roll) * step)
    axes.set_ylim(low - 1, high + 1)
    axes.set_title(title, fontsize=10, loc="left")
    if prompt:
        axes.legend(loc="lower right", ncols=2, fontsize=9, bbox_to_anchor=(1, 1), borderaxespad=0.2, frameon=False)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _bars(axes: Axes, roll: Tensor, colour: str, label: str, begin: int, scale: tuple[float, int]) -> None:
    """The notes of a roll that begins at a frame of the picture."""
    step, transpose = scale
    for note in notes(roll):
        left, beats = (begin + note.begin) * step, (note.end - note.begin) * step
        axes.barh(note.key + transpose, beats, 0.8, left, color=colour, edgecolor="white", linewidth=0.8)
    axes.barh(0, 0, color=colour, label=label)  # for the legend


def _keyboard(axes: Axes, low: int, high: int) -> None:
    """Black keys as shaded rows, as on a keyboard that lies on its side; names for the keys of a C major chord."""
    for key in range(low - 1, high + 2):
        if (LOWEST + key) % 12 in BLACK:
            axes.axhspan(key - 0.5, key + 0.5, color="0.94", linewidth=0)
    named = [key for key in range(low, high + 1) if (LOWEST + key) % 12 in (0, 4, 7)]
    axes.set_yticks(named, [note_name(key) for key in named], fontsize=8)


def _time(axes: Axes, beats: float) -> None:
    axes.set_xlim(0, beats)
    every = 4 if beats <= 128 else 16
    axes.set_xticks([every * i for i in range(int(beats // every) + 1)])
    axes.set_xlabel("beats")
    axes.grid(axis="x", color="0.8", linewidth=0.6)
    axes.set_axisbelow(True)
