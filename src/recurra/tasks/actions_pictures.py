"""Pictures of a recognizer of actions: a strip of frames with the chances under each, and its memory over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from torch import Tensor

from recurra import files
from recurra.data.movements import JOINTS, LIMBS

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = ["Strip", "draw_memory", "draw_strip", "moments"]

MOST = 12  # frames of a strip
SHOWN = 6  # labels whose chances are drawn
WHITE_ABOVE = 0.55  # from this chance on, numbers are white


class Strip(NamedTuple):
    """Some frames of a clip, and what was said after each.

    pictures  (n, C, M, N) uint8, or joints (n, J, D)
    seconds   n moments
    chances   (n, K) probabilities of the labels
    title     what is said of the whole
    """

    pictures: Tensor
    seconds: Sequence[float]
    chances: Tensor
    title: str


def moments(count: int) -> list[int]:
    """The frames that are shown of so many: at equal distances, the first and the last among them."""
    return sorted({int(place) for place in torch.linspace(0, count - 1, min(count, MOST)).round()})


def draw_strip(strip: Strip, labels: Sequence[str], path: str | Path) -> None:
    """Draw the frames side by side as a PNG, and under each how likely the labels were after it."""
    columns = len(strip.pictures)
    chosen = strip.chances.amax(0).argsort(descending=True)[: min(SHOWN, len(labels))]
    longest = max(len(labels[int(number)]) for number in chosen)
    tall = 1.0 if strip.pictures.dim() == 3 else strip.pictures.shape[2] / strip.pictures.shape[3]
    cell = max(min(1.0, 12 / columns), 2.5 / columns)  # inches: with few frames there must be room for the title
    rows = 0.24 * len(chosen)
    figure = Figure(figsize=(cell * columns + 0.09 * longest + 0.4, cell * tall + rows + 0.9), dpi=120)
    figure.set_layout_engine("constrained", h_pad=0.02, hspace=0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[cell * tall, rows])
    above.set_title(strip.title, fontsize=10, loc="left")
    for place, picture in enumerate(strip.pictures):
        _film(above, picture, place) if picture.dim() == 3 else _body(above, strip.pictures, place)
    above.set_xlim(0, columns)
    above.set_ylim(0, tall, auto=True)
    above.set_aspect("equal", adjustable="datalim")  # frames keep their form, whatever room the names leave
    above.set_axis_off()
    _chances(below, strip.chances[:, chosen].T, [labels[int(number)] for number in chosen])
    below.set_xticks([place + 0.5 for place in range(columns)], [f"{at:.2f}" for at in strip.seconds], fontsize=8)
    below.set_xlabel("seconds seen", fontsize=9)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _chances(axes: Any, chances: Tensor, names: Sequence[str]) -> None:
    rows, columns = chances.shape
    extent = (0, columns, rows, 0)
    axes.imshow(chances.numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto", extent=extent)
    axes.set_yticks([row + 0.5 for row in range(rows)], names, fontsize=8)
    axes.tick_params(length=0)
    for row in range(rows):
        for column in range(columns):
            chance = float(chances[row, column])
            if round(100 * chance):
                colour = "white" if chance > WHITE_ABOVE else "black"
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{100 * chance:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=colour,
                )


def _film(axes: Any, picture: Tensor, place: int) -> None:
    image = picture[0] if picture.shape[0] == 1 else picture.permute(1, 2, 0)
    tall = image.shape[0] / image.shape[1]
    extent = (place + 0.02, place + 0.98, 0.02 * tall, 0.98 * tall)
    axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=255, aspect="auto", extent=extent)


def _body(axes: Any, bodies: Tensor, place: int) -> None:
    """A body in its cell; all have one scale. Rows grow downwards, as in a picture."""
    flat = bodies[..., :2]
    away = flat - flat.nanmean(1, keepdim=True)
    points = away[place] / max(2.2 * float(away.nan_to_num(0).abs().max()), 1e-6)
    x, y = place + 0.5 + points[:, 0], 0.5 - points[:, 1]
    for start, end, kind in LIMBS if len(points) == len(JOINTS) else ():
        colour = {"shirt": "tab:blue", "trousers": "0.35", "skin": "tab:orange"}[kind]
        axes.plot(
            x[[start, end]].tolist(), y[[start, end]].tolist(), color=colour, linewidth=2, solid_capstyle="round"
        )
    axes.plot(x.tolist(), y.tolist(), "o", color="black", markersize=2 if len(points) == len(JOINTS) else 3)


def draw_memory(held: Sequence[Tensor], rate: float, path: str | Path) -> None:
    """Draw what each memory held as a PNG: ``(T, H)`` each, units in the order in which they are strongest."""
    widest = max(len(one) for one in held) / rate
    heights = [min(3.2, 0.8 + 0.025 * one.shape[1]) for one in held]
    figure = Figure(figsize=(7.5, sum(heights) + 0.5), dpi=120, layout="constrained")
    all_axes = figure.subplots(len(held), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for number, (axes, one) in enumerate(zip(all_axes, held, strict=True), 1):
        order = one.abs().argmax(0).argsort(stable=True)
        limit = float(one.abs().max().clamp_min(1e-6))
        extent = (0, len(one) / rate, one.shape[1], 0)
        image = axes.imshow(
            one[:, order].T.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", extent=extent
        )
        axes.set_ylabel(f"units of layer {number}" if len(held) > 1 else "units", fontsize=9)
        axes.tick_params(labelsize=8)
        figure.colorbar(image, ax=axes, pad=0.01).ax.tick_params(labelsize=8)
    all_axes[-1].set_xlim(0, widest)
    all_axes[-1].set_xlabel("seconds", fontsize=9)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
