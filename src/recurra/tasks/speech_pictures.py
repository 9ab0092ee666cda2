"""What a recognizer heard, as pictures: the features over time, and below them when it said which token."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

import matplotlib
import numpy as np
import torch
from torch import Tensor

from recurra import files
from recurra.data.features import Features
from recurra.heads.word_errors import WordErrors, WordRow
from recurra.tasks.speech_listener import Listener, Word

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["draw_hearing", "draw_word_errors"]

BLANK_NAME = "blank"
FLOOR = 0.03  # probabilities below this are not worth a name
WORDS = 20  # rows of the picture of errors
MARKS = {"taken for another": "tab:orange", "left out": "tab:red", "added": "tab:purple"}


@torch.no_grad()
def draw_hearing(listener: Listener, samples: Tensor, plain: Features, path: Path, title: str = "") -> None:
    """Draw how a recording ``samples (N,)`` was heard; ``plain`` are its features as they are to be seen.

    Above the spectrogram, with the words where they were heard. Below, of CTC the probability of each token over
    time; of a transducer how likely it is that so much was written.
    """
    frames, seen = listener.features(samples), plain(samples)
    said = listener.whole(samples)
    words = [word for one in said for word in one.words]
    figure, below = _figure(seen, plain.hop / plain.rate, words, title or " ".join(one.text for one in said))
    if len(frames):
        h, _ = listener.network.encode(frames[None], torch.tensor([len(frames)]))
        _ctc(below, listener, h) if listener.network.transducer is None else _transducer(below, listener, h)
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))


def _ctc(axes: Axes, listener: Listener, h: Tensor) -> None:
    """The probability of each token that was said, and of the blank, over time."""
    chances = listener.network.log_probs(h)[0].exp().numpy()
    time = (np.arange(len(chances)) + 0.5) * listener.seconds
    axes.plot(time, chances[:, 0], color="0.8", linewidth=1, label=BLANK_NAME)
    best = chances.argmax(1)
    for place, token in enumerate(dict.fromkeys(best[best > 0].tolist())):
        colour = f"C{place % 10}"
        axes.fill_between(time, chances[:, token], color=colour, alpha=0.25, linewidth=0)
        axes.plot(time, chances[:, token], color=colour, linewidth=1.3)
        for step in _peaks(best == token, chances[:, token]):
            where = (float(time[step]), float(chances[step, token]) + 0.04)
            axes.annotate(_shown(listener.tokens.spellings[token]), where, ha="center", fontsize=9, color=colour)
    axes.set_ylim(0, 1.2)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("probability")
    axes.legend(loc="upper right", fontsize=8, frameon=False, bbox_to_anchor=(1, 1.14))


def _peaks(said: np.ndarray, chances: np.ndarray) -> list[int]:
    """The likeliest step of each stretch in which a token was said."""
    found, begin = [], -1
    for step, inside in enumerate([*said.tolist(), False]):
        if inside and begin < 0:
            begin = step
        elif not inside and begin >= 0:
            found.append(begin + int(chances[begin:step].argmax()))
            begin = -1
    return found


def _transducer(axes: Axes, listener: Listener, h: Tensor) -> None:
    """How likely it is that the first tokens, and no more, have been written when a step is heard."""
    head = listener.network.transducer
    assert head is not None
    state, _ = listener.decoder.push(h[0], listener.decoder.initial())
    tokens = listener.decoder.result(state).tokens
    passages = head.passages(h, None, torch.tensor([tokens], dtype=torch.long).view(1, -1), [len(tokens)])[0]
    seconds, rows = len(passages) * listener.seconds, len(tokens) + 1
    axes.imshow(
        passages.T.numpy(),
        origin="lower",
        aspect="auto",
        cmap="Blues",
        extent=(0, seconds, -0.5, rows - 0.5),
        vmin=0,
        vmax=1,
    )
    names = ["", *(_shown(listener.tokens.spellings[token]) for token in tokens)]
    axes.set_yticks(range(rows), names, fontsize=8 if rows < 20 else 6)
    axes.set_ylabel("written so far")


def _figure(frames: Tensor, hop: float, words: Sequence[Word], title: str) -> tuple[Figure, Axes]:
    """The spectrogram with the words over it, and room below."""
    seconds = max(1, len(frames)) * hop
    figure = Figure(figsize=(min(16.0, max(7.0, 2.6 * seconds)), 5.2), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.1, 1))
    extent = (0, seconds, 0, frames.shape[1])
    above.imshow(frames.T.numpy(), origin="lower", aspect="auto", cmap="magma", extent=extent)
    above.set_ylabel("filter bank")
    for word in words:
        middle = (word.begin + word.end) / 2
        above.annotate(
            _shown(word.word),
            (middle, 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=10,
            annotation_clip=False,
        ).set_in_layout(False)
        for axes, colour in ((above, "white"), (below, "0.6")):
            axes.axvspan(word.begin, word.end, color=colour, alpha=0.12, linewidth=0)
    above.set_title(shorten(title, 150, placeholder=" …"), fontsize=10, loc="left", pad=20 if words else 6)
    below.set_xlim(0, seconds)
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure, below


def _shown(name: str, most: int = 20) -> str:
    """A token or word that people can see, and not too long for a picture."""
    name = name.strip() or "␣"
    return name if len(name) <= most else name[: most - 1] + "…"


def draw_word_errors(errors: WordErrors, path: Path) -> None:
    """The words with most errors: how often each was taken for another, left out, or added."""
    rows = [row for row in errors.rows if row.errors][:WORDS][::-1]
    figure = Figure(figsize=(7.5, 1.4 + 0.28 * max(1, len(rows))), dpi=120, layout="constrained")
    axes, left = figure.subplots(), [0] * len(rows)
    for (name, colour), counts in zip(MARKS.items(), zip(*map(_counts, rows), strict=True), strict=False):
        axes.barh(range(len(rows)), counts, 0.7, left, color=colour, label=name)
        left = [a + b for a, b in zip(left, counts, strict=True)]
    for place, row in enumerate(rows):
        others = ", ".join(_shown(word) for word, _ in row.taken_for[:3])
        axes.annotate(
            f"of {row.there}" + (f"; heard {others}" if others else ""),
            (left[place], place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="0.35",
        ).set_in_layout(False)
    axes.set_yticks(range(len(rows)), [_shown(row.word) for row in rows])
    axes.set_xlim(0, 1.5 * max([1, *left]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("errors")
    there = errors.words.there
    axes.set_title(f"word error rate {errors.wer:.2%} of {there:,} words", fontsize=10, loc="left")
    if rows:
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))


def _counts(row: WordRow) -> tuple[int, int, int]:
    """How often a word was taken for another, left out, added."""
    return sum(count for _, count in row.taken_for), row.deleted, row.inserted
