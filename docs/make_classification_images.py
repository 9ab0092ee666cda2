"""Draw the picture of docs/classification.md: ``python docs/make_classification_images.py runs/sst2``."""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.text import Text

from recurra.tasks import TextClassifier
from recurra.tasks.heat_map import shown_in_colour

LINES = (
    "I could not stop laughing, and not where I should have.",
    "A slow start, but the last hour is a marvel.",
    "Well acted, beautifully shot, and utterly hollow.",
    "The jokes are funny and the ending is moving.",
    "It is not the disaster that everybody told me about.",
)
CELL = 0.082  # inches of a character


def draw(shown: list[Text], path: Path) -> None:
    """The lines as a terminal shows them, one character a cell."""
    width = max(len(line) for line in shown) + 2
    figure = Figure(figsize=(CELL * width, 0.26 * len(shown) + 0.1), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-1, width - 1)
    axes.set_ylim(len(shown) - 0.5, -0.7)
    axes.set_axis_off()
    for row, line in enumerate(shown):
        for span in line.spans:
            colour = getattr(span.style, "bgcolor", None)
            if colour is not None:
                box = Rectangle(
                    (span.start, row - 0.42), span.end - span.start, 0.84, color=colour.name, linewidth=0
                )
                axes.add_patch(box)
        for column, character in enumerate(line.plain):
            bold = "bold" if any(s.style == "bold" and s.start <= column < s.end for s in line.spans) else "normal"
            axes.text(
                column + 0.5, row, character, ha="center", va="center", family="monospace", size=9.2, weight=bold
            )
    figure.savefig(path)


if __name__ == "__main__":
    classifier = TextClassifier.load(sys.argv[1])
    draw(
        [shown_in_colour(classifier.heat_map(line)) for line in LINES],
        Path(__file__).parent / "images" / "why.png",
    )
