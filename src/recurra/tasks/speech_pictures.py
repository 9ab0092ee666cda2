"""What a recognizer heard, as a picture: the features over time, and below them when it said which token."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from torch import Tensor

from recurra import files

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recurra.tasks.speech_listener import Word

__all__ = ["Hearing", "draw_ctc", "draw_transducer"]

BLANK_NAME = "∅"


class Hearing(NamedTuple):
    """What there is to draw of one recording.

    frames   (T, F)  features, low frequencies first
    hop      seconds from one frame to the next
    chances  (J, kinds)  of CTC: probabilities of blank and tokens; of a transducer (J, U + 1): how likely u tokens
             have been written when step j is heard
    step     seconds of one step
    names    of the rows that are drawn: tokens, or what is written
    words    with their times
    """

    frames: Tensor
    hop: float
    chances: Tensor
    step: float
    names: Sequence[str]
    words: Sequence[Word]


def draw_ctc(heard: Hearing, tokens: Sequence[int], path: Path, title: str = "") -> None:
    """Spectrogram, the probability of each token that was heard, and of the blank, over time."""
    figure, (above, below) = _figure(heard, title)
    kinds = list(dict.fromkeys(tokens))
    time = (torch.arange(len(heard.chances)) + 0.5) * heard.step
    below.plot(time, heard.chances[:, 0], color="0.75", linewidth=1, label=BLANK_NAME)
    for place, token in enumerate(kinds):
        colour = f"C{place % 10}"
        below.fill_between(time, heard.chances[:, token], color=colour, alpha=0.25, linewidth=0)
        below.plot(time, heard.chances[:, token], color=colour, linewidth=1.3)
        _name(below, heard, token, colour)
    below.set_ylim(0, 1.18)
    below.set_yticks([0, 0.5, 1])
    below.set_ylabel("probability")
    _save(figure, path)


def _name(axes: Axes, heard: Hearing, token: int, colour: str) -> None:
    """The name of a token over each of its peaks."""
    chances = heard.chances[:, token]
    best = (chances > 0.3) & (heard.chances.argmax(1) == token)
    begin = None
    for step, said in enumerate([*best.tolist(), False]):
        if said and begin is None:
            begin = step
        elif not said and begin is not None:
            peak = begin + int(chances[begin:step].argmax())
            place = ((peak + 0.5) * heard.step, float(chances[peak]) + 0.03)
            axes.annotate(_shown(heard.names[token]), place, ha="center", fontsize=9, color=colour)
            begin = None


def draw_transducer(heard: Hearing, path: Path, title: str = "") -> None:
    """Spectrogram, and below it how far the transducer has written: dark is likely."""
    figure, (above, below) = _figure(heard, title)
    seconds, rows = len(heard.chances) * heard.step, heard.chances.shape[1]
    below.imshow(
        heard.chances.T, origin="lower", aspect="auto", cmap="Blues", extent=(0, seconds, -0.5, rows - 0.5), vmin=0
    )
    below.set_yticks(range(rows), ["", *map(_shown, heard.names)], fontsize=8)
    below.set_ylabel("written so far")
    _save(figure, path)


def _figure(heard: Hearing, title: str) -> tuple[Figure, tuple[Axes, Axes]]:
    """The spectrogram with the words over it, and room below."""
    seconds = len(heard.frames) * heard.hop
    figure = Figure(figsize=(min(16.0, max(7.0, 2.2 * seconds)), 5.2), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.15, 1))
    bottom, top = heard.frames.float().quantile(torch.tensor([0.02, 0.995])).tolist()
    above.imshow(
        heard.frames.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, seconds, 0, heard.frames.shape[1]),
        vmin=bottom,
        vmax=top,
    )
    above.set_ylabel("filter bank")
    for word in heard.words:
        for axes in (above, below):
            axes.axvline(word.begin, color="0.6", linewidth=0.6, linestyle=":")
        above.annotate(
            word.word, (word.begin, 1.01), xycoords=("data", "axes fraction"), fontsize=9, annotation_clip=False
        )
    above.set_title(title, fontsize=10, loc="left", pad=18 if heard.words else 6)
    below.set_xlim(0, seconds)
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, (above, below)


def _shown(name: str) -> str:
    return name.strip() or "␣"


def _save(figure: Figure, path: Path) -> None:
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))
