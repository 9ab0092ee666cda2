"""Entities to look at: marked in a text, in the terminal or as HTML; and scores by type as a picture."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from recurra import files
from recurra.tasks.entity_scores import EntityScores

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_scores", "render", "to_html"]

# Light shades of Okabe and Ito's colours, which people with every kind of colour vision can tell apart.
COLOURS = ("#a6d3f2", "#ffc9a3", "#a8e0cc", "#efc4dc", "#f7dd94", "#c9c9c9", "#d5c4f2", "#f4f19b")
PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><title>Entities</title><style>
body {{ font: 18px/2.1 Georgia, "Noto Serif TC", serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem;
  color: #222 }}
mark {{ padding: .25em .3em; border-radius: .3em; color: inherit }}
small {{ font: 600 .6em/1 "Helvetica Neue", Arial, sans-serif; margin-left: .4em; white-space: nowrap;
  opacity: .75 }}
</style></head><body>
<p dir="auto">{text}</p>
</body></html>
"""


def render(text: str, entities: Sequence[dict[str, Any]]) -> str:
    """The text with its entities in brackets: ``[Paris: location 98%] is nice``."""
    return _marked(text, entities, str, lambda e: f"[{e['text']}: {e['type']} {e['confidence']:.0%}]")


def to_html(answer: dict[str, Any], path: Path) -> None:
    """Write a page with the text of an answer and its entities marked; the confidence stands beside the type."""
    kinds = sorted({entity["type"] for entity in answer["entities"]})
    colours = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}

    def mark(entity: dict[str, Any]) -> str:
        kind, share = html.escape(entity["type"]), f"{entity['confidence']:.0%}"
        return (
            f'<mark style="background: {colours[entity["type"]]}">{html.escape(entity["text"])}'
            f"<small>{kind} {share}</small></mark>"
        )

    files.write_text(path, PAGE.format(text=_marked(answer["text"], answer["entities"], html.escape, mark)))


def _marked(text: str, entities: Iterable[dict[str, Any]], plain: Any, mark: Any) -> str:
    parts, at = [], 0
    for entity in entities:
        parts += [plain(text[at : entity["begin"]]), mark(entity)]
        at = entity["end"]
    return "".join([*parts, plain(text[at:])])


def draw_scores(scores: EntityScores, path: Path) -> None:
    """Precision, recall and F1 by type, and which types are taken for which, as a PNG."""
    kinds = scores.kinds
    high = 1.6 + 0.55 * max(2, len(kinds))
    figure = Figure(figsize=(12, high), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _bars(left, scores, kinds)
    _crossed(right, scores, kinds)
    total = scores.total
    figure.suptitle(
        f"{total.entities} entities: F1 {total.f1:.3f}, precision {total.precision:.3f}, recall {total.recall:.3f}"
    )
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))


def _bars(axes: Axes, scores: EntityScores, kinds: list[str]) -> None:
    measures = (("f1", "F1", "#0072B2"), ("precision", "precision", "#E69F00"), ("recall", "recall", "#009E73"))
    for i, (name, label, colour) in enumerate(measures):
        places = [row + (i - 1) * 0.26 for row in range(len(kinds))]
        values = [getattr(scores.of(kind), name) for kind in kinds]
        axes.barh(places, values, 0.24, color=colour, label=label)
        if name == "f1":
            for place, value in zip(places, values, strict=True):
                axes.text(value + 0.01, place, f"{value:.2f}", va="center", fontsize=8)
    axes.set_yticks(range(len(kinds)), [f"{kind} ({scores.there[kind]})" for kind in kinds])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_title("by type (entities in the data)", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.22), ncols=3, frameon=False)


def _crossed(axes: Axes, scores: EntityScores, kinds: list[str]) -> None:
    """Shares of each row: of the entities that are there, what was said of exactly their tokens."""
    names = [*kinds, ""]
    counts = [[scores.crossed[there, said] for said in names] for there in names]
    shares = [[n / max(1, sum(row)) for n in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            if n:
                colour = "white" if shares[i][j] > 0.55 else "black"
                axes.text(j, i, str(n), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), [*kinds, "no entity"], rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), [*kinds, "no entity"], fontsize=8)
    axes.set_xlabel("said", fontsize=9)
    axes.set_ylabel("there", fontsize=9)
    axes.set_title("entities with the same first and last token", fontsize=10)
