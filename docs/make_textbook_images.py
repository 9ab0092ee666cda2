"""Draw the pictures of docs/textbook.md: ``python docs/make_textbook_images.py``.

The diagrams are drawn here. The measurements are the chapter's own: its code is run, and its variables are drawn.
"""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as PathOfPoints

DOCS = Path(__file__).parent
INK, BLUE, ORANGE, GREEN, RED, GREY = "#222222", "#3b6fb6", "#d9822b", "#4a9a5b", "#b8443f", "#8a8a8a"
Point = tuple[float, float]


def chapter() -> dict[str, Any]:
    """The variables of the chapter after its code has run, in a temporary folder."""
    text = (DOCS / "textbook.md").read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    namespace: dict[str, Any] = {"__name__": "chapter"}
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(code, "textbook.md", "exec"), namespace)
        finally:
            os.chdir(here)
    return namespace


def canvas(width: float, height: float) -> Axes:
    """An empty drawing of that many inches, one unit an inch."""
    figure = plt.figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def circle(axes: Axes, at: Point, text: str, color: str, radius: float = 0.3, size: int = 15) -> None:
    axes.add_patch(Circle(at, radius, facecolor=color + "2e", edgecolor=color, linewidth=1.8, zorder=3))
    axes.text(*at, text, ha="center", va="center", fontsize=size, color=INK, zorder=4)


def box(axes: Axes, at: Point, text: str, color: str, width: float = 0.8, height: float = 0.46) -> None:
    corner = (at[0] - width / 2, at[1] - height / 2)
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, fc=color + "2e", ec=color, linewidth=1.8, zorder=3)
    )
    axes.text(*at, text, ha="center", va="center", fontsize=13, color=INK, zorder=4)


def arrow(axes: Axes, start: Point, end: Point, color: str = INK, head: bool = True) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>" if head else "-",
            mutation_scale=15,
            linewidth=1.6,
            color=color,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )


def label(axes: Axes, at: Point, text: str, color: str = INK, size: int = 13) -> None:
    axes.text(*at, text, ha="center", va="center", fontsize=size, color=color, zorder=5)


def save(name: str) -> None:
    path = DOCS / "images" / f"textbook-{name}.png"
    plt.savefig(path, dpi=110, facecolor="white")
    plt.close()
    print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1024:.0f} KB")


def column(axes: Axes, x: float, time: str) -> None:
    """One time step: input, hidden state, output, from below."""
    for y, symbol, color in ((0.55, "x", GREEN), (1.9, "h", BLUE), (3.25, "y", ORANGE)):
        circle(axes, (x, y), f"${symbol}_{{{time}}}$" if time else f"${symbol}$", color)
    arrow(axes, (x, 0.85), (x, 1.6))
    arrow(axes, (x, 2.2), (x, 2.95))
    label(axes, (x + 0.2, 1.2), "$W$", GREY)
    label(axes, (x + 0.2, 2.55), "$V$", GREY)


def unrolled() -> None:
    """The loop, and the same network once for each of four steps."""
    axes = canvas(10, 3.8)
    column(axes, 0.9, "")
    loop = PathOfPoints([(1.16, 2.05), (2.0, 2.5), (2.0, 1.3), (1.16, 1.75)], [1, 4, 4, 4])
    axes.add_patch(FancyArrowPatch(path=loop, arrowstyle="-|>", mutation_scale=15, linewidth=1.6, color=RED))
    label(axes, (1.98, 1.9), "$U$", RED)
    label(axes, (2.6, 1.9), "=", size=24)
    circle(axes, (3.5, 1.9), "$h_0$", GREY)
    for t in range(1, 5):
        x = 3.5 + 1.45 * t
        column(axes, x, str(t))
        arrow(axes, (x - 1.15, 1.9), (x - 0.3, 1.9), RED)
        label(axes, (x - 0.75, 2.1), "$U$", RED)
    save("unrolled")


def lstm() -> None:
    """The flow of data in one step of an LSTM."""
    axes = canvas(9.4, 4.3)
    axes.add_patch(
        FancyBboxPatch((1.35, 0.75), 6.6, 3.25, boxstyle="round,pad=0,rounding_size=0.2", fc="#f6f6f6", ec=GREY)
    )
    top, low, gates = 3.45, 1.15, {"f": 2.25, "i": 3.55, "g": 4.85, "o": 6.15}
    _cell_line(axes, top, gates)
    for x, (gate, kind) in zip(gates.values(), (("f", "σ"), ("i", "σ"), ("g", "tanh"), ("o", "σ")), strict=True):
        arrow(axes, (x, low), (x, 1.57))
        box(axes, (x, 1.8), kind, BLUE if kind == "σ" else ORANGE)
        label(axes, (x - 0.22, 2.22), f"${gate}$", BLUE if kind == "σ" else ORANGE, 15)
    arrow(axes, (0.55, low), (6.15, low), head=False)
    arrow(axes, (1.7, 0.36), (1.7, low), head=False)
    label(axes, (0.3, low), "$h$", size=17)
    label(axes, (1.7, 0.16), "$x$", size=17)
    axes.add_patch(Circle((1.7, low), 0.05, color=INK, zorder=3))
    _output_line(axes, top, low, gates["o"])
    save("lstm")


