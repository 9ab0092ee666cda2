"""The curves of a run as a picture: loss, validation, gradient norm and learning rate over steps."""

from pathlib import Path
from typing import Any

import matplotlib

from recurra import files

matplotlib.use("Agg", force=False)

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(records: list[dict[str, Any]], path: Path, maximize: bool = False) -> None:
    """Draw the records of metrics.jsonl to a PNG; nothing is drawn without records.

    maximize  the watched number, which stands first, is better when it is higher
    """
    train = [record for record in records if "loss" in record]
    valid = [record for record in records if "valid" in record]
    if not records:
        return
    figure = Figure(figsize=(9, 6), dpi=120, layout="constrained")
    axes = figure.subplots(2, 2, width_ratios=[2, 1])
    _losses(axes[0, 0], train, valid)
    _watched(axes[1, 0], valid, maximize)
    steps = [record["step"] for record in train]
    _line(axes[0, 1], steps, [record["gradient_norm"] for record in train], "gradient norm")
    _line(axes[1, 1], steps, [record["learning_rate"] for record in train], "learning rate")
    if any(record["gradient_norm"] > 0 for record in train):
        axes[0, 1].set_yscale("log")
    files.write(path, lambda temporary: figure.savefig(temporary, format="png"))


def _line(axes: Axes, x: list[int], y: list[float], name: str) -> None:
    axes.plot(x, y, color="tab:gray", linewidth=1)
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)


def _losses(axes: Axes, train: list[dict[str, Any]], valid: list[dict[str, Any]]) -> None:
    axes.plot([r["step"] for r in train], [r["loss"] for r in train], linewidth=1, label="training")
    shown = [(r["step"], r["valid"]["loss"]) for r in valid if "loss" in r["valid"]]
    if shown:
        axes.plot(*zip(*shown, strict=True), marker="o", markersize=3, label="validation")
    axes.set_title("loss", fontsize=10)
    axes.set_xlabel("step")
    axes.legend(loc="upper right")
    axes.grid(alpha=0.3)


def _watched(axes: Axes, valid: list[dict[str, Any]], maximize: bool) -> None:
    if not valid:
        axes.set_axis_off()
        return
    name = next((key for key in valid[0]["valid"] if key != "loss"), "loss")
    y = [r["valid"][name] for r in valid]
    axes.plot([r["step"] for r in valid], y, marker="o", markersize=3, color="tab:orange")
    best = (max if maximize else min)(range(len(y)), key=y.__getitem__)
    axes.annotate(
        f"{y[best]:.3f}", (valid[best]["step"], y[best]), xytext=(0, 8), textcoords="offset points", ha="center"
    )
    axes.margins(y=0.2)
    axes.set_title(f"validation: {name}", fontsize=10)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
