"""Pictures of a keyword spotter: what each threshold misses, and when it heard what in a recording."""

from pathlib import Path

import matplotlib
from torch import Tensor

from recurra import files
from recurra.tasks.keyword_scores import Curve, Point
from recurra.tasks.keyword_stream import Alarm

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = ["draw_curve", "draw_recording"]

SHORTEST, LONGEST = 8.0, 24.0  # inches of a recording's picture


def draw_curve(curve: Curve, chosen: Point, path: str | Path) -> None:
    """Draw misses by false alarms an hour as a PNG, with the threshold in use marked."""
    figure = Figure(figsize=(6.4, 4.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    least = 1 / max(curve.hours, 1e-9)
    seen = [point for point in curve.points if point.misses < 1 or point.false_alarms > 0]
    axes.step(
        [max(point.false_alarms, least / 2) for point in seen],
        [100 * point.misses for point in seen],
        where="post",
        color="tab:blue",
    )
    label = f"threshold {chosen.threshold:.3f}: {chosen.misses:.1%} missed, {chosen.false_alarms:.1f} an hour"
    axes.plot(max(chosen.false_alarms, least / 2), 100 * chosen.misses, "o", color="tab:orange", label=label)
    axes.axvspan(least / 2.5, least, color="0.93", zorder=0)
    axes.text(
        least / 1.5,
        0.5,
        "none heard",
        rotation=90,
        transform=axes.get_xaxis_transform(),
        va="center",
        ha="center",
        color="0.4",
        fontsize=8,
    )
    axes.set_xscale("log")
    axes.set_xlim(left=least / 2.5)
    axes.set_ylim(0, max(5.0, min(100.0, 4 * 100 * chosen.misses + 5)))
    axes.set_xlabel(f"false alarms an hour, of {curve.hours:.2f} hours")
    axes.set_ylabel(f"missed of {curve.keywords:,} keywords, %")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper right", fontsize=9)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def draw_recording(
    frames: Tensor,
    probabilities: Tensor,
    keywords: tuple[str, ...],
    found: list[Alarm],
    threshold: float,
    path: str | Path,
) -> None:
    """Draw the spectrogram ``frames (T, F)``, and below it the keywords' probabilities ``(J, K)`` and alarms."""
    seconds = len(frames) / 100
    width = min(LONGEST, max(SHORTEST, 0.9 * seconds))
    figure = Figure(figsize=(width, 4.2), dpi=110, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    above.imshow(
        frames.T.numpy(), origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, frames.shape[1])
    )
    above.set_ylabel("mel bank")
    moments = [(step + 1) * seconds / max(1, len(probabilities)) for step in range(len(probabilities))]
    for number, keyword in enumerate(keywords):
        (line,) = below.plot(moments, probabilities[:, number].tolist(), linewidth=1.2, label=keyword)
        for alarm in found:
            if alarm.keyword == keyword:
                above.axvline(alarm.at, color="white", linewidth=1)
                below.axvline(alarm.at, color=line.get_color(), linewidth=0.8, linestyle=":")
                below.text(alarm.at, 1.04, keyword, color=line.get_color(), fontsize=8, ha="center", va="bottom")
    below.axhline(threshold, color="0.5", linewidth=0.8, linestyle="--")
    below.set_ylim(0, 1.25)
    below.set_yticks([0, 0.5, 1])
    below.set_xlim(0, max(seconds, 1e-3))
    below.set_xlabel("seconds")
    below.set_ylabel("probability")
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