def _cell_line(axes: Axes, top: float, gates: dict[str, float]) -> None:
    """c' = f * c + i * g, along the top."""
    label(axes, (0.3, top), "$c$", RED, 17)
    label(axes, (8.95, top), "$c'$", RED, 17)
    forget, write, add = (gates["f"], top), (gates["i"], 2.65), (gates["i"], top)
    for at, text in ((forget, "×"), (write, "×"), (add, "+")):
        circle(axes, at, text, RED, 0.19)
    arrow(axes, (0.55, top), (forget[0] - 0.19, top), RED)
    arrow(axes, (forget[0] + 0.19, top), (add[0] - 0.19, top), RED)
    arrow(axes, (add[0] + 0.19, top), (8.7, top), RED)
    arrow(axes, (gates["f"], 2.03), (gates["f"], top - 0.19))
    arrow(axes, (gates["i"], 2.03), (gates["i"], write[1] - 0.19))
    arrow(axes, (write[0], write[1] + 0.19), (add[0], top - 0.19))
    arrow(axes, (gates["g"], 2.03), (gates["g"], write[1]), head=False)
    arrow(axes, (gates["g"], write[1]), (write[0] + 0.19, write[1]))


def _output_line(axes: Axes, top: float, low: float, o: float) -> None:
    """h' = o * tanh(c'), down the right side."""
    x, show = 7.25, 2.2
    arrow(axes, (x, top), (x, 3.03), head=False)
    box(axes, (x, 2.8), "tanh", ORANGE)
    arrow(axes, (x, 2.57), (x, show + 0.19))
    circle(axes, (x, show), "×", RED, 0.19)
    arrow(axes, (o, 2.03), (o, show), head=False)
    arrow(axes, (o, show), (x - 0.19, show))
    arrow(axes, (x, show - 0.19), (x, low), head=False)
    arrow(axes, (x, low), (8.7, low))
    label(axes, (8.95, low), "$h'$", size=17)


def gradients(norms: dict[str, torch.Tensor]) -> None:
    """The norm of the gradient at each step, for each cell."""
    figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
    styles = [(GREY, "-"), (BLUE, "-"), (RED, "-"), (ORANGE, ":"), (ORANGE, "--"), (ORANGE, "-")]
    for (name, norm), (color, style) in zip(norms.items(), styles, strict=True):
        axes.plot(range(1, len(norm) + 1), norm.tolist(), style, color=color, linewidth=2, label=name)
    axes.set(yscale="log", xlim=(1, len(norm)), ylim=(1e-24, 1e9))
    axes.set_xlabel("time step $t$ (the loss is at step 100)", fontsize=12)
    axes.set_ylabel("$|dL/ds_t|$ / $|dL/ds_{100}|$", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=11, frameon=False)
    save("gradients")


def gates(trace: dict[str, torch.Tensor], text: str) -> None:
    """Gates of the one unit as a heat map over the letters, and its cell state below."""
    figure, (upper, lower) = plt.subplots(2, figsize=(12, 4.4), sharex=True, layout="constrained")
    names = {"i": "input gate $i$", "f": "forget gate $f$", "o": "output gate $o$"}
    rows = [trace[name][0, :, 0].tolist() for name in names]
    image = upper.imshow(rows, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    upper.set_yticks(range(len(names)), list(names.values()), fontsize=12)
    upper.tick_params(length=0)
    bar = figure.colorbar(image, ax=upper, pad=0.01, aspect=8)
    bar.ax.tick_params(labelsize=11)
    cell = trace["c"][0, :, 0].tolist()
    lower.bar(range(len(text)), cell, color=[ORANGE if v * cell[text.index("(")] > 0 else BLUE for v in cell])
    lower.axhline(0, color=INK, linewidth=0.8)
    lower.set_ylabel("cell state $c$", fontsize=12)
    lower.set_xticks(range(len(text)), list(text), fontsize=12, family="monospace")
    lower.tick_params(axis="x", length=0)
    save("gates")


def recall(recalled: dict[int, torch.Tensor]) -> None:
    """What share of the input of k steps ago the state still tells, for three sizes of state."""
    _, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
    for (hidden, shares), color in zip(recalled.items(), (GREEN, BLUE, ORANGE), strict=True):
        axes.fill_between(range(len(shares)), shares.tolist(), color=color, alpha=0.12)
        axes.plot(shares.tolist(), color=color, linewidth=2, label=f"{hidden} units, sum {shares.sum():.1f}")
    axes.set(xlim=(0, 80), ylim=(0, 1.02))
    axes.set_xlabel("delay in time steps", fontsize=12)
    axes.set_ylabel("share recalled ($R^2$)", fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=12, frameon=False)
    save("recall")


def main() -> None:
    torch.set_num_threads(1)
    found = chapter()
    unrolled()
    lstm()
    gradients(found["norms"])
    gates(found["trace"], found["text"])
    recall(found["recalled"])


if __name__ == "__main__":
    main()
