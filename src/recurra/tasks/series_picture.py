"""A sequence of numbers as a picture, with what each frame did to the answer below it."""

from pathlib import Path

import matplotlib
from torch import Tensor

from recurra import files

matplotlib.use("Agg", force=False)

from matplotlib import colormaps
from matplotlib.figure import Figure

__all__ = ["draw_series"]

NAMED = 12  # with more channels a legend would hide the picture


def draw_series(x: Tensor, shares: Tensor, path: str | Path, title: str) -> None:
    """Draw frames ``x (T, F)`` and the share ``(T,)`` of each frame in the log-odds of the answer, as a PNG."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    colours = colormaps["tab10" if x.shape[1] <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    for channel, values in enumerate(x.T.tolist()):
        colour, mark = colours[channel % len(colours)], "." if len(x) < 60 else None
        above.plot(values, linewidth=1.2, label=str(channel + 1), marker=mark, color=colour)
    above.set_title(title, fontsize=10, loc="left")
    above.set_ylabel("standardised")
    above.grid(alpha=0.3)
    if 1 < x.shape[1] <= NAMED:
        above.legend(title="channel", fontsize=7, title_fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    values = shares.tolist()
    signs = ["tab:blue" if value > 0 else "tab:orange" for value in values]
    below.bar(range(len(values)), values, width=0.9, color=signs)
    below.axhline(0, color="0.4", linewidth=0.6)
    below.set_xlabel("frame")
    below.set_ylabel("for (+), against (-)", fontsize=8)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
