"""Draw the picture of docs/convolutional.md from its own code: ``python docs/make_convolutional_images.py``."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

DOCS = Path(__file__).parent


def page() -> dict[str, Any]:
    """The variables of the page after its first block has run."""
    text = (DOCS / "convolutional.md").read_text("utf-8")
    code = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code[0], "convolutional.md", "exec"), namespace)
    return namespace


@torch.no_grad()
def rows(found: dict[str, Any]) -> dict[str, Tensor]:
    """Maps ``(T, M, N)`` to be drawn below each other, with the range of their colours."""
    moving = (found["x"][:, 1] != found["x"][:, 0]).flatten(1).any(1).nonzero()[0]
    x = found["x"][moving]
    predicted = torch.cat([torch.zeros_like(x[:, :1]), found["model"](x)[0][:, :-1]], 1)
    seen = found["model"].memory.trace(x)
    channel = int(seen["c"][0, 2:].flatten(2).std(2).mean(0).argmax())
    return {
        "frame": x[0, :, 0],
        "predicted\nfrom those before": predicted[0, :, 0],
        "a map of the\ncell state c": seen["c"][0, :, channel],
        "its forget\ngate f": seen["f"][0, :, channel],
    }


def draw(maps: dict[str, Tensor], path: Path) -> None:
    """One line of pictures for each row, time from left to right."""
    steps = len(next(iter(maps.values())))
    figure, axes = plt.subplots(len(maps), steps, figsize=(1.0 * steps + 1.4, 1.05 * len(maps) + 0.3))
    for axis, t in zip(axes[0], range(steps), strict=True):
        axis.set_title(f"t = {t + 1}", fontsize=9)
    for line, (name, frames) in zip(axes, maps.items(), strict=True):
        signed = "state" in name
        largest = float(frames.abs().max())
        low, high, colours = (-largest, largest, "RdBu_r") if signed else (0.0, 1.0, "viridis")
        for axis, frame in zip(line, frames, strict=True):
            axis.imshow(frame, vmin=low, vmax=high, cmap=colours)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.subplots_adjust(left=0.15, right=0.99, top=0.93, bottom=0.02, wspace=0.08, hspace=0.08)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    torch.set_num_threads(1)
    path = DOCS / "images" / "convolutional.png"
    draw(rows(page()), path)
    print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
