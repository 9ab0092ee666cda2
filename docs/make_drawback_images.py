"""Draw the picture of docs/drawbacks.md from measured figures: ``python docs/make_drawback_images.py``."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

DOCS = Path(__file__).parent
SIDES = {"torch.nn.GRU": "#999999", "GRU": "#0072b2", "MinGRU": "#d55e00"}
NAMES = {"torch.nn.GRU": "torch.nn.GRU", "GRU": "GRU, compiled", "MinGRU": "MinGRU, a scan"}


def measured() -> dict[str, dict[str, float]]:
    """Milliseconds of one training pass of each side, for each width with one row."""
    tables = json.loads((DOCS / "benchmarks" / "scans.json").read_text("utf-8"))["tables"]
    rows: list[dict[str, Any]] = next(table["rows"] for table in tables if table["title"] == "Training")
    found = {}
    for row in rows:
        if " B1 " not in row["shape"]:
            continue
        own = row["values"]["MinGRU ms"]["median"]
        ratios = {side: row["values"][f"{side} / MinGRU"]["median"] for side in ("torch.nn.GRU", "GRU")}
        found[row["shape"].split()[-1]] = {side: own * ratios.get(side, 1.0) for side in SIDES}
    return found


def draw(path: Path) -> None:
    """Bars on a logarithmic axis, a group for each width, each with its number."""
    found = measured()
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for i, (side, colour) in enumerate(SIDES.items()):
        places = [group + 0.27 * (i - 1) for group in range(len(found))]
        values = [figures[side] for figures in found.values()]
        axes.bar(places, values, 0.25, color=colour, label=NAMES[side])
        for place, value in zip(places, values, strict=True):
            axes.annotate(f"{value:.3g}", (place, value), (0, 2), textcoords="offset points", ha="center")
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 4)
    axes.set_xticks(range(len(found)), [f"{name[1:]} units" for name in found])
    axes.set_ylabel("milliseconds")
    axes.set_title("One training pass over 4,096 steps, one row")
    axes.legend(frameon=False, ncols=3, loc="upper center")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    path = DOCS / "images" / "serial.png"
    draw(path)
    print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
