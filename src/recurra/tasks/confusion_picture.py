"""The confusion matrix as a picture: each row a true label, each column what it was taken for."""

from pathlib import Path

import matplotlib
from torch import Tensor

from recurra import files

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = ["draw_confusion"]

NUMBERED = 30  # with more labels the cells are too small for numbers


def draw_confusion(counts: Tensor, labels: list[str], path: str | Path) -> None:
    """Draw counts ``(labels, labels)`` as a PNG: colours are shares of a row, numbers are counts."""
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    names = [name if len(name) <= 24 else name[:23] + "…" for name in labels]
    size = min(14.0, 2.2 + 0.5 * len(names))
    figure = Figure(figsize=(size + 1, size), dpi=120, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    every = 1 + (len(names) - 1) // 60
    ticks = range(0, len(names), every)
    crowded = max(map(len, names)) > (5 if len(names) > 3 else 12)
    axes.set_xticks(ticks, names[::every], rotation=90 if crowded else 0, fontsize=8)
    axes.set_yticks(ticks, names[::every], fontsize=8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("label")
    right = int(counts.diagonal().sum())
    axes.set_title(f"{right:,} of {int(counts.sum()):,} right", fontsize=10, loc="left")
    for row in range(len(names)) if len(names) <= NUMBERED else ():
        for column in range(len(names)):
            if count := int(counts[row, column]):
                dark = float(shares[row, column]) > 0.55
                colour = "white" if dark else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, label="share of the label's rows", shrink=0.8)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
